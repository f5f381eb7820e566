package probe_test

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"weft/probe"
)

func icmp4(kind header.ICMPv4Type, code header.ICMPv4Code, about string) []byte {
	p := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize+header.IPv4MinimumSize+8)
	ip := header.IPv4(p)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(p)), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber),
		SrcAddr: tcpip.AddrFrom4([4]byte{10, 20, 0, 7}), DstAddr: tcpip.AddrFrom4([4]byte{100, 64, 1, 1}),
	})
	icmp := header.ICMPv4(ip.Payload())
	icmp.SetType(kind)
	icmp.SetCode(code)
	inner := header.IPv4(icmp.Payload())
	inner.Encode(&header.IPv4Fields{
		TotalLength: 60, TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: tcpip.AddrFrom4([4]byte{100, 64, 1, 1}), DstAddr: tcpip.AddrFrom4(netip.MustParseAddr(about).As4()),
	})
	return p
}

func TestProhibited(t *testing.T) {
	denied := icmp4(header.ICMPv4DstUnreachable, header.ICMPv4AdminProhibited, "10.20.0.7")
	tests := []struct {
		name   string
		packet []byte
		want   string
	}{
		{name: "communication administratively prohibited", packet: denied, want: "10.20.0.7"},
		{name: "host administratively prohibited", packet: icmp4(header.ICMPv4DstUnreachable, header.ICMPv4HostProhibited, "10.20.0.7"), want: "10.20.0.7"},
		{name: "a host that is only unreachable", packet: icmp4(header.ICMPv4DstUnreachable, header.ICMPv4HostUnreachable, "10.20.0.7")},
		{name: "an echo reply with the same code", packet: icmp4(header.ICMPv4EchoReply, header.ICMPv4AdminProhibited, "10.20.0.7")},
		{name: "a packet cut inside the ICMP header", packet: denied[:header.IPv4MinimumSize+4]},
		{name: "a packet cut inside the quoted header", packet: denied[:len(denied)-20]},
		{name: "nothing", packet: nil},
		{name: "one byte", packet: []byte{0x45}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst, ok := probe.Prohibited(tt.packet)
			if ok != (tt.want != "") || (ok && dst != netip.MustParseAddr(tt.want)) {
				t.Fatalf("got %v, %v; want %q", dst, ok, tt.want)
			}
		})
	}
}

func FuzzProhibited(f *testing.F) {
	f.Add(icmp4(header.ICMPv4DstUnreachable, header.ICMPv4AdminProhibited, "10.20.0.7"))
	f.Add([]byte{0x60, 0, 0, 0, 0, 0, 58, 64})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		if dst, ok := probe.Prohibited(p); ok && !dst.IsValid() {
			t.Fatalf("a verdict about no address")
		}
	})
}
