package connector

import (
	"net/netip"

	"weft/api"
	"weft/vnet"
)

// routes are the prefixes that this connector may dial, by VNET; immutable.
type routes struct{ prefixes map[vnet.ID][]netip.Prefix }

func newRoutes(wire map[string]api.WireRoute) *routes {
	r := &routes{prefixes: make(map[vnet.ID][]netip.Prefix)}
	for _, w := range wire {
		if w.Prefix.IsValid() {
			r.prefixes[w.VNET] = append(r.prefixes[w.VNET], w.Prefix)
		}
	}
	return r
}

// cover reports whether a route of v covers a.
func (r *routes) cover(v vnet.ID, a netip.Addr) bool {
	for _, p := range r.prefixes[v] {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
