package access

import (
	"weft/targets"
)

// Rule is one selector: on the wire a one-key object such as {"email":{"email":"a@b.c"}}.
// An unknown key is refused on writes; it never matches.
type Rule struct{}

// MarshalJSON returns the wire form.
func (r Rule) MarshalJSON() ([]byte, error) { panic("not yet") }

// UnmarshalJSON reads the wire form strictly.
func (r *Rule) UnmarshalJSON(b []byte) error { panic("not yet") }

// EmailRule matches one address, without regard to case.
func EmailRule(email string) Rule { panic("not yet") }

// Everyone matches every identity.
func Everyone() Rule { panic("not yet") }

// Validate checks an application by itself: name, criteria, policies, one protocol per port within it.
func (a *Application) Validate() error { panic("not yet") }

// CheckPorts returns kind.Conflict naming the other application when candidate gives a port a protocol that another
// application (different ID) gave another protocol.
func CheckPorts(candidate *Application, others []Application) error { panic("not yet") }

// Snapshot is a compiled, immutable policy; safe for concurrent use.
type Snapshot struct{}

// Compile validates and indexes in. Objects that contradict each other make it fail; the caller keeps the old snapshot.
func Compile(in Input) (*Snapshot, error) { panic("not yet") }

// Revision of the input.
func (s *Snapshot) Revision() uint64 { panic("not yet") }

// Target at an address, for messages.
func (s *Snapshot) Target(id targets.ID) (*targets.Target, bool) { panic("not yet") }

// Evaluate decides. A nil snapshot, identity or device denies.
func Evaluate(s *Snapshot, q Query) Decision { panic("not yet") }

// Grants lists the UNIX users for q (q.Login is ignored), united over the matching policies, sorted.
func Grants(s *Snapshot, q Query) []Grant { panic("not yet") }

// Entries is the target list of an identity on a device: every (target, port) it may reach, sorted by
// hostname, ID, port.
func Entries(s *Snapshot, id *Identity, d *Device) []targets.Entry { panic("not yet") }

// Message says in a sentence why, for the user; it names no rule that the user does not match.
func (d Decision) Message() string { panic("not yet") }
