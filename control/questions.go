package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// Limits of questions to gateways.
const (
	maxQuestionStreams = 2 // of one gateway; a second one is there while the first has not noticed that it is dead
	maxQuestionsQueued = 8 // on one stream
	// answerTimeout is how long a gateway may take: it may dial and log in.
	answerTimeout = 30 * time.Second
)

// questions carries questions to the gateways that listen, and their answers back. Safe for concurrent use.
type questions struct {
	mu      sync.Mutex
	streams map[string][]chan api.GatewayQuestion // by gateway ID
	waiting map[string]waiting                    // by question ID
	// others may have the gateway's stream; nil: there are none.
	others *replicas
}

// waiting is who waits for an answer, and from which gateway alone it counts.
type waiting struct {
	gateway string
	// answer takes the parts; more than it holds are dropped, and the answer with them.
	answer chan api.GatewayReply
	taken  chan struct{} // receives when another control plane has put the question to the gateway
}

func newQuestions() *questions {
	return &questions{streams: map[string][]chan api.GatewayQuestion{}, waiting: map[string]waiting{}}
}

// listen opens a gateway's stream; the function closes it.
func (s *questions) listen(gateway string) (<-chan api.GatewayQuestion, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams[gateway]) >= maxQuestionStreams {
		return nil, nil, tooMany("%d streams with this credential are open already", maxQuestionStreams)
	}
	ch := make(chan api.GatewayQuestion, maxQuestionsQueued)
	s.streams[gateway] = append(s.streams[gateway], ch)
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams[gateway] = slices.DeleteFunc(s.streams[gateway], func(c chan api.GatewayQuestion) bool { return c == ch })
		if len(s.streams[gateway]) == 0 {
			delete(s.streams, gateway)
		}
	}, nil
}

// ask puts a question to a gateway and waits for its answer, which has one part or more; false: it does not listen, or did
// not answer in time.
func (s *questions) ask(ctx context.Context, gateway string, q api.GatewayQuestion, within time.Duration) ([]api.GatewayReply, bool) {
	q.ID = uuid.NewString()
	w := waiting{gateway: gateway, answer: make(chan api.GatewayReply, maxQuestionStreams*api.MaxSessionParts), taken: make(chan struct{}, 1)}
	s.mu.Lock()
	sent := s.putLocked(gateway, q)
	if sent || s.others != nil {
		s.waiting[q.ID] = w
	}
	s.mu.Unlock()
	if !sent && s.others == nil {
		return nil, false
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, q.ID)
	}()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if !sent && !s.askOthers(ctx, w, &q) {
		return nil, false
	}
	var parts []api.GatewayReply
	for {
		select {
		case a := <-w.answer:
			if len(parts) > 0 && parts[0].Answer != a.Answer {
				continue // the gateway heard the question by two streams
			}
			if parts = append(parts, a); !a.More {
				return parts, true
			}
		case <-ctx.Done():
			return nil, false
		}
	}
}

// putLocked puts a question on the streams of a gateway that are here.
func (s *questions) putLocked(gateway string, q api.GatewayQuestion) (sent bool) {
	for _, ch := range s.streams[gateway] {
		select {
		case ch <- q:
			sent = true
		default: // it has more to answer than it takes
		}
	}
	return sent
}

// hear takes an answer. One that nobody here waits for goes to the other control planes, of which one may have asked: the
// answer can be here before this one has heard of the question.
func (s *questions) hear(gateway string, r api.GatewayReply) {
	if !s.take(gateway, &r) && s.others != nil {
		s.others.queue(replicaMessage{Kind: tellAnswer, Gateway: gateway, Reply: &r})
	}
}

// take gives an answer to whom waits for it here.
func (s *questions) take(gateway string, r *api.GatewayReply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.waiting[r.ID]
	if !ok || w.gateway != gateway {
		return false
	}
	select {
	case w.answer <- *r:
	default: // answered before, or more than is taken
	}
	select {
	case w.taken <- struct{}{}: // so it was put
	default: // which is known
	}
	return true
}

// askGateway is the stream of questions to a gateway.
func (c *Control) askGateway(ctx context.Context, q *call, w http.ResponseWriter) error {
	ch, leave, err := c.questions.listen(q.gateway.ID)
	if err != nil {
		return err
	}
	defer leave()
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lift read deadline: %w", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	beat := time.NewTicker(api.HeartbeatInterval)
	defer beat.Stop()
	var next api.GatewayQuestion // the first line is a heartbeat: it says that the stream is there
	for {
		if err := writeLine(w, rc, next); err != nil {
			c.log.DebugContext(ctx, "stream ended", "actor", q.actor.ID, "error", err)
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case next = <-ch:
		case <-beat.C:
			next = api.GatewayQuestion{}
			if !c.gatewayTokenInForce(q.gateway) {
				return nil
			}
		}
	}
}

func (c *Control) gatewayTokenInForce(g store.Gateway) bool {
	return slices.ContainsFunc(c.hub.current.Load().in.gateways, func(o store.Gateway) bool {
		return o.ID == g.ID && o.TokenHash == g.TokenHash
	})
}

func writeLine(w http.ResponseWriter, rc *http.ResponseController, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("render line: %w", err)
	}
	if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := w.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("write line: %w", err)
	}
	if err := rc.Flush(); err != nil {
		return fmt.Errorf("flush line: %w", err)
	}
	return nil
}

// hearGateway takes a gateway's answer.
func (c *Control) hearGateway(_ context.Context, q *call) (answer, error) {
	var in api.GatewayReply
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if in.Version != api.FlowAnswerVersion || len(in.Steps) > 64 {
		return answer{}, kind.New(kind.Invalid, "the answer is of another version")
	}
	c.questions.hear(q.gateway.ID, in)
	return answer{}, nil
}

// agentGateways tells a device which gateways control hears.
func (c *Control) agentGateways(context.Context, *call) (answer, error) {
	out := []api.AgentGatewayStatus{}
	for _, g := range c.hub.current.Load().in.gateways {
		out = append(out, api.AgentGatewayStatus{ID: g.ID, Connected: c.streams.count(gatewayStream, g.ID) > 0})
	}
	return answer{result: out}, nil
}
