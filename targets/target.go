package targets

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft/internal/kind"
	"weft/vnet"
)

// Limits of a target's tags.
const (
	MaxTags          = 50
	MaxTagKeyBytes   = 128
	MaxTagValueBytes = 255
)

// attributeHostname is the attribute that every target has; the others are tags.
const attributeHostname = "hostname"

// Validate checks the hostname, the families of the addresses, that there is at
// least one, and the tags. The ID is the caller's business: a new target has none.
func (t *Target) Validate() error {
	if err := ValidateHostname(t.Hostname); err != nil {
		return err
	}
	if t.IPv4 == nil && t.IPv6 == nil {
		return kind.Field("/ip", "target %q needs an IPv4 or an IPv6 address", t.Hostname)
	}
	if t.IPv4 != nil {
		if err := t.IPv4.validate("/ip/ipv4", "IPv4", netip.Addr.Is4); err != nil {
			return err
		}
	}
	if t.IPv6 != nil {
		if err := t.IPv6.validate("/ip/ipv6", "IPv6", netip.Addr.Is6); err != nil {
			return err
		}
	}
	return validateTags(t.Tags)
}

// validate checks one address; pointer is where it stands in the wire form.
func (a *Address) validate(pointer, family string, is func(netip.Addr) bool) error {
	at := pointer + "/ip_addr"
	switch ip := a.Addr; {
	case !ip.IsValid():
		return kind.Field(at, "the %s address of a target must be an IP address", family)
	case ip.Is4In6():
		return kind.Field(at, "%s is an IPv4-mapped IPv6 address; write it as IPv4", ip)
	case !is(ip):
		return kind.Field(at, "%s is not an %s address", ip, family)
	case ip.Zone() != "":
		return kind.Field(at, "%s has a zone; a target's address is the same from everywhere", ip)
	case ip.IsUnspecified():
		return kind.Field(at, "%s is the unspecified address", ip)
	case ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return kind.Field(at, "%s is not the address of one machine", ip)
	case a.VNET == "":
		return kind.Field(pointer+"/virtual_network_id", "address %s needs a virtual network", ip)
	}
	return nil
}

// validateTags checks keys and values; "hostname" is not a tag.
func validateTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return kind.Field("/tags", "a target can have %d tags; this one has %d", MaxTags, len(tags))
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if err := validateTagKey(k); err != nil {
			return kind.Field("/tags", "%s", err.Error())
		}
		if v := tags[k]; v == "" || len(v) > MaxTagValueBytes || !printable(v) {
			return kind.Field("/tags", "the value of tag %q must be 1 to %d bytes of printable text", k, MaxTagValueBytes)
		}
	}
	return nil
}

func validateTagKey(k string) error {
	switch {
	case k == "" || len(k) > MaxTagKeyBytes || !printable(k) || strings.ContainsAny(k, " =:"):
		return errors.New("tag key " + quote(k) + " must be 1 to 128 bytes of printable text without blanks, '=' and ':'")
	case strings.EqualFold(k, attributeHostname):
		return errors.New("tag key " + quote(k) + " is taken: the hostname is an attribute of every target")
	}
	return nil
}

// printable reports whether s is valid UTF-8 without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Clone returns a copy that shares nothing with t.
func (t *Target) Clone() Target {
	c := *t
	c.Tags = maps.Clone(t.Tags)
	if t.IPv4 != nil {
		a := *t.IPv4
		c.IPv4 = &a
	}
	if t.IPv6 != nil {
		a := *t.IPv6
		c.IPv6 = &a
	}
	return c
}

// addresses returns the target's addresses, IPv4 first.
func (t *Target) addresses() (list [2]Address, n int) {
	for _, a := range [...]*Address{t.IPv4, t.IPv6} {
		if a != nil {
			list[n] = *a
			n++
		}
	}
	return list, n
}

// InVNET reports whether one of the target's addresses is in v.
func (t *Target) InVNET(v vnet.ID) bool {
	return t.IPv4 != nil && t.IPv4.VNET == v || t.IPv6 != nil && t.IPv6.VNET == v
}

// hasAttribute reports whether attribute key of t has one of values.
func (t *Target) hasAttribute(key string, values []string) bool {
	if key == attributeHostname {
		return slices.ContainsFunc(values, func(v string) bool { return EqualHostname(v, t.Hostname) })
	}
	tag, has := t.Tags[key]
	return has && slices.Contains(values, tag)
}
