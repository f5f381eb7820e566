package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/internal/localsock"
)

// PacketDialer opens a UDP flow to what a client asked for. Its errors are *fault.Error.
// It must not block for long.
type PacketDialer interface {
	DialPacket(ctx context.Context, d localapi.Dial) (net.Conn, error)
}

const (
	maxDatagramBytes   = 16 << 10
	maxAssociations    = 128  // of all clients
	maxAssociatedFlows = 64   // per association
	maxPacketFlows     = 1024 // of all associations: each holds a buffer
)

// association is one UDP ASSOCIATE (RFC 1928 sections 4 and 7): a socket on loopback
// that lives as long as its TCP connection, and a flow for each destination.
type association struct {
	s      *Server
	user   string
	sock   *net.UDPConn
	client netip.AddrPort // a port of 0 is learned from the first datagram
	// owner is whose the TCP connection is, and with it the datagrams; nil: not known, or from another machine.
	owner  *localsock.Caller
	sender *localsock.UDPSender // of client, when owner is known
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	flows  map[datagramTarget]*packetFlow
}

// datagramTarget is where a client sends.
type datagramTarget struct {
	name string
	port uint16
}

// packetFlow is a UDP flow with the time of its last use.
type packetFlow struct {
	net.Conn
	used atomic.Int64 // Unix seconds
}

// associate serves the association until its TCP connection ends.
func (s *Server) associate(ctx context.Context, c *conn, user string, req request) error {
	ctx = origin.With(ctx, origin.Of(origin.SOCKS, c))
	defer s.associations.Add(-1)
	if s.associations.Add(1) > maxAssociations {
		s.refused.Add(1)
		return errors.Join(errors.New("too many UDP associations"), writeReply(c, replyGeneralFailure, netip.AddrPort{}))
	}
	local, ok := c.LocalAddr().(*net.TCPAddr)
	remote, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return errors.Join(errors.New("UDP ASSOCIATE needs TCP"), writeReply(c, replyGeneralFailure, netip.AddrPort{}))
	}
	owner, err := s.ownerOf(c, remote)
	if err != nil {
		s.refused.Add(1)
		return errors.Join(err, writeReply(c, replyNotAllowed, netip.AddrPort{}))
	}
	sock, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP})
	if err != nil {
		return errors.Join(err, writeReply(c, replyGeneralFailure, netip.AddrPort{}))
	}
	a := &association{
		s: s, user: user, sock: sock, owner: owner, flows: make(map[datagramTarget]*packetFlow),
		// The port that the request names, if any, is the one the client will send from; its
		// address is often 0.0.0.0 or behind NAT, and the connection's says it better.
		client: netip.AddrPortFrom(remote.AddrPort().Addr().Unmap(), req.port),
	}
	bound := sock.LocalAddr().(*net.UDPAddr).AddrPort()
	bound = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	if err := writeReply(c, replySucceeded, bound); err != nil {
		return errors.Join(err, sock.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return errors.Join(err, sock.Close())
	}
	a.wg.Go(func() { a.receive(ctx) })
	awaitEnd(c)
	a.close()
	a.wg.Wait()
	return nil
}

// awaitEnd reads until the connection ends; what comes has no meaning.
func awaitEnd(c io.Reader) {
	var b [64]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return
		}
	}
}

func (a *association) close() {
	a.mu.Lock()
	a.closed = true
	flows := a.flows
	a.flows = nil
	a.mu.Unlock()
	_ = a.sock.Close()
	for _, f := range flows {
		_ = f.Close()
	}
}

// receive passes the client's datagrams on.
func (a *association) receive(ctx context.Context) {
	buf := make([]byte, maxDatagramBytes)
	for {
		n, from, err := a.sock.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		to, payload, err := parseDatagram(buf[:n])
		if err != nil || !a.isClient(from) || !a.send(ctx, to, payload) {
			a.s.udpDrops.Add(1)
		}
	}
}

// ownerOf names whose a connection from this machine is; nil where the system does not tell.
func (s *Server) ownerOf(c *conn, remote *net.TCPAddr) (*localsock.Caller, error) {
	if !remote.IP.IsLoopback() {
		return nil, nil //nolint:nilnil // another machine's accounts mean nothing here
	}
	id, err := s.cfg.TCPPeer(c.Client)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil //nolint:nilnil // the manual says so
	case err != nil:
		return nil, err
	}
	return &id, nil
}

// isClient reports whether a datagram is the client's. The first one may say which port is the client's; where the
// system tells, the port must be of the account whose the TCP connection is, and stay so.
func (a *association) isClient(from netip.AddrPort) bool {
	learn := a.client.Port() == 0 && from.Addr() == a.client.Addr()
	if !learn && from != a.client {
		return false
	}
	if a.owner != nil && (learn || a.sender == nil) {
		sender := localsock.NewUDPSender(from, a.owner.SameUser, a.s.cfg.UDPOwners)
		if !sender.OK() {
			return false
		}
		a.sender = sender
	}
	if learn {
		a.client = from
	}
	return a.sender == nil || a.sender.OK()
}

// send reports whether a flow took the datagram.
func (a *association) send(ctx context.Context, to datagramTarget, payload []byte) bool {
	f, ok := a.flow(ctx, to)
	if !ok {
		return false
	}
	f.touch(a.s.cfg.UDPIdle)
	_, err := f.Write(payload)
	if err != nil {
		a.drop(to, f) // an ICMP error is reported by a write; the next datagram tries anew
	}
	return err == nil
}

// flow returns the flow to a destination; it makes one if there is none.
func (a *association) flow(ctx context.Context, to datagramTarget) (*packetFlow, bool) {
	a.mu.Lock()
	f, ok := a.flows[to]
	full := a.closed || len(a.flows) >= maxAssociatedFlows
	a.mu.Unlock()
	if ok || full {
		return f, ok
	}
	if a.s.packetFlows.Add(1) > maxPacketFlows {
		a.s.packetFlows.Add(-1)
		return nil, false
	}
	f, err := a.open(ctx, to)
	if err != nil {
		a.s.packetFlows.Add(-1)
		a.s.log.DebugContext(ctx, "UDP flow", "dst", to.name, "error", err)
		return nil, false
	}
	return f, true
}

// open makes a flow and starts to pass its answers back.
func (a *association) open(ctx context.Context, to datagramTarget) (*packetFlow, error) {
	ctx, cancel := context.WithTimeout(ctx, a.s.cfg.DialTimeout)
	defer cancel()
	c, err := a.s.cfg.PacketDialer.DialPacket(ctx, localapi.Dial{Name: to.name, Port: to.port, VNET: a.user})
	if err != nil {
		return nil, err
	}
	f := &packetFlow{Conn: c}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	a.flows[to] = f
	client, sender := a.client, a.sender
	a.wg.Go(func() {
		defer a.s.packetFlows.Add(-1)
		a.answer(to, f, client, sender)
	})
	return f, nil
}

// answer passes the datagrams of a flow back until it is idle or closed.
func (a *association) answer(to datagramTarget, f *packetFlow, client netip.AddrPort, sender *localsock.UDPSender) {
	defer a.drop(to, f)
	head := datagramHeader(to)
	buf := make([]byte, len(head)+maxDatagramBytes)
	copy(buf, head)
	for {
		n, err := f.Read(buf[len(head):])
		if err != nil {
			return
		}
		f.touch(a.s.cfg.UDPIdle)
		if sender != nil && !sender.OK() {
			a.s.udpDrops.Add(1)
			return
		}
		if _, err := a.sock.WriteToUDPAddrPort(buf[:len(head)+n], client); err != nil {
			a.s.udpDrops.Add(1)
		}
	}
}

func (a *association) drop(to datagramTarget, f *packetFlow) {
	a.mu.Lock()
	if a.flows[to] == f {
		delete(a.flows, to)
	}
	a.mu.Unlock()
	_ = f.Close()
}

// touch moves the deadline of an idle flow, at most once a second.
func (f *packetFlow) touch(idle time.Duration) {
	now := time.Now()
	if f.used.Swap(now.Unix()) != now.Unix() {
		_ = f.SetReadDeadline(now.Add(idle + time.Second)) // fails only when the flow is over
	}
}

// parseDatagram reads the header of RFC 1928 section 7. Fragments are dropped, as the
// RFC permits.
func parseDatagram(b []byte) (datagramTarget, []byte, error) {
	if len(b) < 4 || b[0] != 0 || b[1] != 0 || b[2] != 0 {
		return datagramTarget{}, nil, fmt.Errorf("%w: datagram header", errSOCKS)
	}
	r := sliceReader{b[4:]}
	name, _, err := readAddress(&r, b[3])
	if err != nil {
		return datagramTarget{}, nil, err
	}
	if len(r.b) < 2 {
		return datagramTarget{}, nil, fmt.Errorf("%w: datagram header", errSOCKS)
	}
	port := binary.BigEndian.Uint16(r.b)
	if port == 0 {
		return datagramTarget{}, nil, fmt.Errorf("%w: port 0", errSOCKS)
	}
	return datagramTarget{name, port}, r.b[2:], nil
}

// sliceReader reads from b and leaves the rest in it.
type sliceReader struct{ b []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// datagramHeader is what stands before an answer: where it came from, in the client's own words.
func datagramHeader(from datagramTarget) []byte {
	b := []byte{0, 0, 0}
	if a, err := netip.ParseAddr(from.name); err == nil {
		return appendAddress(b, netip.AddrPortFrom(a, from.port))
	}
	b = append(b, addressName, byte(len(from.name)))
	b = append(b, from.name...)
	return binary.BigEndian.AppendUint16(b, from.port)
}
