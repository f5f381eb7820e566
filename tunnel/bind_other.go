//go:build !linux

package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// bindBatch is 1: the portable calls move one datagram.
const bindBatch = 1

type sockaddr struct{}

func newSockaddr(netip.AddrPort) sockaddr { return sockaddr{} }

// localSource is not used here.
type localSource struct{}

// newWildcardBind is WireGuard's own for this system.
func newWildcardBind(bool) conn.Bind { return conn.NewDefaultBind() }

func controlSocket(string, string, syscall.RawConn) error { return nil }

// udpSocket sends and receives one datagram per system call.
type udpSocket struct {
	conn *net.UDPConn
	last *udpEndpoint // used by the receiving goroutine only
}

func newUDPSocket(c *net.UDPConn, _, _ bool) *udpSocket {
	for size := socketBufferBytes; size >= 1<<16; size /= 2 {
		if c.SetReadBuffer(size) == nil && c.SetWriteBuffer(size) == nil {
			break // a system refuses what is over its limit
		}
	}
	return &udpSocket{conn: c}
}

// receive is a conn.ReceiveFunc.
func (s *udpSocket) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(bufs[0])
	if err != nil {
		if errors.Is(err, net.ErrClosed) {
			err = net.ErrClosed
		}
		return 0, err
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if s.last == nil || s.last.addr != from {
		s.last = newUDPEndpoint(from)
	}
	sizes[0], eps[0] = n, s.last
	return 1, nil
}

func (s *udpSocket) send(bufs [][]byte, to *udpEndpoint) error {
	for _, b := range bufs {
		if _, err := s.conn.WriteToUDPAddrPort(b, to.addr); err != nil {
			return err
		}
	}
	return nil
}
