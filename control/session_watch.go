package control

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"weft/api"
	"weft/control/store"
)

const (
	// maxSessionWatches bounds those who watch: each has every gateway asked once in watchInterval.
	maxSessionWatches = 16
	watchInterval     = time.Second
)

// watchSessions streams the sessions of the gateways: what there is, then what changes. It asks the gateways once a second
// for what is new since; a session that came and went in between is told too.
func (c *Control) watchSessions(ctx context.Context, q *call, w http.ResponseWriter) error {
	in, name, err := sessionsQuery(q)
	if err != nil {
		return err
	}
	if _, err := c.askedGateways(ctx, q, name); err != nil {
		return err
	}
	select {
	case c.watches <- struct{}{}:
		defer func() { <-c.watches }()
	default:
		return tooMany("%d are watching the sessions already", maxSessionWatches)
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lift read deadline: %w", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	s := &sessionWatch{in: in, known: map[string]watchedGateway{}}
	next, beat := time.NewTicker(watchInterval), time.Now()
	defer next.Stop()
	for first := true; ; first = false {
		gateways, err := c.askedGateways(ctx, q, name)
		if err != nil {
			return nil //nolint:nilerr // the gateway was deleted: there is nothing more to watch
		}
		e := s.step(c.askSessions(ctx, gateways, s.question))
		switch {
		case ctx.Err() != nil || !c.tokenInForce(ctx, q):
			return nil
		case first:
			e.Type = api.SessionsSnapshot
		case len(e.Put)+len(e.Ended)+len(e.Gateways) > 0:
			e.Type = api.SessionsDelta
		case time.Since(beat) >= api.HeartbeatInterval:
			e.Type = api.SessionsHeartbeat
		}
		if e.Type != "" {
			beat = time.Now()
			if err := writeLine(w, rc, e); err != nil {
				c.log.DebugContext(ctx, "stream ended", "actor", q.actor.ID, "error", err)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
	}
}

// tokenInForce reports whether the API token of a stream still opens it.
func (c *Control) tokenInForce(ctx context.Context, q *call) bool {
	err := c.store.View(ctx, func(r *store.Reader) error {
		token, err := credential(q.r)
		if err != nil {
			return err
		}
		_, err = r.TokenBySecret(ctx, token)
		return err
	})
	return err == nil
}

// sessionWatch is what one watcher was told.
type sessionWatch struct {
	in    api.SessionsQuestion
	known map[string]watchedGateway // by ID
}

type watchedGateway struct {
	entry    api.SessionGateway
	epoch    string
	sequence uint64
	sessions map[string]api.Session
}

func (s *sessionWatch) question(id string) api.SessionsQuestion {
	in := s.in
	in.Epoch, in.Since = s.known[id].epoch, s.known[id].sequence
	return in
}

// step takes the answers of a round and says what is new in them.
func (s *sessionWatch) step(answers []gatewaySessions) api.SessionsEvent {
	e := api.SessionsEvent{SchemaVersion: api.SessionsSchemaVersion}
	for _, a := range answers {
		k, ok := s.known[a.ID]
		if !ok {
			k.sessions = map[string]api.Session{}
		}
		before := k.entry
		if a.answer != nil {
			k.follow(a.answer, &e)
		}
		a.Total = len(k.sessions)
		if a.answer != nil && a.answer.Total > a.Total {
			a.Total = a.answer.Total
		}
		k.entry = a.SessionGateway
		// The counts alone are no news: the sessions that they count are.
		before.Total, before.Busy = a.Total, a.Busy
		if !ok || before != a.SessionGateway {
			e.Gateways = append(e.Gateways, a.SessionGateway)
		}
		s.known[a.ID] = k
	}
	for id, k := range s.known {
		if !slices.ContainsFunc(answers, func(a gatewaySessions) bool { return a.ID == id }) { // it was deleted
			for _, x := range k.sessions {
				e.Ended = append(e.Ended, api.SessionEnded{Session: x, Reason: api.SessionGone})
			}
			delete(s.known, id)
		}
	}
	slices.SortFunc(e.Put, func(a, b api.Session) int { return newestFirst(b, a) })
	return e
}

// follow takes a gateway's answer.
func (k *watchedGateway) follow(a *api.SessionsAnswer, e *api.SessionsEvent) {
	whole := a.Full && a.Total <= len(a.Sessions)
	now := make(map[string]bool, len(a.Sessions))
	for _, x := range a.Sessions {
		now[x.ID] = true
		old, ok := k.sessions[x.ID]
		k.sessions[x.ID] = x
		old.BytesUp, old.BytesDown = x.BytesUp, x.BytesDown
		if !ok || old != x {
			e.Put = append(e.Put, x)
		}
	}
	for _, x := range a.Ended {
		delete(k.sessions, x.ID)
		e.Ended = append(e.Ended, x)
	}
	if whole { // a restart, or more than the gateway remembers: what is not there any more has ended unseen
		for id, x := range k.sessions {
			if !now[id] {
				delete(k.sessions, id)
				e.Ended = append(e.Ended, api.SessionEnded{Session: x, Reason: api.SessionGone})
			}
		}
	} else if a.Full {
		k.forget(a, now, e)
	}
	k.epoch, k.sequence = a.Epoch, a.Sequence
}

// forget keeps what is known within what the gateway tells when there is more than it may tell: the newest. Of those that
// should be among them and are not, it is said that they have ended; of older ones nobody knows.
func (k *watchedGateway) forget(a *api.SessionsAnswer, now map[string]bool, e *api.SessionsEvent) {
	if len(a.Sessions) == 0 {
		clear(k.sessions)
		return
	}
	oldest := slices.MaxFunc(a.Sessions, newestFirst)
	for id, x := range k.sessions {
		if now[id] {
			continue
		}
		delete(k.sessions, id)
		if newestFirst(x, oldest) < 0 {
			e.Ended = append(e.Ended, api.SessionEnded{Session: x, Reason: api.SessionGone})
		}
	}
}
