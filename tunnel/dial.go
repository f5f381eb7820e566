package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
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
	conn, err := t.connectTCP(ctx, ep, wq, remote)
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
	c.init("udp", &t.workers, ep, wq, bound, remote)
	watch := icmpKey{protoUDP, Flow{Source: bound, Destination: remote}}
	t.icmpErrors.watch(watch, c.fail)
	c.onEnd = func() { t.icmpErrors.forget(watch) }
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
		if terr = t.addrs.bind(ep, local); terr != nil {
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
func (t *Tunnel) connectTCP(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, remote netip.AddrPort) (*TCPConn, error) {
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
	refused := make(chan error, 1)
	watch := icmpKey{protoTCP, Flow{Source: bound, Destination: remote}}
	t.icmpErrors.watch(watch, func(err error) {
		select {
		case refused <- err:
		default:
		}
	})
	defer t.icmpErrors.forget(watch)

	terr := ep.Connect(fullAddress(nicV4, remote))
	if _, ok := terr.(*tcpip.ErrConnectStarted); ok {
		select {
		case <-done:
			terr = ep.LastError()
		case err := <-refused:
			return fail(err)
		case <-ctx.Done():
			return fail(ctx.Err())
		case <-t.ctx.Done():
			return fail(ErrClosed)
		}
	}
	if terr != nil {
		select {
		case err := <-refused: // says more than the netstack does
			return fail(err)
		default:
			return fail(dialError(terr))
		}
	}
	c := new(TCPConn)
	c.init("tcp", &t.workers, ep, wq, bound, remote)
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

	port atomic.Uint32 // counts dials
}

// Local ports of dials.
const (
	firstPort = 16000
	numPorts  = 65536 - firstPort
)

// bind binds ep to local and the port that was used longest ago. Ports chosen
// at random come back at once now and then, while the gateway has not yet
// forgotten the flow that had the port before, and resets the new one.
func (s *addressSet) bind(ep tcpip.Endpoint, local netip.Addr) tcpip.Error {
	var err tcpip.Error
	for range numPorts {
		port := uint16(firstPort + s.port.Add(1)%numPorts)
		if err = ep.Bind(fullAddress(nicV4, netip.AddrPortFrom(local, port))); err == nil {
			return nil
		}
		if _, ok := err.(*tcpip.ErrPortInUse); !ok {
			return err
		}
	}
	return err
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
