package agent

import (
	"sync"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/kind"
)

const (
	maxSubscribers = 64
	maxPending     = 32 // notices that a subscriber has not taken
)

// subscription is one reader of the event stream. Changes are coalesced into flags, so
// that what waits for a slow reader is bounded.
type subscription struct {
	agent *Agent
	ready chan struct{} // holds one token

	mu      sync.Mutex // guards what follows
	pending change
	notices []localapi.Notice
}

var _ server.Subscription = (*subscription)(nil)

// Subscribe returns a reader whose first Take is the snapshot.
func (a *Agent) Subscribe() (server.Subscription, error) {
	s := &subscription{agent: a, ready: make(chan struct{}, 1)}
	s.add(changedStatus | changedTargets | changedVNETs)
	b := &a.status
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) >= maxSubscribers {
		return nil, fault.New(string(kind.Limit), "more than %d programs follow the agent's events", maxSubscribers)
	}
	b.subs[s] = struct{}{}
	return s, nil
}

// Close ends the subscription.
func (s *subscription) Close() {
	b := &s.agent.status
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Ready implements server.Subscription.
func (s *subscription) Ready() <-chan struct{} { return s.ready }

func (s *subscription) add(c change) {
	s.mu.Lock()
	s.pending |= c
	s.mu.Unlock()
	s.signal()
}

// addNotice drops the oldest when too many wait: the status holds the last ten anyway.
func (s *subscription) addNotice(n localapi.Notice) {
	s.mu.Lock()
	if len(s.notices) == maxPending {
		s.notices = s.notices[1:]
	}
	s.notices = append(s.notices, n)
	s.mu.Unlock()
	s.signal()
}

func (s *subscription) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Take implements server.Subscription.
func (s *subscription) Take() []localapi.Event {
	s.mu.Lock()
	pending, notices := s.pending, s.notices
	s.pending, s.notices = 0, nil
	s.mu.Unlock()
	var out []localapi.Event
	event := func(kind string) *localapi.Event {
		out = append(out, localapi.Event{SchemaVersion: localapi.SchemaVersion, Type: kind, Time: time.Now()})
		return &out[len(out)-1]
	}
	if pending&changedStatus != 0 {
		st := s.agent.Status()
		event("status").Status = &st
	}
	if pending&changedTargets != 0 {
		l := s.agent.targetList(nil)
		event("targets").Targets = &l
	}
	if pending&changedVNETs != 0 {
		l := s.agent.VNETs()
		event("vnets").VNETs = &l
	}
	for i := range notices {
		event("notice").Notice = &notices[i]
	}
	return out
}
