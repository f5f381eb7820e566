package store

import (
	"encoding/hex"
	"net/netip"

	"weft/internal/kind"
)

// addrKey is 32 hex digits that sort like the addresses; an IPv4 address is its IPv4-mapped IPv6 one.
func addrKey(a netip.Addr) string {
	b := a.As16()
	return hex.EncodeToString(b[:])
}

// lastAddr is the highest address of a masked prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b) // the length is that of an address
	return a
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// ParseNetwork reads a prefix without host bits.
func ParseNetwork(pointer, s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, kind.Field(pointer, "%q is not an address prefix such as 10.0.0.0/24", s)
	}
	if p.Addr().Is4In6() {
		return p, kind.Field(pointer, "%q is an IPv4-mapped prefix", s).WithHint("write it as an IPv4 prefix")
	}
	if p.Masked() != p {
		return p, kind.Field(pointer, "%q has bits set after the prefix length", s).WithHint("did you mean %s?", p.Masked())
	}
	return p, nil
}

// ParseAddr reads an address without a zone.
func ParseAddr(pointer, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, kind.Field(pointer, "%q is not an IP address", s)
	}
	return a, nil
}
