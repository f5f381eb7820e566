package tunnel

import (
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// NICs of the netstack. A client uses nicV4 for both versions.
const (
	nicV4 tcpip.NICID = 1
	nicV6 tcpip.NICID = 2
)

// TCP settings of both ends.
const (
	// bufferMin, bufferDefault and bufferMax bound the socket buffers.
	// Measured at 40 ms: 8 MiB doubles the throughput that 4 MiB allows, and a
	// larger default only bursts into its own losses.
	bufferMin     = 4 << 10
	bufferDefault = 1 << 20
	bufferMax     = 8 << 20
	bufferFloor   = 64 << 10 // of limitBuffers; a window's worth of a busy LAN
	// bufferBudget is what the buffers of one source may hold in each direction
	// once it has many flows: a peer that reads nothing fills all of them.
	bufferBudget = 256 << 20
	// timeWait is short because the forwarder cannot hand a SYN to an endpoint
	// that still waits: with 60 s, a reused port makes a dial hang. WireGuard's
	// replay window keeps old segments away, which is what TIME_WAIT is for.
	timeWait = time.Millisecond
	// A peer that vanished is noticed by keep-alive (idle flow, after half an
	// hour: a laptop may sleep through a meeting) or by the retransmissions that
	// TCP allows (data waiting, after a quarter of one). There is no user timeout
	// (RFC 5482): gVisor counts it from the first retransmission that was not
	// followed by a moment without data on its way, and while the window is
	// closed. So it would end a long transfer at its second loss, and the session
	// of a user who reads a page for a minute.
	keepaliveIdle     = 60 * time.Second
	keepaliveInterval = 60 * time.Second
	keepaliveCount    = 30
)

func newStack() (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocol,
			ipv6.NewProtocolWithOptions(ipv6.Options{}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		// An address of ours as a destination is still the peer's business.
		HandleLocal: false,
	})
	sack := tcpip.TCPSACKEnabled(true)
	// RACK stays on for its probes too: between two gVisor ends they are taken
	// for losses and halve the window, which keeps lines short on a fast path.
	// Measured there: 1.1-1.4 ms per exchange beside a stream, without 4-16 ms.
	rack := tcpip.TCPRACKLossDetection
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	reno := tcpip.CongestionControlOption("reno")
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	rcv := tcpip.TCPReceiveBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax}
	snd := tcpip.TCPSendBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &rack, &moderate, &reno, &wait, &rcv, &snd} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			s.Destroy()
			return nil, fmt.Errorf("set TCP option %T: %s", o, err)
		}
	}
	return s, nil
}

// setUpClient gives the stack one NIC; addresses follow by addAddress.
func setUpClient(s *stack.Stack, dev *device) error {
	ep := &linkEndpoint{mtu: uint32(dev.mtu), queue: dev.queue}
	if err := s.CreateNIC(nicV4, ep); err != nil {
		return fmt.Errorf("create NIC: %s", err)
	}
	dev.v4, dev.v6 = ep, ep
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicV4},
		{Destination: header.IPv6EmptySubnet, NIC: nicV4},
	})
	return nil
}

// setUpGateway makes the stack take every destination as its own. For IPv4
// that is a NIC with the loopback capability and two addresses whose subnets
// cover everything: promiscuous mode would search all active destinations for
// every packet. For IPv6, where the search is a map, it is promiscuous mode on
// a second NIC, which also keeps IPv6's checksums in the netstack.
func setUpGateway(s *stack.Stack, dev *device) error {
	v4 := &linkEndpoint{mtu: uint32(dev.mtu), queue: dev.queue, acceptAll: true}
	v6 := &linkEndpoint{mtu: uint32(dev.mtu), queue: dev.queue}
	if err := s.CreateNIC(nicV4, v4); err != nil {
		return fmt.Errorf("create IPv4 NIC: %s", err)
	}
	if err := s.CreateNIC(nicV6, v6); err != nil {
		return fmt.Errorf("create IPv6 NIC: %s", err)
	}
	for _, half := range []string{"0.0.0.1/1", "128.0.0.1/1"} {
		p := netip.MustParsePrefix(half)
		addr := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits(),
		}}
		if err := s.AddProtocolAddress(nicV4, addr, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("add %s: %s", half, err)
		}
	}
	if err := s.SetPromiscuousMode(nicV6, true); err != nil {
		return fmt.Errorf("set promiscuous mode: %s", err)
	}
	if err := s.SetSpoofing(nicV6, true); err != nil {
		return fmt.Errorf("set spoofing: %s", err)
	}
	dev.v4, dev.v6 = v4, v6
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicV4},
		{Destination: header.IPv6EmptySubnet, NIC: nicV6},
	})
	return nil
}

// tuneTCP sets the options of one flow.
func tuneTCP(ep tcpip.Endpoint) error {
	so := ep.SocketOptions()
	so.SetDelayOption(false) // no Nagle: relayed protocols are interactive
	so.SetKeepAlive(true)
	idle := tcpip.KeepaliveIdleOption(keepaliveIdle)
	interval := tcpip.KeepaliveIntervalOption(keepaliveInterval)
	for _, o := range []tcpip.SettableSocketOption{&idle, &interval} {
		if err := ep.SetSockOpt(o); err != nil {
			return fmt.Errorf("set %T: %s", o, err)
		}
	}
	if err := ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepaliveCount); err != nil {
		return fmt.Errorf("set keep-alive count: %s", err)
	}
	return nil
}

// limitBuffers gives a flow of a source with so many flows its share of the
// budget, where that is less than a flow has by default.
func limitBuffers(ep tcpip.Endpoint, flows int) {
	share := int64(max(bufferBudget/max(flows, 1), bufferFloor))
	if share >= bufferDefault {
		return
	}
	ep.SocketOptions().SetSendBufferSize(share, true)
	ep.SocketOptions().SetReceiveBufferSize(share, true)
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func fullAddress(nic tcpip.NICID, ap netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(ap.Addr().AsSlice()), Port: ap.Port()}
}

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(a.AsSlice()) // invalid for an empty address, as it should be
	return netip.AddrPortFrom(addr, port)
}
