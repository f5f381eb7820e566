package control

import (
	"context"
	"time"

	"weft/api"
)

const (
	// takenTimeout is how long another control plane may take to say that it has put a question to a gateway.
	takenTimeout = 2 * time.Second
)

// askOthers has another control plane put the question; false: none has the gateway.
func (s *questions) askOthers(ctx context.Context, w waiting, q *api.GatewayQuestion) bool {
	if s.others.streams.count(gatewayStream, w.gateway) == 0 {
		return false
	}
	if err := s.others.send(ctx, replicaMessage{Kind: tellQuestion, Gateway: w.gateway, Question: q}); err != nil {
		return false
	}
	timeout := time.NewTimer(takenTimeout)
	defer timeout.Stop()
	select {
	case <-w.taken:
		return true
	case <-timeout.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// passOn does what another control plane says about questions. Whichever of them a gateway sends its answer to passes it on.
func (s *questions) passOn(r *replicas, m *replicaMessage) {
	switch {
	case m.Kind == tellQuestion && m.Question != nil:
		s.mu.Lock()
		sent := s.putLocked(m.Gateway, *m.Question)
		s.mu.Unlock()
		if sent {
			r.queue(replicaMessage{Kind: tellTaken, To: m.From, Gateway: m.Gateway, Question: &api.GatewayQuestion{ID: m.Question.ID}})
		}
	case m.Kind == tellTaken && m.Question != nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		if w, ok := s.waiting[m.Question.ID]; ok && w.gateway == m.Gateway {
			select {
			case w.taken <- struct{}{}:
			default: // it knows
			}
		}
	case m.Kind == tellAnswer && m.Reply != nil:
		s.take(m.Gateway, m.Reply)
	}
}
