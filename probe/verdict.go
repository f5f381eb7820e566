package probe

import (
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// verdict remembers whether the gateway answered "administratively prohibited" about one destination. The stack reports that
// to its sockets as any other unreachable host (IPv4), or not at all (IPv6).
type verdict struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	dst     netip.Addr
	denied  bool
	onceHad func()
}

// watch starts over for dst; f is called once when a verdict about it comes.
func (v *verdict) watch(dst netip.Addr, f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dst, v.denied, v.onceHad = dst.Unmap(), false, f
}

func (v *verdict) add(dst netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if dst != v.dst || v.denied {
		return
	}
	v.denied = true
	go v.onceHad() // a context.CancelFunc: returns at once, but not under mu
}

func (v *verdict) prohibited() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.denied
}

// watchedTUN sees what arrives through the tunnel before the stack does.
type watchedTUN struct {
	tun.Device
	verdict *verdict
}

// Write looks at the packets and hands them on.
func (w *watchedTUN) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		if dst, ok := Prohibited(b[offset:]); ok {
			w.verdict.add(dst)
		}
	}
	return w.Device.Write(bufs, offset)
}

// Prohibited reads one IP packet and, when it is an ICMP error of the kind "communication administratively
// prohibited" (RFC 1812 section 5.2.7.1: codes 9, 10, 13; RFC 4443 section 3.1: code 1), returns the destination
// of the packet that it is about.
func Prohibited(p []byte) (dst netip.Addr, ok bool) {
	switch header.IPVersion(p) {
	case header.IPv4Version:
		return prohibited4(p)
	case header.IPv6Version:
		return prohibited6(p)
	default:
		return netip.Addr{}, false
	}
}

func prohibited4(p []byte) (netip.Addr, bool) {
	ip := header.IPv4(p)
	if !ip.IsValid(len(p)) || ip.TransportProtocol() != header.ICMPv4ProtocolNumber || ip.FragmentOffset() != 0 {
		return netip.Addr{}, false
	}
	icmp := header.ICMPv4(ip.Payload())
	if len(icmp) < header.ICMPv4MinimumSize || icmp.Type() != header.ICMPv4DstUnreachable {
		return netip.Addr{}, false
	}
	switch icmp.Code() {
	case header.ICMPv4NetProhibited, header.ICMPv4HostProhibited, header.ICMPv4AdminProhibited:
	default:
		return netip.Addr{}, false
	}
	inner := header.IPv4(icmp.Payload())
	if len(inner) < header.IPv4MinimumSize || header.IPVersion(inner) != header.IPv4Version {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(inner.DestinationAddressSlice())
}

func prohibited6(p []byte) (netip.Addr, bool) {
	ip := header.IPv6(p)
	// An error that answers a flow carries no extension headers.
	if !ip.IsValid(len(p)) || ip.NextHeader() != uint8(header.ICMPv6ProtocolNumber) {
		return netip.Addr{}, false
	}
	icmp := header.ICMPv6(ip.Payload())
	if len(icmp) < header.ICMPv6MinimumSize || icmp.Type() != header.ICMPv6DstUnreachable || icmp.Code() != header.ICMPv6Prohibited {
		return netip.Addr{}, false
	}
	inner := header.IPv6(icmp.Payload())
	if len(inner) < header.IPv6MinimumSize || header.IPVersion(inner) != header.IPv6Version {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(inner.DestinationAddressSlice())
}
