package sshproxy

import (
	"sync"

	"weft/access"
)

// Forwards is what a session forwards at the moment: connections that are open, listeners of the target, and the agent and
// X11 once they were asked for. Whoever re-evaluates sessions asks it whether the rules of a login still cover that.
type Forwards struct {
	mu   sync.Mutex
	uses map[*use]struct{}
}

// use is one thing that is forwarded.
type use struct {
	what    string // for the user
	allowed func(*access.SSHRules) bool
}

// NewForwards makes an empty one.
func NewForwards() *Forwards { return &Forwards{uses: make(map[*use]struct{})} }

// Uncovered names something that is forwarded and that rules do not allow, "" for nothing. Nil rules allow nothing.
func (f *Forwards) Uncovered(rules *access.SSHRules) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for u := range f.uses {
		if !u.allowed(rules) {
			return u.what
		}
	}
	return ""
}

// claim is how a use begins. It is measured by the rules of now twice: before it is in the table, since an attempt that was never
// allowed is no reason to end a session, and after, so that a change of the rules meets it in the one place or in the other.
func (f *Forwards) claim(u *use, rules func() *access.SSHRules) bool {
	if !u.allowed(rules()) {
		return false
	}
	f.mu.Lock()
	f.uses[u] = struct{}{}
	f.mu.Unlock()
	if u.allowed(rules()) {
		return true
	}
	f.drop(u)
	return false
}

func (f *Forwards) drop(u *use) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.uses, u)
}

// rules are those of the login as of now: of the policy that grants it, and of no other.
func (x *session) rules() *access.SSHRules {
	return x.s.Authorize(x.result.Login).SSHRules()
}
