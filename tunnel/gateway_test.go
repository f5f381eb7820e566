package tunnel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

var (
	gatewayHost = netip.MustParseAddr("192.0.2.1")
	rawHost     = netip.MustParseAddr("192.0.2.77")
	otherHost   = netip.MustParseAddr("192.0.2.78")
)

// newGateway is a gateway end on a network, and its endpoint.
func newGateway(t *testing.T, network *tunneltest.Network, cfg tunnel.Config) (*tunnel.Tunnel, netip.AddrPort) {
	t.Helper()
	gw := tunneltest.New(t, network, gatewayHost, cfg)
	return gw, netip.AddrPortFrom(gatewayHost, gw.ListenPort())
}

// ipPacket puts a transport segment in an IP header.
func ipPacket(src, dst netip.Addr, proto tcpip.TransportProtocolNumber, segment []byte) []byte {
	if src.Is4() {
		b := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(segment))
		header.IPv4(b).Encode(&header.IPv4Fields{
			TotalLength: uint16(cap(b)), TTL: 64, Protocol: uint8(proto),
			SrcAddr: tcpip.AddrFrom4(src.As4()), DstAddr: tcpip.AddrFrom4(dst.As4()),
		})
		header.IPv4(b).SetChecksum(^header.IPv4(b).CalculateChecksum())
		return append(b, segment...)
	}
	b := make([]byte, header.IPv6MinimumSize, header.IPv6MinimumSize+len(segment))
	header.IPv6(b).Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(segment)), TransportProtocol: proto, HopLimit: 64,
		SrcAddr: tcpip.AddrFrom16(src.As16()), DstAddr: tcpip.AddrFrom16(dst.As16()),
	})
	return append(b, segment...)
}

func udpPacket(src, dst netip.AddrPort, payload string) []byte {
	b := make([]byte, header.UDPMinimumSize+len(payload))
	header.UDP(b).Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(b))})
	copy(b[header.UDPMinimumSize:], payload)
	return ipPacket(src.Addr(), dst.Addr(), header.UDPProtocolNumber, b)
}

func pingPacket(src, dst netip.Addr) []byte {
	if src.Is4() {
		b := make([]byte, header.ICMPv4MinimumSize+8)
		header.ICMPv4(b).SetType(header.ICMPv4Echo)
		header.ICMPv4(b).SetChecksum(^checksum.Checksum(b, 0))
		return ipPacket(src, dst, header.ICMPv4ProtocolNumber, b)
	}
	b := make([]byte, header.ICMPv6EchoMinimumSize+8)
	header.ICMPv6(b).SetType(header.ICMPv6EchoRequest)
	header.ICMPv6(b).SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: b, Src: tcpip.AddrFrom16(src.As16()), Dst: tcpip.AddrFrom16(dst.As16()),
	}))
	return ipPacket(src, dst, header.ICMPv6ProtocolNumber, b)
}

// TestGateway_AnswersNoPing: the stack takes every destination, but must not
// speak for hosts that may not exist. A datagram sent after the pings is
// answered, so that "no answer" means more than "not yet".
func TestGateway_AnswersNoPing(t *testing.T) {
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{Handler: echo})
	raw := tunneltest.NewRawPeer(t, network, rawHost, gw, endpoint, []netip.Addr{client4, client6})
	for _, dst := range []string{"10.1.2.3", "0.0.0.1", "128.0.0.1", "255.255.255.255", "224.0.0.1"} {
		raw.Send(t, pingPacket(client4, netip.MustParseAddr(dst)))
	}
	raw.Send(t, pingPacket(client6, target6.Addr()))
	raw.Send(t, udpPacket(netip.AddrPortFrom(client4, 5), target4, "end"))
	reply := header.IPv4(<-raw.Packets())
	if reply.Protocol() != uint8(header.UDPProtocolNumber) {
		t.Errorf("first packet back has protocol %d, want the answer to the datagram", reply.Protocol())
	}
	if n := gw.Stats().Dropped["ping"]; n < 2 {
		t.Errorf("counted %d pings, want at least those to unicast addresses", n)
	}
}

// TestGateway_Checksums: the stack leaves checksums of the loopback NIC out;
// what leaves must carry them, or a kernel drops it.
func TestGateway_Checksums(t *testing.T) {
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{Handler: tunneltest.Handler{UDP: echo.UDP, TCP: func(_ context.Context, r *tunnel.TCPRequest) {
		r.Reject(map[uint16]tunnel.Rejection{1: tunnel.RejectRefused, 2: tunnel.RejectProhibited, 3: tunnel.RejectUnreachable}[r.Flow().Destination.Port()])
	}}})
	raw := tunneltest.NewRawPeer(t, network, rawHost, gw, endpoint, []netip.Addr{client4, client6})
	for _, a := range [][2]netip.Addr{{client4, target4.Addr()}, {client6, target6.Addr()}} {
		src := netip.AddrPortFrom(a[0], 999)
		for _, payload := range []string{"", "odd", "even"} {
			raw.Send(t, udpPacket(src, netip.AddrPortFrom(a[1], 53), payload))
			checkPacket(t, <-raw.Packets())
		}
		for port := uint16(1); port <= 3; port++ {
			raw.Send(t, synPacket(src, netip.AddrPortFrom(a[1], port)))
			checkPacket(t, <-raw.Packets())
		}
	}
}

func synPacket(src, dst netip.AddrPort) []byte {
	b := make([]byte, header.TCPMinimumSize)
	header.TCP(b).Encode(&header.TCPFields{
		SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: 7, DataOffset: header.TCPMinimumSize,
		Flags: header.TCPFlagSyn, WindowSize: 1000,
	})
	return ipPacket(src.Addr(), dst.Addr(), header.TCPProtocolNumber, b)
}

// checkPacket verifies every checksum of a packet independently of the code
// that computed it.
func checkPacket(t *testing.T, b []byte) {
	t.Helper()
	if len(b) == 0 {
		t.Fatal("empty packet")
	}
	var src, dst tcpip.Address
	var proto tcpip.TransportProtocolNumber
	var segment []byte
	if b[0]>>4 == 4 {
		ip := header.IPv4(b)
		if !ip.IsValid(len(b)) || int(ip.TotalLength()) != len(b) || !ip.IsChecksumValid() {
			t.Errorf("IPv4 header is not valid: % x", b)
			return
		}
		src, dst, proto, segment = ip.SourceAddress(), ip.DestinationAddress(), ip.TransportProtocol(), ip.Payload()
	} else {
		ip := header.IPv6(b)
		if !ip.IsValid(len(b)) || int(ip.PayloadLength())+header.IPv6MinimumSize != len(b) {
			t.Errorf("IPv6 header is not valid: % x", b)
			return
		}
		src, dst, proto, segment = ip.SourceAddress(), ip.DestinationAddress(), tcpip.TransportProtocolNumber(ip.NextHeader()), ip.Payload()
	}
	sum := checksum.Checksum(segment, 0)
	if proto != header.ICMPv4ProtocolNumber {
		sum = checksum.Combine(sum, header.PseudoHeaderChecksum(proto, src, dst, uint16(len(segment))))
	}
	if sum != 0xffff {
		t.Errorf("protocol %d: checksum does not verify (%#x): % x", proto, sum, b)
	}
	if proto == header.UDPProtocolNumber && header.UDP(segment).Checksum() == 0 {
		t.Errorf("UDP checksum is left out")
	}
}

// TestGateway_SpoofedSource: a peer cannot use the tunnel address of another.
func TestGateway_SpoofedSource(t *testing.T) {
	seen := make(chan netip.AddrPort, 16)
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{Handler: tunneltest.Handler{
		UDP: func(_ context.Context, r *tunnel.UDPRequest) {
			seen <- r.Flow().Source
			r.Reject(tunnel.RejectSilent)
		},
		TCP: func(_ context.Context, r *tunnel.TCPRequest) {
			seen <- r.Flow().Source
			r.Reject(tunnel.RejectSilent)
		},
	}})
	mine, other := netip.MustParseAddr("100.64.0.2"), client4
	tunneltest.NewRawPeer(t, network, otherHost, gw, endpoint, []netip.Addr{other, client6})
	raw := tunneltest.NewRawPeer(t, network, rawHost, gw, endpoint, []netip.Addr{mine})

	raw.Send(t, udpPacket(netip.AddrPortFrom(other, 1), target4, "spoofed"))
	raw.Send(t, synPacket(netip.AddrPortFrom(other, 1), target4))
	raw.Send(t, udpPacket(netip.AddrPortFrom(client6, 1), target6, "spoofed"))
	raw.Send(t, udpPacket(netip.AddrPortFrom(mine, 1), target4, "honest"))
	if got := (<-seen).Addr(); got != mine {
		t.Errorf("handler saw a flow of %s first, want only %s", got, mine)
	}
	select {
	case got := <-seen:
		t.Errorf("handler saw a flow of %s", got)
	default:
	}
}

// TestGateway_Limits: what one peer can hold is bounded, whichever of its
// addresses it uses, counted, and does not keep another peer out.
func TestGateway_Limits(t *testing.T) {
	a, b, other := netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("100.64.0.2"), netip.MustParseAddr("100.64.1.1")
	tests := []struct {
		name   string
		limits tunnel.Limits
		hold   func(r *tunnel.TCPRequest, release <-chan struct{}) // what the handler does
		cause  string
		want   error // of the third flow
		open   bool  // the first two are opened
	}{
		{
			name: "flows of a source", limits: tunnel.Limits{MaxFlowsPerSource: 2}, cause: "flow_source_limit", want: tunnel.ErrRefused, open: true,
			hold: func(r *tunnel.TCPRequest, release <-chan struct{}) {
				if c, err := r.Accept(); err == nil {
					<-release
					c.Abort()
				}
			},
		},
		{
			name: "dials of a source", limits: tunnel.Limits{MaxDialsPerSource: 2}, cause: "dial_source_limit", want: tunnel.ErrRefused,
			hold: func(r *tunnel.TCPRequest, release <-chan struct{}) { <-release; r.Reject(tunnel.RejectSilent) },
		},
		{
			name: "dials in total", limits: tunnel.Limits{MaxDialsInFlight: 2, MaxDialsPerSource: 2}, cause: "dial_limit", want: context.DeadlineExceeded,
			hold: func(r *tunnel.TCPRequest, release <-chan struct{}) { <-release; r.Reject(tunnel.RejectSilent) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			release := make(chan struct{})
			var once sync.Once
			free := func() { once.Do(func() { close(release) }) }
			defer free()
			var arrived atomic.Int32
			network := new(tunneltest.Network)
			gw, endpoint := newGateway(t, network, tunnel.Config{Limits: tt.limits, Handler: tcpHandler(func(r *tunnel.TCPRequest) {
				arrived.Add(1)
				tt.hold(r, release)
			})})
			addrs := []netip.Addr{a, b}
			client := tunneltest.New(t, network, netip.MustParseAddr("192.0.2.2"), tunnel.Config{Addresses: addrs})
			tunneltest.Connect(t, client, gw, endpoint, addrs)
			second := tunneltest.New(t, network, netip.MustParseAddr("192.0.2.3"), tunnel.Config{Addresses: []netip.Addr{other}})
			tunneltest.Connect(t, second, gw, endpoint, []netip.Addr{other})

			ctx, cancel := context.WithCancel(t.Context())
			var dials sync.WaitGroup
			defer dials.Wait()
			defer cancel()
			for i, local := range addrs {
				dials.Go(func() {
					c, err := client.DialTCP(ctx, local, netip.AddrPortFrom(target4.Addr(), uint16(100+i)))
					if err == nil {
						t.Cleanup(c.Abort)
					}
				})
			}
			eventually(t, "both flows are held", func() bool {
				s := gw.Stats()
				if tt.open {
					return s.FlowsOpen == 2
				}
				return s.DialsInFlight == 2 && arrived.Load() == 2
			})
			short, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer stop()
			if _, err := client.DialTCP(short, b, target4); !errors.Is(err, tt.want) {
				t.Errorf("third flow: got %v, want %v", err, tt.want)
			}
			if n := gw.Stats().Dropped[tt.cause]; n == 0 {
				t.Errorf("nothing counted as %s", tt.cause)
			}
			if tt.cause != "dial_limit" {
				dials.Go(func() { _, _ = second.DialTCP(ctx, other, target4) })
				eventually(t, "the other peer is served", func() bool { return arrived.Load() == 3 })
			}
			free()
			cancel()
			eventually(t, "all places are free again", func() bool {
				s := gw.Stats()
				return s.FlowsOpen == 0 && s.DialsInFlight == 0
			})
		})
	}
}

// TestGateway_SequentialConnections: ports come round again, so an endpoint
// in TIME_WAIT meets new SYNs.
func TestGateway_SequentialConnections(t *testing.T) {
	total := 20_000
	if testing.Short() {
		total = 2_000
	}
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		if c, err := r.Accept(); err == nil {
			_, _ = c.Write([]byte("x"))
			closeConn(c) // the gateway closes first, and so is the end that waits
		}
	})})
	var next atomic.Int32
	var workers sync.WaitGroup
	start := time.Now()
	for range 16 {
		workers.Go(func() {
			for next.Add(1) <= int32(total) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				c, err := client.DialTCP(ctx, client4, target4)
				cancel()
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(c); err != nil || string(b) != "x" {
					t.Errorf("read %q, %v", b, err)
				}
				closeConn(c)
			}
		})
	}
	workers.Wait()
	t.Logf("%d connections, %.0f/s", total, float64(total)/time.Since(start).Seconds())
}

// TestGateway_ManyTargets: with very many targets the stack still answers at
// once, which is what the two half-space addresses are for.
func TestGateway_ManyTargets(t *testing.T) {
	families := []struct {
		name   string
		local  netip.Addr
		probe  netip.AddrPort
		target func(i int) netip.Addr
	}{
		{name: "IPv4", local: client4, probe: target4, target: func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		}},
		{name: "IPv6", local: client6, probe: target6, target: func(i int) netip.Addr {
			a := target6.Addr().As16()
			a[8], a[9] = byte(i>>8), byte(i)
			return netip.AddrFrom16(a)
		}},
	}
	const few = 100
	many := 10_000
	if testing.Short() {
		many = 2_000
	}
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			client, gw := tunneltest.NewPair(t, tunneltest.Config{
				Handler: echo,
				Limits:  tunnel.Limits{MaxFlowsPerSource: 20_000, MaxDialsPerSource: 4096},
			})
			probe := dial(t, client, f.local, f.probe)
			openTargets(t, client, f.local, f.target, 0, few)
			before := medianRTT(t, probe)
			start := time.Now()
			openTargets(t, client, f.local, f.target, few, many)
			t.Logf("%d targets opened in %s", many, time.Since(start))
			after := medianRTT(t, probe)
			t.Logf("median exchange %s before, %s after", before, after)
			if n := gw.Stats().FlowsOpen; n != int64(many+1) {
				t.Errorf("%d flows open, want %d", n, many+1)
			}
			// A scan of the targets would cost a hundred times as much; the rest is for a busy machine.
			if after > 10*before+5*time.Millisecond {
				t.Errorf("exchange takes %s with %d targets, %s with %d", after, many, before, few)
			}
		})
	}
}

// openTargets opens a flow to each of the targets, and leaves it open.
func openTargets(t *testing.T, client *tunnel.Tunnel, local netip.Addr, target func(int) netip.Addr, from, to int) {
	t.Helper()
	var next atomic.Int32
	next.Store(int32(from))
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < to; i = int(next.Add(1)) - 1 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				c, err := client.DialTCP(ctx, local, netip.AddrPortFrom(target(i), 80))
				cancel()
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(c.Abort)
			}
		})
	}
	workers.Wait()
}

// medianRTT is the median time of a one-byte exchange.
func medianRTT(t *testing.T, c io.ReadWriter) time.Duration {
	t.Helper()
	var took []time.Duration
	b := make([]byte, 1)
	for range 201 {
		start := time.Now()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestGateway_Malformed: what is no packet is counted and harmless.
func TestGateway_Malformed(t *testing.T) {
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{Handler: echo})
	raw := tunneltest.NewRawPeer(t, network, rawHost, gw, endpoint, []netip.Addr{client4, client6})
	whole := synPacket(netip.AddrPortFrom(client4, 1), target4)
	for n := header.IPv4MinimumSize; n < len(whole); n++ {
		cut := slices.Clone(whole[:n])
		binary.BigEndian.PutUint16(cut[2:], uint16(n))
		header.IPv4(cut).SetChecksum(0)
		header.IPv4(cut).SetChecksum(^header.IPv4(cut).CalculateChecksum())
		raw.Send(t, cut)
	}
	raw.Send(t, udpPacket(netip.AddrPortFrom(client4, 5), target4, "end"))
	if reply := header.IPv4(<-raw.Packets()); reply.Protocol() != uint8(header.UDPProtocolNumber) {
		t.Errorf("a cut packet was answered with protocol %d", reply.Protocol())
	}
}
