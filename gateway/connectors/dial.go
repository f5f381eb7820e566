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
	sources  bool // it speaks connwire.ALPNSource
	key      []byte
	mux      *connwire.Mux
	flows    atomic.Int64
	// silentAt is how many packets had come when a request was not even acknowledged; 0: that has not happened. The session
	// counts as silent until another one comes.
	silentAt atomic.Uint64
}

func (s *session) close(code quic.ApplicationErrorCode, why string) {
	_ = s.conn.CloseWithError(code, why) // closing twice is no error worth telling
}

func (s *session) alive() bool { return s.conn.Context().Err() == nil }

// silentAfter is how long a replica may take to acknowledge a request before another one is asked. An acknowledgement is
// the business of its QUIC stack alone (RFC 9000 section 13.2.1: within 25 ms), however slow the target is.
const silentAfter = time.Second

func (s *session) received() uint64 { return s.conn.ConnectionStats().PacketsReceived }

func (s *session) silent() bool {
	at := s.silentAt.Load()
	return at != 0 && at == s.received()
}

// whileHeard returns a context that also ends when no packet at all comes from the replica within silentAfter: it was killed
// or cut off, which QUIC itself notices only after connwire.MaxIdle.
func (s *session) whileHeard(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	before := s.received()
	timer := time.AfterFunc(silentAfter, func() {
		if s.received() == before {
			s.silentAt.Store(before)
			cancel()
		}
	})
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}

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
	err := l.dial(ctx, d, connwire.TCP, func(s *session, st *connwire.Stream) (*netip.Addr, func()) {
		out = &tcpFlow{Stream: st, session: s}
		if !s.sources {
			return nil, nil
		}
		return &out.source, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DialUDP has a replica open a UDP flow; what comes back goes to sink, which must not block for long.
func (l *Listener) DialUDP(ctx context.Context, d Destination, sink func([]byte)) (*UDPFlow, error) {
	var out *UDPFlow
	err := l.dial(ctx, d, connwire.UDP, func(s *session, st *connwire.Stream) (*netip.Addr, func()) {
		out = &UDPFlow{UDPFlow: s.mux.Flow(st, sink), session: s}
		return nil, func() { out.UDPFlow.Abort() }
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
	// source is set before the flow is handed out.
	source netip.Addr
}

// SourceAddr is the address from which the target sees the flow come, if the connector vouches for it; else the zero Addr.
func SourceAddr(c connwire.Conn) netip.Addr {
	if f, ok := c.(*tcpFlow); ok {
		return f.source
	}
	return netip.Addr{}
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

// candidates are the live sessions of a tunnel, those with the fewest flows first; equals take turns, and silent ones are
// the last resort.
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
		s      *session
		silent int
		flows  int64
	}
	entries := make([]entry, 0, len(list))
	for i := range list {
		s := list[(i+int(turn%uint(len(list))))%len(list)]
		if !s.alive() {
			continue
		}
		e := entry{s: s, flows: s.flows.Load()}
		if s.silent() {
			e.silent = 1
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.silent, b.silent), cmp.Compare(a.flows, b.flows))
	})
	out := make([]*session, len(entries))
	for i, e := range entries {
		out[i] = e.s
	}
	return out
}

// dial asks one replica after another. prepare is called before the request is sent and returns where to put the source
// that follows the answer (nil: none does), and how to undo it.
func (l *Listener) dial(
	ctx context.Context, d Destination, tr connwire.Transport, prepare func(*session, *connwire.Stream) (*netip.Addr, func()),
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
	candidates := l.candidates(d.Tunnel)
	for i, s := range candidates {
		if i > 0 {
			l.counters.retries.Add(1)
		}
		sctx, cancel := ctx, context.CancelFunc(func() {})
		if i+1 < len(candidates) {
			sctx, cancel = s.whileHeard(ctx)
		}
		err := s.open(sctx, req, d.Addr, tr, prepare)
		cancel()
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
	prepare func(*session, *connwire.Stream) (*netip.Addr, func()),
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
	source, undo := prepare(s, st)
	err = ask(ctx, st, req, source)
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

func ask(ctx context.Context, st *connwire.Stream, req []byte, source *netip.Addr) error {
	stop := context.AfterFunc(ctx, st.Abort)
	if _, err := st.Write(req); err != nil {
		stop()
		return fmt.Errorf("send request: %w", err)
	}
	status, err := connwire.ReadStatus(st)
	if err == nil && status == connwire.StatusOK && source != nil {
		*source, err = connwire.ReadSource(st)
	}
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
