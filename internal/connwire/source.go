package connwire

import (
	"fmt"
	"io"
	"net/netip"
)

// ALPNSource is the protocol of ALPN with one addition: after StatusOK to a Request for TCP comes a Source. Both ends offer
// both names, so that each goes on working with an older one, which knows ALPN alone.
const ALPNSource = "weft-connector/1+source"

// Protocols are the names to offer, the better one first.
func Protocols() []string { return []string{ALPNSource, ALPN} }

// maxSourceBytes is the longest encoded Source.
const maxSourceBytes = 17

// AppendSource encodes the address from which a connector's connection comes, as the target sees it: a length, 0, 4 or 16, and the
// bytes. An address that cannot be meant is sent as not known.
func AppendSource(b []byte, a netip.Addr) []byte {
	if a = a.Unmap(); !validSource(a) {
		return append(b, 0)
	}
	s := a.AsSlice()
	return append(append(b, byte(len(s))), s...)
}

// ReadSource decodes a Source; the zero Addr: the connector does not know it.
func ReadSource(r io.Reader) (netip.Addr, error) {
	var b [maxSourceBytes]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return netip.Addr{}, fmt.Errorf("read source: %w", err)
	}
	n := int(b[0])
	if n != 0 && n != 4 && n != 16 {
		return netip.Addr{}, fmt.Errorf("%w: source of %d bytes", ErrMalformed, n)
	}
	if _, err := io.ReadFull(r, b[1:1+n]); err != nil {
		return netip.Addr{}, fmt.Errorf("read source: %w", err)
	}
	if n == 0 {
		return netip.Addr{}, nil
	}
	a, _ := netip.AddrFromSlice(b[1 : 1+n]) // 4 or 16 bytes: cannot fail
	if !validSource(a) || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%w: source %v", ErrMalformed, a)
	}
	return a, nil
}

// validSource: a zone means nothing elsewhere.
func validSource(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}
