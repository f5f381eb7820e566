package connectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"weft/internal/connwire"
	"weft/vnet"
)

// ErrNoConnector means that no live replica of the tunnel could take the flow.
var ErrNoConnector = errors.New("no connector")

// session is one proved connection.
type session struct {
	conn     *quic.Conn
	tunnel   vnet.TunnelID
	id       string
	software string
	key      []byte
	mux      *connwire.Mux
	flows    atomic.Int64
}

func (s *session) close(code quic.ApplicationErrorCode, why string) {
	_ = s.conn.CloseWithError(code, why) // closing twice is no error worth telling
}

func (s *session) alive() bool { return s.conn.Context().Err() == nil }

// Destination is where a flow goes.
type Destination struct {
	Tunnel vnet.TunnelID
	VNET   vnet.ID
	Addr   netip.AddrPort
}

// DialTCP has a replica of d's tunnel open a connection. The deadline of ctx, at most
// connwire.MaxDialTimeout away, is also the connector's. The errors are those of connwire's statuses and ErrNoConnector.
func (l *Listener) DialTCP(ctx context.Context, d Destination) (connwire.Conn, error) {
	var out *tcpFlow
	err := l.dial(ctx, d, connwire.TCP, func(s *session, st *connwire.Stream) func() {
		out = &tcpFlow{Stream: st, session: s}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DialUDP has a replica open a UDP flow; what comes back goes to sink, which must not block for long.
func (l *Listener) DialUDP(ctx context.Context, d Destination, sink func([]byte)) (*UDPFlow, error) {
	var out *UDPFlow
	err := l.dial(ctx, d, connwire.UDP, func(s *session, st *connwire.Stream) func() {
		out = &UDPFlow{UDPFlow: s.mux.Flow(st, sink), session: s}
		return func() { out.UDPFlow.Abort() }
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// tcpFlow is a stream that counts as open until it is closed.
type tcpFlow struct {
	*connwire.Stream
	session *session
	ended   atomic.Bool
}

func (f *tcpFlow) end() {
	if !f.ended.Swap(true) {
		f.session.flows.Add(-1)
	}
}

// Close implements net.Conn.
func (f *tcpFlow) Close() error {
	f.end()
	return f.Stream.Close()
}

// Abort resets both directions.
func (f *tcpFlow) Abort() {
	f.end()
	f.Stream.Abort()
}

// UDPFlow is a UDP flow that counts as open until it is closed.
type UDPFlow struct {
	*connwire.UDPFlow
	session *session
	ended   atomic.Bool
}

func (f *UDPFlow) end() {
	if !f.ended.Swap(true) {
		f.session.flows.Add(-1)
	}
}

// Close ends the flow in order.
func (f *UDPFlow) Close() error {
	f.end()
	return f.UDPFlow.Close()
}

// Abort resets the flow.
func (f *UDPFlow) Abort() {
	f.end()
	f.UDPFlow.Abort()
}

// candidates are the live sessions of a tunnel, those with the fewest flows first; equals take turns.
func (l *Listener) candidates(t vnet.TunnelID) []*session {
	l.mu.Lock()
	list := l.sessions[t]
	l.next++
	turn := l.next
	l.mu.Unlock()
	if len(list) == 1 { // the common case allocates nothing
		if list[0].alive() {
			return list
		}
		return nil
	}
	type entry struct {
		s     *session
		flows int64
	}
	entries := make([]entry, 0, len(list))
	for i := range list {
		s := list[(i+int(turn%uint(len(list))))%len(list)]
		if s.alive() {
			entries = append(entries, entry{s, s.flows.Load()})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.flows, b.flows) })
	out := make([]*session, len(entries))
	for i, e := range entries {
		out[i] = e.s
	}
	return out
}

// dial asks one replica after another. prepare is called before the request is sent and returns how to undo it.
func (l *Listener) dial(
	ctx context.Context, d Destination, tr connwire.Transport, prepare func(*session, *connwire.Stream) func(),
) error {
	timeout := connwire.MaxDialTimeout
	if dl, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(dl))
	}
	req, err := connwire.Request{
		Transport: tr, Timeout: max(timeout, time.Millisecond), VNET: string(d.VNET), Destination: d.Addr,
	}.Append(make([]byte, 0, 96))
	if err != nil {
		return err
	}
	l.counters.dials.Add(1)
	last := ErrNoConnector
	for i, s := range l.candidates(d.Tunnel) {
		if i > 0 {
			l.counters.retries.Add(1)
		}
		err := s.open(ctx, req, d.Addr, tr, prepare)
		if err == nil || final(err) || ctx.Err() != nil {
			return dialErr(ctx, err)
		}
		last = err
	}
	return last
}

// final reports whether another replica would not do better.
func final(err error) bool {
	return errors.Is(err, connwire.ErrRefused) || errors.Is(err, connwire.ErrUnreachable) ||
		errors.Is(err, connwire.ErrTimeout)
}

func dialErr(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return connwire.ErrTimeout
	}
	return err
}

// open sends the request on a new stream and waits for the answer.
func (s *session) open(
	ctx context.Context, req []byte, dst netip.AddrPort, tr connwire.Transport,
	prepare func(*session, *connwire.Stream) func(),
) error {
	qs, err := s.conn.OpenStream()
	if err != nil {
		if s.alive() {
			return connwire.ErrLimit // the connector takes no more streams
		}
		return fmt.Errorf("%w: %w", ErrNoConnector, err)
	}
	s.flows.Add(1)
	st := connwire.NewStream(qs, s.conn.LocalAddr(), netAddr(tr, dst))
	undo := prepare(s, st)
	err = ask(ctx, st, req)
	if err != nil {
		s.flows.Add(-1)
		st.Abort()
		if undo != nil {
			undo()
		}
		if !s.alive() {
			return fmt.Errorf("%w: %w", ErrNoConnector, err)
		}
	}
	return err
}

func ask(ctx context.Context, st *connwire.Stream, req []byte) error {
	stop := context.AfterFunc(ctx, st.Abort)
	if _, err := st.Write(req); err != nil {
		stop()
		return fmt.Errorf("send request: %w", err)
	}
	status, err := connwire.ReadStatus(st)
	if !stop() && err == nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return status.Err()
}

func netAddr(tr connwire.Transport, ap netip.AddrPort) net.Addr {
	if tr == connwire.UDP {
		return net.UDPAddrFromAddrPort(ap)
	}
	return net.TCPAddrFromAddrPort(ap)
}
