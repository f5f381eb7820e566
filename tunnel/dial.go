package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// DialTCP opens a flow from local, which must be an address of this end: the
// address names the VNET, so there is no dial without one. It returns
// ErrRefused, ErrUnreachable, ErrProhibited, ErrTimeout or ErrClosed (see
// errors.Is), or the context's error.
func (t *Tunnel) DialTCP(ctx context.Context, local netip.Addr, remote netip.AddrPort) (*TCPConn, error) {
	ep, wq, err := t.dialEndpoint(ctx, "TCP", local, remote)
	if err != nil {
		return nil, err
	}
	conn, err := t.connectTCP(ctx, ep, wq, local, remote)
	if err != nil {
		return nil, fmt.Errorf("dial TCP %s from %s: %w", remote, local, err)
	}
	return conn, nil
}

// DialUDP opens a UDP flow from local, under the same rule.
func (t *Tunnel) DialUDP(ctx context.Context, local netip.Addr, remote netip.AddrPort) (*UDPConn, error) {
	ep, wq, err := t.dialEndpoint(ctx, "UDP", local, remote)
	if err != nil {
		return nil, err
	}
	if terr := ep.Connect(fullAddress(nicV4, remote)); terr != nil {
		ep.Close()
		t.flows.release(sourceKey{})
		return nil, fmt.Errorf("dial UDP %s from %s: %w", remote, local, dialError(terr))
	}
	c := new(UDPConn)
	bound := boundAddress(ep)
	c.init("udp", ep, wq, bound, remote)
	if !t.flows.add(&c.flowConn, Flow{Source: bound, Destination: remote}, sourceKey{}) {
		return nil, ErrClosed
	}
	return c, nil
}

// dialEndpoint makes an endpoint bound to local, with a place in the flow table.
func (t *Tunnel) dialEndpoint(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	fail := func(err error) (tcpip.Endpoint, *waiter.Queue, error) {
		return nil, nil, fmt.Errorf("dial %s %s from %s: %w", network, remote, local, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if err := t.addrs.check(local, remote); err != nil {
		return fail(err)
	}
	if t.isClosed() {
		return fail(ErrClosed)
	}
	proto := tcpip.TransportProtocolNumber(tcp.ProtocolNumber)
	if network == "UDP" {
		proto = udp.ProtocolNumber
	}
	if cause, ok := t.flows.reserve(sourceKey{}); !ok {
		t.drops.add(cause)
		return fail(errors.New("too many open flows"))
	}
	wq := new(waiter.Queue)
	ep, terr := t.stack.NewEndpoint(proto, protocolOf(local), wq)
	if terr == nil {
		if terr = ep.Bind(fullAddress(nicV4, netip.AddrPortFrom(local, 0))); terr != nil {
			ep.Close()
		}
	}
	if terr != nil {
		t.flows.release(sourceKey{})
		return fail(errors.New(terr.String()))
	}
	return ep, wq, nil
}

// connectTCP performs the handshake; it owns ep and the flow's place.
func (t *Tunnel) connectTCP(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, local netip.Addr, remote netip.AddrPort) (*TCPConn, error) {
	fail := func(err error) (*TCPConn, error) {
		ep.Abort()
		ep.Close()
		t.flows.release(sourceKey{})
		return nil, err
	}
	if err := tuneTCP(ep); err != nil {
		return fail(err)
	}
	entry, done := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)

	bound := boundAddress(ep)
	watch := t.icmpErrors.watch(Flow{Source: bound, Destination: remote})
	defer t.icmpErrors.forget(watch)

	terr := ep.Connect(fullAddress(nicV4, remote))
	if _, ok := terr.(*tcpip.ErrConnectStarted); ok {
		select {
		case <-done:
			terr = ep.LastError()
		case <-ctx.Done():
			return fail(ctx.Err())
		case <-t.ctx.Done():
			return fail(ErrClosed)
		}
	}
	if terr != nil {
		if watch.prohibited.Load() {
			return fail(ErrProhibited)
		}
		return fail(dialError(terr))
	}
	c := new(TCPConn)
	c.init("tcp", ep, wq, bound, remote)
	if !t.flows.add(&c.flowConn, Flow{Source: bound, Destination: remote}, sourceKey{}) {
		return nil, ErrClosed
	}
	return c, nil
}

func boundAddress(ep tcpip.Endpoint) netip.AddrPort {
	a, err := ep.GetLocalAddress()
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(a.Addr, a.Port)
}

// addressSet is the tunnel addresses of a client end. Safe for concurrent use.
type addressSet struct {
	mu  sync.RWMutex
	set map[netip.Addr]struct{}
}

// check is what makes an unbound dial impossible.
func (s *addressSet) check(local netip.Addr, remote netip.AddrPort) error {
	if !local.IsValid() || local.IsUnspecified() {
		return errors.New("no local address given")
	}
	if !remote.IsValid() || remote.Addr().Is4In6() || remote.Addr().Zone() != "" || remote.Port() == 0 {
		return errors.New("remote address is not usable")
	}
	if local.Is4() != remote.Addr().Is4() {
		return errors.New("local and remote address differ in IP version")
	}
	s.mu.RLock()
	_, ok := s.set[local]
	s.mu.RUnlock()
	if !ok {
		return errors.New("local address is not of this tunnel")
	}
	return nil
}

// AddAddress adds a tunnel address to a client end; adding it again does
// nothing.
func (t *Tunnel) AddAddress(a netip.Addr) error {
	if t.gateway {
		return errors.New("add address: a gateway end takes every address")
	}
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("add address %s: not a tunnel address", a)
	}
	t.addrs.mu.Lock()
	defer t.addrs.mu.Unlock()
	if _, ok := t.addrs.set[a]; ok {
		return nil
	}
	pa := tcpip.ProtocolAddress{Protocol: protocolOf(a), AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}
	if err := t.stack.AddProtocolAddress(nicV4, pa, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("add address %s: %s", a, err)
	}
	t.addrs.set[a] = struct{}{}
	return nil
}

// RemoveAddress aborts the flows of an address, then removes it; without the
// abort they would hang instead of failing. Removing an address that is not
// there does nothing.
func (t *Tunnel) RemoveAddress(a netip.Addr) error {
	t.addrs.mu.Lock()
	_, ok := t.addrs.set[a]
	delete(t.addrs.set, a) // no new dial from here on
	t.addrs.mu.Unlock()
	if !ok {
		return nil
	}
	t.AbortFlows(func(f Flow) bool { return f.Source.Addr() == a })
	if err := t.stack.RemoveAddress(nicV4, tcpip.AddrFromSlice(a.AsSlice())); err != nil {
		return fmt.Errorf("remove address %s: %s", a, err)
	}
	return nil
}

// icmpWatch notes what ICMP said about a dial: the netstack reports an
// administrative prohibition as an unreachable host.
type icmpWatch struct {
	flow       Flow
	prohibited atomic.Bool
}

// icmpErrors knows the dials that wait for an answer. Safe for concurrent use.
type icmpErrors struct {
	mu    sync.Mutex
	dials map[Flow]*icmpWatch
}

func (e *icmpErrors) watch(f Flow) *icmpWatch {
	w := &icmpWatch{flow: f}
	e.mu.Lock()
	e.dials[f] = w
	e.mu.Unlock()
	return w
}

func (e *icmpErrors) forget(w *icmpWatch) {
	e.mu.Lock()
	if e.dials[w.flow] == w {
		delete(e.dials, w.flow)
	}
	e.mu.Unlock()
}

// inspect sees every inbound packet of a client before the netstack does.
func (e *icmpErrors) inspect(b []byte) {
	f, ok := prohibitedFlow(b)
	if !ok {
		return
	}
	e.mu.Lock()
	w := e.dials[f]
	e.mu.Unlock()
	if w != nil {
		w.prohibited.Store(true)
	}
}

// prohibitedFlow reads the TCP flow that an ICMP "administratively
// prohibited" message is about.
func prohibitedFlow(b []byte) (Flow, bool) {
	info, ok := parseIP(b)
	if !ok || info.fragment || len(b) < info.headerLen+icmpHeaderLen {
		return Flow{}, false
	}
	m := b[info.headerLen:]
	switch {
	case info.proto == protoICMPv4 && info.version == 4 &&
		m[0] == byte(header.ICMPv4DstUnreachable) && m[1] == icmp4Prohibited:
	case info.proto == protoICMPv6 && info.version == 6 &&
		m[0] == byte(header.ICMPv6DstUnreachable) && m[1] == icmp6Prohibited:
	default:
		return Flow{}, false
	}
	return flowOfPacket(m[icmpHeaderLen:])
}

// flowOfPacket reads addresses and ports of a TCP packet, of which 8 bytes of
// TCP suffice.
func flowOfPacket(b []byte) (Flow, bool) {
	info, ok := parseIP(b)
	if !ok || info.fragment || info.proto != protoTCP || len(b) < info.headerLen+4 {
		return Flow{}, false
	}
	src, dst := b[12:16], b[16:20]
	if info.version == 6 {
		src, dst = b[8:24], b[24:40]
	}
	from, _ := netip.AddrFromSlice(src)
	to, _ := netip.AddrFromSlice(dst)
	return Flow{
		Source:      netip.AddrPortFrom(from, binary.BigEndian.Uint16(b[info.headerLen:])),
		Destination: netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[info.headerLen+2:])),
	}, true
}
