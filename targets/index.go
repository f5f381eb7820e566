package targets

import (
	"encoding/binary"
	"net/netip"

	"weft/internal/kind"
	"weft/vnet"
)

// Index finds targets by address and by ID. It is immutable and safe for
// concurrent use; the zero value and nil hold no target.
type Index struct {
	list []Target
	nets map[vnet.ID]*addrMap
	byID map[ID]int32
	free []int32 // places without a target; see With
}

// addrMap finds targets within one VNET. Its keys are small on purpose: in a
// large account a lookup costs what it takes to bring the map's memory near.
type addrMap struct {
	v4 map[uint32]int32
	v6 map[[16]byte]int32
}

// NewIndex builds an immutable index from a copy of ts, whose order it keeps. It
// fails with kind.Conflict, naming the other target, when an (address, VNET)
// pair or an ID belongs to two. It does not validate: a target is never found at
// an address that is IPv4-mapped or has a zone.
func NewIndex(ts []Target) (*Index, error) {
	x := &Index{
		list: make([]Target, len(ts)),
		nets: make(map[vnet.ID]*addrMap),
		byID: make(map[ID]int32, len(ts)),
	}
	for i := range ts {
		t := ts[i].Clone()
		x.list[i] = t
		if other, taken := x.byID[t.ID]; taken {
			return nil, kind.New(kind.Conflict, "target ID %s belongs to both %q and %q", t.ID, x.list[other].Hostname, t.Hostname)
		}
		x.byID[t.ID] = int32(i)
		addrs, n := t.addresses()
		for _, a := range addrs[:n] {
			if other, taken := x.Position(a.VNET, a.Addr); taken {
				return nil, addressTaken(a, &x.list[other])
			}
			x.put(a, int32(i))
		}
	}
	return x, nil
}

// addressTaken is the conflict of an address that holder has.
func addressTaken(a Address, holder *Target) error {
	pointer := "/ip/ipv4/ip_addr"
	if a.Addr.Is6() {
		pointer = "/ip/ipv6/ip_addr"
	}
	e := kind.New(kind.Conflict, "address %s in virtual network %s already belongs to target %q (%s)", a.Addr, a.VNET, holder.Hostname, holder.ID)
	e.Pointer = pointer
	return e.WithHint("an IP address and virtual network pair can belong to one target only")
}

// CheckFree returns kind.Conflict, naming the holder, when an address of t
// belongs to a target with another ID.
func (x *Index) CheckFree(t *Target) error {
	addrs, n := t.addresses()
	for _, a := range addrs[:n] {
		if holder, ok := x.At(a.VNET, a.Addr); ok && (t.ID == "" || holder.ID != t.ID) {
			return addressTaken(a, holder)
		}
	}
	return nil
}

// At returns the target at an address of a VNET. It points into the index and
// must not be changed. An IPv4-mapped address is not its IPv4 twin.
func (x *Index) At(v vnet.ID, a netip.Addr) (*Target, bool) {
	i, ok := x.Position(v, a)
	if !ok {
		return nil, false
	}
	return &x.list[i], true
}

// Position is At for a caller with tables of its own beside the index: it
// returns the target's place in the list that NewIndex was given.
func (x *Index) Position(v vnet.ID, a netip.Addr) (int, bool) {
	if x == nil {
		return 0, false
	}
	m := x.nets[v]
	if m == nil {
		return 0, false
	}
	var i int32
	var ok bool
	switch {
	case a.Is4():
		i, ok = m.v4[key4(a)]
	case a.Is6() && !a.Is4In6() && a.Zone() == "":
		i, ok = m.v6[a.As16()]
	}
	return int(i), ok
}

// put enters an address, if it is one that Position finds.
func (x *Index) put(a Address, i int32) {
	m := x.nets[a.VNET]
	if m == nil {
		m = &addrMap{v4: make(map[uint32]int32), v6: make(map[[16]byte]int32)}
		x.nets[a.VNET] = m
	}
	switch {
	case a.Addr.Is4():
		m.v4[key4(a.Addr)] = i
	case a.Addr.Is6() && !a.Addr.Is4In6() && a.Addr.Zone() == "":
		m.v6[a.Addr.As16()] = i
	}
}

func key4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// PositionOf is Position by ID.
func (x *Index) PositionOf(id ID) (int, bool) {
	if x == nil {
		return 0, false
	}
	i, ok := x.byID[id]
	return int(i), ok
}

// ByID returns the target with an ID; it points into the index and must not be changed.
func (x *Index) ByID(id ID) (*Target, bool) {
	if x == nil {
		return nil, false
	}
	i, ok := x.byID[id]
	if !ok {
		return nil, false
	}
	return &x.list[i], true
}

// Len is the number of places, each of which holds a target unless With took it.
func (x *Index) Len() int {
	if x == nil {
		return 0
	}
	return len(x.list)
}

// Get returns the target at a place, 0 <= i < Len; it points into the index and must not be changed. One without an ID is
// none: its place is free.
func (x *Index) Get(i int) *Target { return &x.list[i] }
