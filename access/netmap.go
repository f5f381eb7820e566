package access

import (
	"net/netip"
	"slices"
)

// netMap finds the policies that include an address, by prefix. It makes one map
// access for each prefix length that occurs.
type netMap struct {
	by     map[netip.Prefix][]int32
	v4, v6 []int // the lengths that occur
}

func (m *netMap) add(p netip.Prefix, policy int32) {
	if m.by == nil {
		m.by = make(map[netip.Prefix][]int32)
	}
	lengths := &m.v4
	if p.Addr().Is6() {
		lengths = &m.v6
	}
	if !slices.Contains(*lengths, p.Bits()) {
		*lengths = append(*lengths, p.Bits())
	}
	m.by[p] = appendOrdinal(m.by[p], policy)
}

// each calls visit with the policies of every prefix that holds a, until visit
// returns false. An invalid address is in none.
func (m *netMap) each(a netip.Addr, visit func([]int32) bool) {
	lengths := m.v4
	if a.Is6() {
		lengths = m.v6
	}
	for _, n := range lengths {
		p, err := a.Prefix(n)
		if err != nil {
			return
		}
		if list, ok := m.by[p]; ok && !visit(list) {
			return
		}
	}
}
