// Package tunneltest gives tests tunnels that are real but for the network:
// WireGuard and both netstacks run, and datagrams travel through memory.
package tunneltest

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
)

// inboxDatagrams is how many datagrams wait at a bind; senders then block, so
// nothing is lost and memory is bounded.
const inboxDatagrams = 2048

// Network carries datagrams between the binds that it hands out. The zero
// value is ready for use, and safe for concurrent use.
type Network struct {
	mu    sync.Mutex
	binds map[netip.AddrPort]*bind
	next  uint16
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

// Bind returns a transport at a host address of the network. Each opening
// takes a free port unless one is asked for.
func (n *Network) Bind(host netip.Addr) conn.Bind { return &bind{network: n, host: host} }

// bind is a conn.Bind over a Network.
type bind struct {
	network *Network
	host    netip.Addr

	mu     sync.Mutex
	addr   netip.AddrPort
	inbox  chan datagram
	closed chan struct{}
}

var _ conn.Bind = (*bind)(nil)

// Open implements conn.Bind.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	addr, err := b.network.attach(b, port)
	if err != nil {
		return nil, 0, err
	}
	b.addr = addr
	b.inbox = make(chan datagram, inboxDatagrams)
	b.closed = make(chan struct{})
	return []conn.ReceiveFunc{receiver(b.inbox, b.closed)}, addr.Port(), nil
}

func (n *Network) attach(b *bind, port uint16) (netip.AddrPort, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.binds == nil {
		n.binds = make(map[netip.AddrPort]*bind)
	}
	if port == 0 {
		n.next++
		port = 20000 + n.next
	}
	addr := netip.AddrPortFrom(b.host, port)
	if _, taken := n.binds[addr]; taken {
		return netip.AddrPort{}, errors.New("address already in use")
	}
	n.binds[addr] = b
	return addr, nil
}

// receiver returns what came, as many datagrams as are there.
func receiver(inbox <-chan datagram, closed <-chan struct{}) conn.ReceiveFunc {
	return func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		var d datagram
		select {
		case d = <-inbox:
		case <-closed:
			return 0, net.ErrClosed
		}
		for n := 0; ; {
			sizes[n] = copy(bufs[n], d.data)
			eps[n] = endpoint(d.from)
			if n++; n == len(bufs) {
				return n, nil
			}
			select {
			case d = <-inbox:
			default:
				return n, nil
			}
		}
	}
}

// Send implements conn.Bind. Datagrams to nobody are lost, as on a network.
func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.mu.Lock()
	from := b.addr
	b.mu.Unlock()
	b.network.mu.Lock()
	dst := b.network.binds[netip.AddrPort(to)]
	b.network.mu.Unlock()
	if dst == nil {
		return nil
	}
	dst.mu.Lock()
	inbox, closed := dst.inbox, dst.closed
	dst.mu.Unlock()
	for _, data := range bufs {
		select {
		case inbox <- datagram{from, append([]byte(nil), data...)}:
		case <-closed:
			return nil
		}
	}
	return nil
}

// Close implements conn.Bind.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed == nil {
		return nil
	}
	b.network.mu.Lock()
	delete(b.network.binds, b.addr)
	b.network.mu.Unlock()
	close(b.closed)
	b.closed = nil
	return nil
}

// ParseEndpoint implements conn.Bind.
func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	return endpoint(ap), err
}

// SetMark implements conn.Bind.
func (b *bind) SetMark(uint32) error { return nil }

// BatchSize implements conn.Bind.
func (b *bind) BatchSize() int { return 32 }

// endpoint is the address of a bind.
type endpoint netip.AddrPort

var _ conn.Endpoint = endpoint{}

func (e endpoint) ClearSrc()           {}
func (e endpoint) SrcToString() string { return "" }
func (e endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
func (e endpoint) DstIP() netip.Addr   { return netip.AddrPort(e).Addr() }
func (e endpoint) DstToString() string { return netip.AddrPort(e).String() }
func (e endpoint) DstToBytes() []byte {
	b, err := netip.AddrPort(e).MarshalBinary()
	if err != nil {
		return nil
	}
	return b
}
