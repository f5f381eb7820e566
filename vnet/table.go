package vnet

import (
	"cmp"
	"net/netip"
	"slices"

	"weft/internal/kind"
)

// Table finds the route of an address: the longest prefix within the VNET. It
// is immutable and safe for concurrent use; the zero value and nil route nothing.
//
// The prefixes of a VNET are flattened into spans that do not overlap, so a
// lookup is one binary search that allocates nothing, however deeply they nest.
type Table struct {
	nets map[ID][]span
}

// span runs from start to the next span's start. A span without a route is a gap.
type span struct {
	start netip.Addr
	route *Route
}

// NewTable builds an immutable table from a copy of routes; it refuses invalid
// and IPv4-mapped prefixes, host bits and a missing VNET (kind.Invalid), and the
// same prefix twice in a VNET (kind.Conflict, naming the other route).
func NewTable(routes []Route) (*Table, error) {
	byNet := make(map[ID][]*Route)
	for i := range routes {
		r := routes[i]
		if err := r.Validate(); err != nil {
			return nil, err
		}
		byNet[r.VNET] = append(byNet[r.VNET], &r)
	}
	t := &Table{nets: make(map[ID][]span, len(byNet))}
	for v, rs := range byNet {
		slices.SortFunc(rs, func(a, b *Route) int {
			return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.ID, b.ID))
		})
		for i := 1; i < len(rs); i++ {
			if rs[i-1].Prefix == rs[i].Prefix {
				return nil, kind.New(kind.Conflict, "prefix %s of virtual network %s is routed twice: by route %s to tunnel %s and by route %s to tunnel %s",
					rs[i].Prefix, v, rs[i-1].ID, rs[i-1].Tunnel, rs[i].ID, rs[i].Tunnel)
			}
		}
		t.nets[v] = flatten(rs)
	}
	return t, nil
}

// Validate checks the prefix and that the route belongs to a VNET.
func (r *Route) Validate() error {
	p := r.Prefix
	switch {
	case !p.IsValid():
		return kind.Field("/network", "the network of a route must be an IP prefix such as 10.0.0.0/16")
	case p.Addr().Is4In6():
		return kind.Field("/network", "%s is an IPv4-mapped IPv6 prefix; write it as IPv4", p)
	case p != p.Masked():
		return kind.Field("/network", "%s has host bits set; did you mean %s?", p, p.Masked())
	case r.VNET == "":
		return kind.Field("/virtual_network_id", "route %s belongs to no virtual network", p)
	}
	return nil
}

// flatten turns prefixes, sorted by address and then length so that a parent
// stands before what it holds, into spans sorted by start.
func flatten(rs []*Route) []span {
	var spans []span
	var open []*Route // the prefixes around the current address, outermost first
	closeTop := func() {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		var outer *Route
		if len(open) > 0 {
			outer = open[len(open)-1]
		}
		if next := after(top.Prefix); next.IsValid() {
			spans = put(spans, next, outer)
		}
	}
	for _, r := range rs {
		for len(open) > 0 && !open[len(open)-1].Prefix.Contains(r.Prefix.Addr()) {
			closeTop()
		}
		open = append(open, r)
		spans = put(spans, r.Prefix.Addr(), r)
	}
	for len(open) > 0 {
		closeTop()
	}
	return slices.Clip(spans)
}

// put appends a span; a later one with the same start replaces the earlier.
func put(spans []span, start netip.Addr, r *Route) []span {
	if n := len(spans); n > 0 && spans[n-1].start == start {
		spans[n-1].route = r
		return spans
	}
	return append(spans, span{start, r})
}

// after returns the first address behind p. Behind the last IPv4 address stands
// the first IPv6 one, as in netip's order; behind the last IPv6 address there is
// none, and the result is not valid.
func after(p netip.Prefix) netip.Addr {
	last := lastAddr(p)
	next := last.Next()
	if !next.IsValid() && last.Is4() {
		return netip.IPv6Unspecified()
	}
	return next
}

// lastAddr returns the highest address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Lookup returns the longest matching route of v; safe for concurrent use. An
// address with a zone and an IPv4-mapped one have no route.
func (t *Table) Lookup(v ID, a netip.Addr) (Route, bool) {
	if t == nil || !a.IsValid() || a.Is4In6() || a.Zone() != "" {
		return Route{}, false
	}
	spans := t.nets[v]
	lo, hi := 0, len(spans)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if spans[mid].start.Compare(a) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 || spans[lo-1].route == nil {
		return Route{}, false
	}
	return *spans[lo-1].route, true
}
