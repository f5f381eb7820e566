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

// Grant says what allows a session: for SSH what grants the UNIX user, which need not be what allowed the connection.
type Grant struct {
	Application, Policy string // IDs
	PolicyName          string
	Revision            uint64
}

// SetGrant replaces what Grant returns; SetLogin follows.
func (s *Session) SetGrant(g Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant = &g
}

// Grant is that of the login, before it that of the connection.
func (s *Session) Grant() Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grant != nil {
		return *s.grant
	}
	return Grant{Application: s.Application, Policy: s.Policy, PolicyName: s.PolicyName, Revision: s.Revision}
}
