package targets

import (
	"net/netip"
	"slices"
	"strconv"

	"weft/internal/kind"
)

// Beside the hostname and the tags, two facts of an entry are found as attributes, because people
// ask for them so: "protocol" (without regard to case) and "port". A tag of that name counts too.
const (
	attributeProtocol = "protocol"
	attributePort     = "port"
)

// Match reports whether f selects e: AND across its fields and attributes, OR
// within one; an empty field, or an attribute without values, selects everything.
func (f *Filter) Match(e *Entry) bool {
	for k, values := range f.Attributes {
		if len(values) > 0 && !e.hasAttribute(k, values) {
			return false
		}
	}
	return f.matchVNET(e) && f.matchUsername(e) && f.matchHostname(e) && f.matchAddress(e) &&
		selects(f.Protocols, e.Protocol) && selects(f.Ports, e.Port) && selects(f.IDs, e.Target.ID)
}

// Empty reports whether f selects everything because nothing is asked for; nil does so too.
func (f *Filter) Empty() bool {
	return f == nil || len(f.Attributes)+len(f.Usernames)+len(f.Hostnames)+len(f.Protocols)+len(f.Ports)+len(f.VNETs)+len(f.IDs)+len(f.Prefixes) == 0
}

// hasAttribute is that of the target, and the entry's own two.
func (e *Entry) hasAttribute(key string, values []string) bool {
	if e.Target.hasAttribute(key, values) {
		return true
	}
	switch key {
	case attributeProtocol:
		return slices.ContainsFunc(values, func(v string) bool { return EqualHostname(v, string(e.Protocol)) })
	case attributePort:
		return slices.Contains(values, strconv.Itoa(int(e.Port)))
	}
	return false
}

func (f *Filter) matchVNET(e *Entry) bool {
	return len(f.VNETs) == 0 || slices.ContainsFunc(f.VNETs, e.Target.InVNET)
}

// matchUsername compares UNIX users exactly, as the target does.
func (f *Filter) matchUsername(e *Entry) bool {
	return len(f.Usernames) == 0 ||
		slices.ContainsFunc(f.Usernames, func(u string) bool { return slices.Contains(e.Usernames, u) })
}

func (f *Filter) matchHostname(e *Entry) bool {
	return len(f.Hostnames) == 0 ||
		slices.ContainsFunc(f.Hostnames, func(g Glob) bool { return g.Match(e.Target.Hostname) })
}

// matchAddress does not mind in which virtual network the address is.
func (f *Filter) matchAddress(e *Entry) bool {
	if len(f.Prefixes) == 0 {
		return true
	}
	addrs, n := e.Target.addresses()
	return slices.ContainsFunc(addrs[:n], func(a Address) bool {
		return slices.ContainsFunc(f.Prefixes, func(p netip.Prefix) bool { return p.Contains(a.Addr) })
	})
}

func selects[T comparable](wanted []T, v T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, v)
}

// ParsePrefix reads what selects by address: a prefix ("10.0.0.0/8"), or an address, which is the
// prefix of that address alone. Bits beyond the prefix are dropped. Its errors are kind.Invalid.
func ParsePrefix(s string) (netip.Prefix, error) {
	a, err := netip.ParseAddr(s)
	p := netip.PrefixFrom(a, a.BitLen())
	if err != nil {
		p, err = netip.ParsePrefix(s)
		a = p.Addr()
	}
	switch {
	case err != nil:
		return netip.Prefix{}, kind.Field("/ip", "%s is neither an IP address nor a prefix such as 10.0.0.0/8", quote(s))
	case a.Is4In6():
		return netip.Prefix{}, kind.Field("/ip", "%s is an IPv4-mapped IPv6 address; write it as IPv4", quote(s))
	case a.Zone() != "":
		return netip.Prefix{}, kind.Field("/ip", "address %s has a zone; the address of a target has none", quote(s))
	}
	return p.Masked(), nil
}
