package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
	"weft/internal/kind"
)

// How long the gateways may take.
const (
	// sessionsTimeout is for a list: a gateway looks into its table.
	sessionsTimeout = 10 * time.Second
	// killTimeout is for a kill, which waits for gateways that are about to come back.
	killTimeout = 10 * time.Second
	// killTry is for one attempt, and killRetry how long after it a gateway is asked again that was not there or did not
	// answer. What is killed twice is dead once.
	killTry   = 5 * time.Second
	killRetry = 250 * time.Millisecond
)

// sessionsQuery reads the filter, the gateway ("": all) and the limit of a list.
func sessionsQuery(q *call) (in api.SessionsQuestion, gateway string, err error) {
	for name, to := range map[string]*string{
		"user": &in.User, "target": &in.Target, "device": &in.Device, "protocol": &in.Protocol, "login": &in.Login, "gateway": &gateway,
	} {
		if *to = q.query.Get(name); len(*to) > 300 || !utf8.ValidString(*to) {
			return in, "", badQuery(name, *to, "a name or an ID")
		}
	}
	in.Limit, err = q.queryInt("limit", api.DefaultSessions, 0, api.MaxSessions) // 0: only the counts
	return in, gateway, err
}

// askedGateways are those that a name or ID chooses, "" all; kind.NotFound when there is none. A gateway that was made before
// the call came is among them: to leave it out would be to say that it has no sessions.
func (c *Control) askedGateways(ctx context.Context, q *call, nameOrID string) ([]store.Gateway, error) {
	v, err := c.hub.at(ctx, q.revision)
	if err != nil {
		return nil, err
	}
	var out []store.Gateway
	for _, g := range v.in.gateways {
		if nameOrID == "" || g.ID == nameOrID || strings.EqualFold(g.Name, nameOrID) {
			out = append(out, g)
		}
	}
	if nameOrID != "" && len(out) == 0 {
		return nil, kind.New(kind.NotFound, "there is no gateway %q", nameOrID).WithHint("list them: weft gateway list")
	}
	return out, nil
}

// gatewaySessions is what one gateway said; answer is nil when it said nothing.
type gatewaySessions struct {
	api.SessionGateway
	answer *api.SessionsAnswer
}

// askSessions asks gateways at the same time; question makes the question to each.
func (c *Control) askSessions(ctx context.Context, gateways []store.Gateway, question func(id string) api.SessionsQuestion) []gatewaySessions {
	out := make([]gatewaySessions, len(gateways))
	var wg sync.WaitGroup
	for i, g := range gateways {
		out[i].SessionGateway = api.SessionGateway{ID: g.ID, Name: g.Name, Connected: c.streams.count(gatewayStream, g.ID) > 0}
		in := question(g.ID)
		wg.Go(func() {
			parts, ok := c.questions.ask(ctx, g.ID, api.GatewayQuestion{Sessions: &in}, sessionsTimeout)
			if !ok || parts[0].Sessions == nil { // nil: a gateway that does not know the question
				return
			}
			out[i].take(parts)
		})
	}
	wg.Wait()
	return out
}

// take joins the parts of an answer and says whose sessions they are.
func (g *gatewaySessions) take(parts []api.GatewayReply) {
	a := *parts[0].Sessions
	for _, p := range parts[1:] {
		if p.Sessions != nil {
			a.Sessions, a.Ended = append(a.Sessions, p.Sessions.Sessions...), append(a.Ended, p.Sessions.Ended...)
		}
	}
	for i := range a.Sessions {
		a.Sessions[i].GatewayID, a.Sessions[i].GatewayName = g.ID, g.Name
	}
	for i := range a.Ended {
		a.Ended[i].GatewayID, a.Ended[i].GatewayName = g.ID, g.Name
	}
	g.Answered, g.Draining, g.Total, g.Busy, g.answer = true, a.Draining, a.Total, a.Busy, &a
}

func newestFirst(a, b api.Session) int {
	return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(b.ID, a.ID))
}

// listSessions asks every gateway for its table.
func (c *Control) listSessions(ctx context.Context, q *call) (answer, error) {
	in, name, err := sessionsQuery(q)
	if err != nil {
		return answer{}, err
	}
	gateways, err := c.askedGateways(ctx, q, name)
	if err != nil {
		return answer{}, err
	}
	out := api.Sessions{SchemaVersion: api.SessionsSchemaVersion, Complete: true, Sessions: []api.Session{}, Gateways: []api.SessionGateway{}}
	total := 0
	for _, g := range c.askSessions(ctx, gateways, func(string) api.SessionsQuestion { return in }) {
		out.Gateways = append(out.Gateways, g.SessionGateway)
		out.Complete = out.Complete && g.Answered
		if g.answer != nil {
			out.Sessions = append(out.Sessions, g.answer.Sessions...)
			total += g.Total
		}
	}
	slices.SortFunc(out.Sessions, newestFirst)
	out.Sessions = out.Sessions[:min(len(out.Sessions), in.Limit)]
	out.Complete = out.Complete && total == len(out.Sessions)
	return answer{result: out}, nil
}

// killSession ends one session, wherever it is. What was asked for is on record before any gateway hears of it, and what
// became of it afterwards.
func (c *Control) killSession(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	in, err := killRequest(q)
	if err != nil {
		return answer{}, err
	}
	record := func(action string, detail any) error {
		return c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.AuditSession(ctx, action, id, detail) })
	}
	if err := record("session.kill", in); err != nil {
		return answer{}, err
	}
	killed, gateway, err := c.kill(ctx, q, api.KillQuestion{SessionID: id, Reason: in.Reason, By: q.token.Name})
	if err != nil {
		return answer{}, asWell(err, record("session.kill_failed", map[string]string{"error": err.Error()}))
	}
	killed.Session.GatewayID, killed.Session.GatewayName = gateway.ID, gateway.Name
	out := api.SessionKilled{Session: killed.Session, Already: killed.Already}
	return answer{result: out}, record("session.killed", out)
}

// asWell adds what went wrong besides err, which stays what the caller is told.
func asWell(err, more error) error {
	if more == nil {
		return err
	}
	if e, ok := asKind(err); ok {
		return kind.New(e.Kind, "%s", e.Message).WithHint("%s", e.Hint).WithCause(more)
	}
	return err
}

func killRequest(q *call) (api.SessionKill, error) {
	var in api.SessionKill
	raw, err := q.rawBody()
	if err != nil {
		return in, err
	}
	if len(raw) > 0 {
		if err := strictjson.Decode(raw, &in); err != nil {
			return in, err
		}
	}
	in.Reason = strings.TrimSpace(in.Reason)
	if len(in.Reason) > api.MaxKillReasonBytes || !utf8.ValidString(in.Reason) {
		return in, kind.Field("/reason", "the reason is at most %d bytes of UTF-8", api.MaxKillReasonBytes)
	}
	if strings.ContainsFunc(in.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return in, kind.Field("/reason", "the reason is one line of printable characters")
	}
	if id := q.params["id"]; len(id) > 64 {
		return in, noSession(id[:64] + "...")
	}
	return in, nil
}

func noSession(id string) error {
	return kind.New(kind.NotFound, "no gateway has a session %q", id).WithHint("list them: weft session list")
}

// kill asks the gateways until one has ended the session or all have said that they do not have it. One that does not answer
// is asked again until killTimeout; then nobody knows, and that is the answer.
func (c *Control) kill(ctx context.Context, q *call, in api.KillQuestion) (*api.KillAnswer, store.Gateway, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.killTimeout.Load()))
	defer cancel()
	gateways, err := c.askedGateways(ctx, q, "")
	if err != nil {
		return nil, store.Gateway{}, err
	}
	type reply struct {
		gateway store.Gateway
		answer  *api.KillAnswer
	}
	replies := make(chan reply, len(gateways))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, g := range gateways {
		wg.Go(func() { replies <- reply{g, c.killAt(ctx, g, in)} })
	}
	var silent []string
	for range gateways {
		r := <-replies
		switch {
		case r.answer == nil:
			silent = append(silent, r.gateway.Name)
		case r.answer.Ended != "":
			return nil, r.gateway, kind.New(kind.NotFound, "the session had ended already: %s", r.answer.Ended)
		case r.answer.Found:
			return r.answer, r.gateway, nil
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		return nil, store.Gateway{}, kind.New(kind.Unavailable, "the session may live on: these gateways did not answer: %s", strings.Join(silent, ", ")).
			WithHint("try again when they are back; to keep the user out whatever happens, revoke the device or the user")
	}
	return nil, store.Gateway{}, noSession(in.SessionID)
}

// killAt asks one gateway, again and again while it does not listen; nil: it did not answer.
func (c *Control) killAt(ctx context.Context, g store.Gateway, in api.KillQuestion) *api.KillAnswer {
	for {
		if parts, ok := c.questions.ask(ctx, g.ID, api.GatewayQuestion{Kill: &in}, killTry); ok {
			return parts[0].Kill // nil: a gateway that does not know the question
		}
		if g.Report.PublicKey == "" {
			return &api.KillAnswer{} // it has never run
		}
		t := time.NewTimer(killRetry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}
