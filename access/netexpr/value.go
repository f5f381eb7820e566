package netexpr

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// value is a literal, or a range of literals, of the kind of the field it is compared with.
type value struct {
	flag     bool
	text     string
	low, top uint64     // a number, or a range of them
	from, to netip.Addr // an address, the addresses of a prefix, or a range
	pattern  *regexp.Regexp
}

// value reads one literal for f.
func (p *parser) value(f *field, op string) (value, error) {
	t := p.tok
	if t.kind != tokWord && t.kind != tokString {
		return value{}, p.fail("expected %s, found %s", f.kind, t)
	}
	var v value
	var err error
	switch f.kind {
	case kindString:
		if t.kind != tokString {
			return value{}, p.fail("expected a string in double quotes, found %s", t)
		}
		v, err = p.textValue(t, f, op)
	case kindBool:
		v.flag = t.text == "true"
		if t.kind != tokWord || t.text != "true" && t.text != "false" {
			return value{}, p.fail("expected true or false, found %s", t)
		}
	case kindInt:
		v, err = p.numberValue(t, op)
	case kindIP:
		v, err = p.addrValue(t, op)
	}
	if err != nil {
		return value{}, err
	}
	return v, p.advance()
}

func (p *parser) textValue(t token, f *field, op string) (value, error) {
	if op != "matches" {
		if f.fold {
			return value{text: lowerASCII(t.text)}, nil
		}
		return value{text: t.text}, nil
	}
	if p.patterns++; p.patterns > MaxPatterns {
		return value{}, p.fail("more than %d patterns", MaxPatterns)
	}
	re, err := compilePattern(t.text)
	if err != nil {
		return value{}, p.failAt(t.offset, "%s", err)
	}
	return value{text: t.text, pattern: re}, nil
}

// numberValue reads a number; a range LOW..HIGH in a set.
func (p *parser) numberValue(t token, op string) (value, error) {
	low, high, isRange := strings.Cut(t.text, "..")
	if !isRange {
		high = low
	} else if op != "in" {
		return value{}, p.failAt(t.offset, "a range can only stand in a set: in {%s}", clip(t.text))
	}
	a, err1 := strconv.ParseUint(low, 10, 32)
	b, err2 := strconv.ParseUint(high, 10, 32)
	switch {
	case t.kind != tokWord || err1 != nil || err2 != nil:
		return value{}, p.failAt(t.offset, "%s is not a number", t)
	case b < a:
		return value{}, p.failAt(t.offset, "the range %s is empty", t.text)
	}
	return value{low: a, top: b}, nil
}

// addrValue reads an address, a prefix (with ==, != and in) or a range (in a set).
func (p *parser) addrValue(t token, op string) (value, error) {
	set := op == "in"
	low, high, isRange := strings.Cut(t.text, "..")
	switch {
	case t.kind != tokWord:
		return value{}, p.failAt(t.offset, "an address stands without quotes: %s", clip(t.text))
	case isRange && !set:
		return value{}, p.failAt(t.offset, "a range can only stand in a set: in {%s}", clip(t.text))
	case isRange:
		a, err1 := netip.ParseAddr(low)
		b, err2 := netip.ParseAddr(high)
		if err1 != nil || err2 != nil || a.Zone()+b.Zone() != "" {
			return value{}, p.failAt(t.offset, "%s is not a range of addresses", t)
		}
		if a.BitLen() != b.BitLen() || b.Less(a) {
			return value{}, p.failAt(t.offset, "the range %s is empty", t.text)
		}
		if a.Is4In6() != b.Is4In6() { // addresses are compared unmapped, so its ends would be of two families
			return value{}, p.failAt(t.offset, "the range %s goes from IPv6 addresses to IPv4-mapped ones or back", clip(t.text))
		}
		return value{from: a.Unmap(), to: b.Unmap()}, nil
	case strings.Contains(t.text, "/"):
		pre, err := netip.ParsePrefix(t.text)
		if err != nil {
			return value{}, p.failAt(t.offset, "%s is not a prefix", t)
		}
		if !set && op != "==" && op != "!=" {
			return value{}, p.failAt(t.offset, "a prefix can only be compared with ==, != and in")
		}
		if pre != pre.Masked() {
			return value{}, p.failAt(t.offset, "%s has bits set behind its length; the prefix is %s", t, pre.Masked())
		}
		return prefixValue(pre), nil
	}
	a, err := netip.ParseAddr(t.text)
	if err != nil || a.Zone() != "" {
		return value{}, p.failAt(t.offset, "%s is not an address", t)
	}
	return value{from: a.Unmap(), to: a.Unmap()}, nil
}

// prefixValue is the range of a masked prefix. Addresses are compared unmapped, so that of IPv4-mapped addresses is
// that of the IPv4 addresses that they stand for.
func prefixValue(p netip.Prefix) value {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return value{from: p.Addr(), to: lastAddr(p)}
}

// lastAddr is the highest address of a masked prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		fill(b[:], p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	fill(b[:], p.Bits())
	return netip.AddrFrom16(b)
}

// fill sets every bit behind the first n.
func fill(b []byte, n int) {
	for i := range b {
		switch {
		case n <= 8*i:
			b[i] = 0xff
		case n < 8*(i+1):
			b[i] |= 0xff >> (n - 8*i)
		}
	}
}

// lowerASCII lowers A to Z and nothing else, so that no two strings become one by
// the tables of Unicode.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
