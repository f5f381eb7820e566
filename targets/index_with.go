package targets

import (
	"maps"
	"slices"

	"weft/vnet"
)

// With returns an index with some targets more, or with new contents, and some
// less; x stays as it is. Every other target keeps its place; those that are new
// get places that are free or behind the last one. It fails as NewIndex does.
// What it costs is a copy of x's tables and a little for each change.
func (x *Index) With(put []Target, drop []ID) (*Index, error) {
	n := &Index{list: make([]Target, len(x.list), len(x.list)+len(put)), nets: maps.Clone(x.nets), byID: maps.Clone(x.byID), free: slices.Clone(x.free)}
	copy(n.list, x.list)
	own := make(map[vnet.ID]bool) // the address maps that are not x's any more
	for _, id := range drop {
		if i, ok := n.byID[id]; ok {
			n.clear(i, own)
			delete(n.byID, id)
			n.list[i] = Target{}
			n.free = append(n.free, i)
		}
	}
	for i := range put {
		if at, ok := n.byID[put[i].ID]; ok {
			n.clear(at, own) // first all of them: targets may have exchanged addresses
		}
	}
	for i := range put {
		if err := n.set(put[i].Clone(), own); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// set enters a target that has no address in x.
func (x *Index) set(t Target, own map[vnet.ID]bool) error {
	i, known := x.byID[t.ID]
	if !known {
		i = x.place()
		x.byID[t.ID] = i
	}
	x.list[i] = t
	addrs, n := t.addresses()
	for _, a := range addrs[:n] {
		if other, taken := x.Position(a.VNET, a.Addr); taken {
			return addressTaken(a, &x.list[other])
		}
		x.ownNet(a.VNET, own)
		x.put(a, i)
	}
	return nil
}

// place finds room for one more target.
func (x *Index) place() int32 {
	if n := len(x.free); n > 0 {
		i := x.free[n-1]
		x.free = x.free[:n-1]
		return i
	}
	x.list = append(x.list, Target{})
	return int32(len(x.list) - 1)
}

// clear takes the addresses of the target at i out.
func (x *Index) clear(i int32, own map[vnet.ID]bool) {
	addrs, n := x.list[i].addresses()
	for _, a := range addrs[:n] {
		if at, ok := x.Position(a.VNET, a.Addr); !ok || int32(at) != i {
			continue
		}
		x.ownNet(a.VNET, own)
		m := x.nets[a.VNET]
		if a.Addr.Is4() {
			delete(m.v4, key4(a.Addr))
		} else {
			delete(m.v6, a.Addr.As16())
		}
	}
}

// ownNet makes the address map of a VNET x's own before it is changed.
func (x *Index) ownNet(v vnet.ID, own map[vnet.ID]bool) {
	if m := x.nets[v]; m != nil && !own[v] {
		x.nets[v] = &addrMap{v4: maps.Clone(m.v4), v6: maps.Clone(m.v6)}
	}
	own[v] = true
}
