package vnet

import "net/netip"

// Table finds the route of an address: the longest prefix within the VNET.
type Table struct{}

// NewTable builds an immutable table; it refuses invalid prefixes, host bits and duplicates.
func NewTable(routes []Route) (*Table, error) { panic("not yet") }

// Lookup returns the longest matching route of v; safe for concurrent use.
func (t *Table) Lookup(v ID, a netip.Addr) (Route, bool) { panic("not yet") }

// DefaultPool is 100.64.0.0/10 (RFC 6598) with the ULA /48 given.
func DefaultPool(ula netip.Prefix) Pool { panic("not yet") }

// Block returns the block of a device's index, 1 to 65535; index 0 belongs to the gateways.
func (p Pool) Block(index uint16) (Block, error) { panic("not yet") }

// Index returns the block index that a belongs to.
func (p Pool) Index(a netip.Addr) (index uint16, ok bool) { panic("not yet") }

// GatewayAddrs are the addresses at which a gateway answers probes: the first of block 0.
func (p Pool) GatewayAddrs() (v4, v6 netip.Addr) { panic("not yet") }

// Addrs returns the addresses of (slot, mode) in the block.
func (b Block) Addrs(s Slot, m Mode) (v4, v6 netip.Addr, err error) { panic("not yet") }

// Locate is the inverse of Addrs.
func (b Block) Locate(a netip.Addr) (s Slot, m Mode, ok bool) { panic("not yet") }

// AssignSlots keeps the slots in old and gives each VNET of want without one the lowest free
// slot from 1; VNETs no longer wanted lose theirs only when a slot is needed. It fails
// when more than 31 are wanted.
func AssignSlots(old map[ID]Slot, want []ID) (map[ID]Slot, error) { panic("not yet") }

// Resolve finds the network that ref names: an exact ID, else a name without regard to case.
// The error is kind.NotFound, or kind.Conflict listing the candidates.
func Resolve(networks []Network, ref string) (Network, error) { panic("not yet") }
