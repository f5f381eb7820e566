package sessions

import "weft/access"

// OnRecheck has f asked whenever the session is re-evaluated and would go on: with the decision of now it says what the session
// does that is no longer allowed, nil for nothing. f must not block.
func (s *Session) OnRecheck(f func(now access.Decision) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRecheck = f
}

// Recheck asks what was given to OnRecheck.
func (s *Session) Recheck(now access.Decision) error {
	s.mu.Lock()
	f := s.onRecheck
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(now)
}
