package tunnel

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// ICMP codes of "destination unreachable": RFC 792, RFC 1812 section 5.2.7.1
// and RFC 4443 section 3.1.
const (
	icmp4Host           = 1
	icmp4Port           = 3
	icmp4TooBig         = 4
	icmp4NetProhibited  = 9
	icmp4HostProhibited = 10
	icmp4Prohibited     = 13

	icmp6Prohibited = 1
	icmp6Host       = 3
	icmp6Port       = 4
	icmp6Policy     = 5
	icmp6Reject     = 6
)

// icmpKey names a flow of a client end.
type icmpKey struct {
	proto uint8
	flow  Flow
}

// icmpErrors tells the dials and UDP flows of a client what ICMP says of
// them. The netstack does it only in part: it takes a prohibition for an
// unreachable host, and ignores most codes for IPv6 and for UDP. Its size is
// bounded by the flows of this end. Safe for concurrent use.
type icmpErrors struct {
	mu    sync.RWMutex
	flows map[icmpKey]func(error)
}

// watch calls tell, which must not block, for every refusal of the flow.
func (e *icmpErrors) watch(k icmpKey, tell func(error)) {
	e.mu.Lock()
	e.flows[k] = tell
	e.mu.Unlock()
}

func (e *icmpErrors) forget(k icmpKey) {
	e.mu.Lock()
	delete(e.flows, k)
	e.mu.Unlock()
}

// inspect sees every inbound packet before the netstack does.
func (e *icmpErrors) inspect(b []byte) {
	k, err := parseUnreachable(b)
	if err == nil {
		return
	}
	e.mu.RLock()
	tell := e.flows[k]
	e.mu.RUnlock()
	if tell != nil {
		tell(err)
	}
}

// parseUnreachable reads from an ICMP "destination unreachable" message which
// flow was refused and how; a nil error means that b is no such message.
func parseUnreachable(b []byte) (icmpKey, error) {
	info, ok := parseIP(b)
	if !ok || info.fragment || len(b) < info.headerLen+icmpHeaderLen {
		return icmpKey{}, nil
	}
	m := b[info.headerLen:]
	var err error
	switch {
	case info.version == 4 && info.proto == protoICMPv4 && m[0] == byte(header.ICMPv4DstUnreachable):
		err = unreachable4Error(m[1])
	case info.version == 6 && info.proto == protoICMPv6 && m[0] == byte(header.ICMPv6DstUnreachable):
		err = unreachable6Error(m[1])
	}
	if err == nil {
		return icmpKey{}, nil
	}
	k, ok := parseFlow(m[icmpHeaderLen:])
	if !ok {
		return icmpKey{}, nil
	}
	return k, err
}

func unreachable4Error(code byte) error {
	switch code {
	case icmp4TooBig: // not a refusal: the netstack handles it
		return nil
	case icmp4Port:
		return ErrRefused
	case icmp4NetProhibited, icmp4HostProhibited, icmp4Prohibited:
		return ErrProhibited
	default:
		return ErrUnreachable
	}
}

func unreachable6Error(code byte) error {
	switch code {
	case icmp6Port:
		return ErrRefused
	case icmp6Prohibited, icmp6Policy, icmp6Reject:
		return ErrProhibited
	default:
		return ErrUnreachable
	}
}

// parseFlow reads addresses and ports of a packet of which at least 4 bytes
// follow the IP header.
func parseFlow(b []byte) (icmpKey, bool) {
	info, ok := parseIP(b)
	if !ok || info.fragment || len(b) < info.headerLen+4 {
		return icmpKey{}, false
	}
	src, dst := b[12:16], b[16:20]
	if info.version == 6 {
		src, dst = b[8:24], b[24:40]
	}
	from, _ := netip.AddrFromSlice(src) // lengths are right by construction
	to, _ := netip.AddrFromSlice(dst)
	ports := b[info.headerLen:]
	return icmpKey{info.proto, Flow{
		Source:      netip.AddrPortFrom(from, binary.BigEndian.Uint16(ports)),
		Destination: netip.AddrPortFrom(to, binary.BigEndian.Uint16(ports[2:])),
	}}, true
}
