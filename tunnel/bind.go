package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// socketBufferBytes is what we ask the system for, in both directions. Without
// CAP_NET_ADMIN, Linux grants at most net.core.rmem_max and wmem_max.
const socketBufferBytes = 7 << 20

// newBind is the UDP side of a tunnel. For every address it is WireGuard's
// own, which answers a peer from the address that the peer used; it cannot be
// told to bind one address only.
func newBind(listen netip.AddrPort) conn.Bind {
	if !listen.Addr().IsValid() || listen.Addr().IsUnspecified() {
		return conn.NewStdNetBind()
	}
	return &addressBind{addr: listen.Addr().Unmap()}
}

// addressBind is a conn.Bind of one UDP socket on one address.
type addressBind struct {
	addr netip.Addr

	mu   sync.RWMutex
	sock *udpSocket // nil: closed
}

var _ conn.Bind = (*addressBind)(nil)

// Open implements conn.Bind.
func (b *addressBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sock != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	network := "udp6"
	if b.addr.Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: controlSocket}
	pc, err := lc.ListenPacket(context.Background(), network, netip.AddrPortFrom(b.addr, port).String())
	if err != nil {
		return nil, 0, err
	}
	uc, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, 0, errors.Join(fmt.Errorf("listen returned %T", pc), pc.Close())
	}
	b.sock = newUDPSocket(uc, b.addr.Is4())
	actual := uc.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return []conn.ReceiveFunc{b.sock.receive}, actual, nil
}

// Close implements conn.Bind.
func (b *addressBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sock == nil {
		return nil
	}
	err := b.sock.conn.Close()
	b.sock = nil
	return err
}

// Send implements conn.Bind.
func (b *addressBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(*udpEndpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.mu.RLock()
	sock := b.sock
	b.mu.RUnlock()
	if sock == nil {
		return net.ErrClosed
	}
	if to.addr.Addr().Is4() != b.addr.Is4() {
		return fmt.Errorf("send from %s to %s: %w", b.addr, to.addr, syscall.EAFNOSUPPORT)
	}
	return sock.send(bufs, to)
}

// ParseEndpoint implements conn.Bind.
func (b *addressBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newUDPEndpoint(ap), nil
}

// SetMark implements conn.Bind; nobody here sets one.
func (b *addressBind) SetMark(mark uint32) error {
	if mark != 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// BatchSize implements conn.Bind.
func (b *addressBind) BatchSize() int { return bindBatch }

// udpEndpoint is where a peer is. It is immutable.
type udpEndpoint struct {
	addr netip.AddrPort
	to   sockaddr // addr as the system wants it
}

var _ conn.Endpoint = (*udpEndpoint)(nil)

func newUDPEndpoint(ap netip.AddrPort) *udpEndpoint {
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	return &udpEndpoint{addr: ap, to: newSockaddr(ap)}
}

// ClearSrc implements conn.Endpoint: the source is the bound address.
func (e *udpEndpoint) ClearSrc() {}

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
