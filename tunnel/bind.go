package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// socketBufferBytes is what we ask the system for, in both directions. Without
// CAP_NET_ADMIN, Linux grants at most net.core.rmem_max and wmem_max.
const socketBufferBytes = 7 << 20

// newBind is the UDP side of a tunnel. WireGuard's own cannot be told to bind
// one address only. sticky is for an end that others come to: it answers a
// peer from the address that the peer used, when it listens on several.
func newBind(listen netip.AddrPort, sticky bool) conn.Bind {
	if listen.Addr().IsValid() && !listen.Addr().IsUnspecified() {
		return &udpBind{addrs: []netip.Addr{listen.Addr().Unmap()}}
	}
	return newWildcardBind(sticky)
}

// udpBind is a conn.Bind of one UDP socket per address, all on one port.
type udpBind struct {
	addrs  []netip.Addr // at most one per IP version
	sticky bool

	mu     sync.RWMutex
	v4, v6 *udpSocket // nil: closed, or not wanted
}

var _ conn.Bind = (*udpBind)(nil)

// openTries is how often a free port of one IP version may be taken in the
// other before Open gives up.
const openTries = 20

// Open implements conn.Bind.
func (b *udpBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.v4 != nil || b.v6 != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	for try := 1; ; try++ {
		fns, actual, err := b.openLocked(port)
		if err == nil {
			return fns, actual, nil
		}
		err = errors.Join(err, b.closeLocked())
		if port != 0 || try == openTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, 0, err
		}
	}
}

func (b *udpBind) openLocked(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	var fns []conn.ReceiveFunc
	for _, addr := range b.addrs {
		uc, err := listenUDP(netip.AddrPortFrom(addr, port))
		if errors.Is(err, syscall.EAFNOSUPPORT) && len(b.addrs) > 1 {
			continue // a system without this IP version
		}
		if err != nil {
			return nil, 0, err
		}
		sock := newUDPSocket(uc, addr.Is4(), b.sticky)
		if addr.Is4() {
			b.v4 = sock
		} else {
			b.v6 = sock
		}
		port = uc.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		fns = append(fns, sock.receive)
	}
	if len(fns) == 0 {
		return nil, 0, syscall.EAFNOSUPPORT
	}
	return fns, port, nil
}

func listenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: controlSocket}
	pc, err := lc.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, err
	}
	uc, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen returned %T", pc), pc.Close())
	}
	return uc, nil
}

// Close implements conn.Bind.
func (b *udpBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closeLocked()
}

func (b *udpBind) closeLocked() error {
	var errs []error
	for _, s := range []**udpSocket{&b.v4, &b.v6} {
		if *s != nil {
			errs = append(errs, (*s).conn.Close())
			*s = nil
		}
	}
	return errors.Join(errs...)
}

// Send implements conn.Bind.
func (b *udpBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(*udpEndpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.mu.RLock()
	sock := b.v6
	if to.addr.Addr().Is4() {
		sock = b.v4
	}
	b.mu.RUnlock()
	if sock == nil {
		return fmt.Errorf("send to %s: %w", to.addr, syscall.EAFNOSUPPORT)
	}
	return sock.send(bufs, to)
}

// ParseEndpoint implements conn.Bind.
func (b *udpBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newUDPEndpoint(ap), nil
}

// SetMark implements conn.Bind; nobody here sets one.
func (b *udpBind) SetMark(mark uint32) error {
	if mark != 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// BatchSize implements conn.Bind.
func (b *udpBind) BatchSize() int { return bindBatch }

// udpEndpoint is where a peer is, and which of our addresses it knows. It is
// safe for concurrent use.
type udpEndpoint struct {
	addr netip.AddrPort
	to   sockaddr // addr as the system wants it

	// src is our address as the system wants it; nil: the system chooses.
	src atomic.Pointer[localSource]
}

var _ conn.Endpoint = (*udpEndpoint)(nil)

func newUDPEndpoint(ap netip.AddrPort) *udpEndpoint {
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	return &udpEndpoint{addr: ap, to: newSockaddr(ap)}
}

// ClearSrc implements conn.Endpoint.
func (e *udpEndpoint) ClearSrc() { e.src.Store(nil) }

// SrcToString implements conn.Endpoint.
func (e *udpEndpoint) SrcToString() string { return "" }

// SrcIP implements conn.Endpoint.
func (e *udpEndpoint) SrcIP() netip.Addr { return netip.Addr{} }

// DstToString implements conn.Endpoint.
func (e *udpEndpoint) DstToString() string { return e.addr.String() }

// DstIP implements conn.Endpoint.
func (e *udpEndpoint) DstIP() netip.Addr { return e.addr.Addr() }

// DstToBytes implements conn.Endpoint: what WireGuard's cookie is bound to.
func (e *udpEndpoint) DstToBytes() []byte {
	b, err := e.addr.MarshalBinary()
	if err != nil {
		return nil // MarshalBinary of an AddrPort has no error to return
	}
	return b
}
