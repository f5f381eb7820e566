package targets

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft/internal/kind"
	"weft/vnet"
)

// maxListed bounds the candidates that an error spells out.
const maxListed = 10

// Destination is what a name resolved to.
type Destination struct {
	Target Target
	Addr   netip.Addr
	VNET   vnet.ID
}

// ResolveName turns what a user typed into one destination: a target ID, an IP
// address (in VNET only), "<hostname>" or "<hostname>.<vnet name>" (hostname
// wins when both readings exist). VNET only ("" = none asked) restricts;
// otherwise the selected VNET is preferred, and if it has no match a single
// match elsewhere is taken. An IP address that is no target's resolves to itself
// in the VNET asked for or selected, with a zero Target.
//
// Errors: kind.NotFound, kind.Conflict (ambiguous: lists the candidates with ID,
// address and VNET), kind.Invalid (what can be no name at all, or an address
// while no VNET is selected). Of a target's two addresses in one VNET the IPv4
// one is taken, unless the name is an IPv6 address.
func ResolveName(entries []Entry, networks []vnet.Network, selected, only vnet.ID, name string) (Destination, error) {
	r := resolver{networks: networks, selected: selected, only: only, name: name}
	if name == "" {
		return Destination{}, kind.New(kind.Invalid, "the name of a target is empty")
	}
	if found := r.collect(entries, func(t *Target) bool { return string(t.ID) == name }); len(found) > 0 {
		return r.choose(found)
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return r.address(entries, a)
	}
	if found := r.collect(entries, func(t *Target) bool { return EqualHostname(t.Hostname, name) }); len(found) > 0 {
		return r.choose(found)
	}
	if found := r.qualified(entries); len(found) > 0 {
		return r.choose(found)
	}
	return Destination{}, r.notFound(entries)
}

// resolver holds one question.
type resolver struct {
	networks       []vnet.Network
	selected, only vnet.ID
	name           string
}

// collect returns one destination per (target, VNET) among the targets that
// match, within the VNET asked for, in the order of entries.
func (r *resolver) collect(entries []Entry, match func(*Target) bool) []Destination {
	var found []Destination
	seen := make(map[ID]bool)
	for i := range entries {
		t := &entries[i].Target
		if !match(t) || seen[t.ID] {
			continue
		}
		seen[t.ID] = true
		found = append(found, r.destinations(t)...)
	}
	return found
}

// destinations returns t's address in each of its VNETs, IPv4 before IPv6.
func (r *resolver) destinations(t *Target) []Destination {
	var ds []Destination
	addrs, n := t.addresses()
	for _, a := range addrs[:n] {
		if r.only != "" && a.VNET != r.only {
			continue
		}
		if !slices.ContainsFunc(ds, func(d Destination) bool { return d.VNET == a.VNET }) {
			ds = append(ds, Destination{Target: *t, Addr: a.Addr, VNET: a.VNET})
		}
	}
	return ds
}

// choose prefers the selected VNET; what is left must be one destination.
func (r *resolver) choose(found []Destination) (Destination, error) {
	inSelected := slices.DeleteFunc(slices.Clone(found), func(d Destination) bool { return d.VNET != r.selected })
	if len(inSelected) > 0 {
		found = inSelected
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return Destination{}, kind.New(kind.Conflict, "target %s is ambiguous: %s", quote(r.name), r.list(found)).
		WithHint("use a target ID, or name the virtual network")
}

// address resolves an IP address in the VNET asked for or selected, never in another.
func (r *resolver) address(entries []Entry, a netip.Addr) (Destination, error) {
	switch {
	case a.Is4In6():
		return Destination{}, kind.New(kind.Invalid, "%s is an IPv4-mapped IPv6 address; write it as %s", a, a.Unmap())
	case a.Zone() != "":
		return Destination{}, kind.New(kind.Invalid, "address %s has a zone; a tunnel address has none", quote(r.name))
	}
	v := r.only
	if v == "" {
		v = r.selected
	}
	if v == "" {
		return Destination{}, kind.New(kind.Invalid, "address %s exists in every virtual network, and none is selected", a).
			WithHint("select or name a virtual network")
	}
	want := Address{Addr: a, VNET: v}
	for i := range entries {
		t := &entries[i].Target
		if t.IPv4 != nil && *t.IPv4 == want || t.IPv6 != nil && *t.IPv6 == want {
			return Destination{Target: *t, Addr: a, VNET: v}, nil
		}
	}
	return Destination{Addr: a, VNET: v}, nil
}

// qualified reads the name as "<hostname>.<vnet name>", for every network whose
// name it ends in; network names may hold dots, so there may be several readings.
func (r *resolver) qualified(entries []Entry) []Destination {
	var found []Destination
	for i := range r.networks {
		n := &r.networks[i]
		host, ok := cutSuffixFold(r.name, "."+n.Name)
		if !ok || host == "" || n.Name == "" || r.only != "" && r.only != n.ID {
			continue
		}
		in := resolver{networks: r.networks, only: n.ID}
		found = append(found, in.collect(entries, func(t *Target) bool { return EqualHostname(t.Hostname, host) })...)
	}
	return found
}

// cutSuffixFold is strings.CutSuffix without regard to case.
func cutSuffixFold(s, suffix string) (before string, ok bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}

// notFound says where the name was looked for, and whether it exists elsewhere.
func (r *resolver) notFound(entries []Entry) error {
	if r.only == "" {
		return kind.New(kind.NotFound, "no target is called %s", quote(r.name)).
			WithHint("targets that you may not reach are not listed")
	}
	err := kind.New(kind.NotFound, "no target is called %s in virtual network %s", quote(r.name), r.network(r.only))
	anywhere := resolver{networks: r.networks, name: r.name}
	found := anywhere.collect(entries, func(t *Target) bool { return string(t.ID) == r.name || EqualHostname(t.Hostname, r.name) })
	if len(found) == 0 {
		return err.WithHint("targets that you may not reach are not listed")
	}
	return err.WithHint("found elsewhere: %s", anywhere.list(found))
}

// network returns the name of a VNET, or its ID when it is not known.
func (r *resolver) network(v vnet.ID) string {
	for i := range r.networks {
		if r.networks[i].ID == v {
			return quote(r.networks[i].Name)
		}
	}
	return string(v)
}

// list spells out candidates, the first few of them.
func (r *resolver) list(ds []Destination) string {
	var b strings.Builder
	for i := range ds {
		if i == maxListed {
			fmt.Fprintf(&b, " and %d more", len(ds)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s in %s)", ds[i].Target.ID, ds[i].Addr, r.network(ds[i].VNET))
	}
	return b.String()
}

// quote quotes what a user typed, cut to a length that fits a message.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
