package targets

import (
	"net/netip"

	"weft/vnet"
)

// ValidateHostname returns a kind.Invalid error that says which rule s breaks.
func ValidateHostname(s string) error { panic("not yet") }

// Validate checks the hostname, the families of the addresses and that there is at least one.
func (t *Target) Validate() error { panic("not yet") }

// ParseProtocol accepts the exact upper-case name, or any case.
func ParseProtocol(s string) (Protocol, error) { panic("not yet") }

// Carries reports whether p runs over tr: UDP over udp only, RDP over both, the rest over tcp.
func (p Protocol) Carries(tr Transport) bool { panic("not yet") }

// Terminated reports whether the gateway terminates p (SSH) rather than relaying it.
func (p Protocol) Terminated() bool { panic("not yet") }

// Validate checks port, protocol and attributes.
func (c *Criteria) Validate() error { panic("not yet") }

// Matches reports whether c selects t.
func (c *Criteria) Matches(t *Target) bool { panic("not yet") }

// Match reports whether f selects e.
func (f *Filter) Match(e *Entry) bool { panic("not yet") }

// Index finds targets by address. NewIndex fails with kind.Conflict naming the other target
// when an (address, VNET) pair belongs to two.
type Index struct{}

// NewIndex builds an immutable index.
func NewIndex(ts []Target) (*Index, error) { panic("not yet") }

// At returns the target at an address of a VNET.
func (x *Index) At(v vnet.ID, a netip.Addr) (*Target, bool) { panic("not yet") }

// Destination is what a name resolved to.
type Destination struct {
	Target Target
	Addr   netip.Addr
	VNET   vnet.ID
}

// ResolveName turns what a user typed into one destination: a target ID, an IP address (in VNET
// only), "<hostname>" or "<hostname>.<vnet name>" (hostname wins when both readings exist). VNET only ("" = none
// asked) restricts; otherwise the selected VNET is preferred, and if it has no match a single match elsewhere is taken.
// An IP address that is no target's resolves to itself in the VNET asked for or selected, with a zero Target.
// Errors: kind.NotFound, kind.Conflict (ambiguous: lists the candidates with ID, address and VNET).
// v4 is preferred over v6 unless the name is an IPv6 address.
func ResolveName(entries []Entry, networks []vnet.Network, selected, only vnet.ID, name string) (Destination, error) {
	panic("not yet")
}
