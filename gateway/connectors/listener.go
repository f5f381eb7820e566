// Package connectors is the gateway's end of the connector protocol (internal/connwire): it accepts the
// connections that connectors dial, checks their proofs, and opens flows over them.
//
// The replicas of a tunnel are equal: a flow goes to the live one with the fewest open flows, and to another when
// that one dies, or will not take it, before any byte has moved.
package connectors

import (
	"context"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"weft/api"
	"weft/internal/connwire"
	"weft/vnet"
)

// Limits bound what connectors can drive; zero means the default.
type Limits struct {
	MaxSessions          int // connected connectors of all tunnels; 1024
	MaxSessionsPerTunnel int // 32
	MaxHandshakes        int // connections that have not proved themselves; 64
	MaxHandshakesPerHost int // of those, from one IPv4 address or IPv6 /64; a quarter
}

// Config of a Listener.
type Config struct {
	// Listen is the UDP address; port 0 means any.
	Listen      netip.AddrPort
	Certificate tls.Certificate
	// ResetKey makes stateless resets (RFC 9000 section 10.3) that survive a restart.
	ResetKey quic.StatelessResetKey
	Limits   Limits
	Logger   *slog.Logger
}

// Listener accepts connectors. Its methods are safe for concurrent use.
type Listener struct {
	cfg       Config
	socket    *net.UDPConn
	transport *quic.Transport
	quic      *quic.Listener
	keys      atomic.Pointer[map[vnet.TunnelID][]byte]
	counters  counters
	keyed     chan struct{} // closed when the first keys are there
	keyedOnce sync.Once
	closeOnce sync.Once
	closeErr  error // set by closeOnce

	mu       sync.Mutex
	sessions map[vnet.TunnelID][]*session
	left     map[vnet.TunnelID]time.Time // when the last session of a tunnel ended, while the tunnel exists
	total    int
	next     uint // rotates the start of the search
	// handshakes are the connections that have not proved themselves, by host; handshaking is their sum.
	handshakes  map[netip.Addr]int
	handshaking int
}

type counters struct {
	accepted, refused, handshakesDropped, dials, retries atomic.Uint64
}

// Stats is a snapshot of the counters.
type Stats struct {
	Sessions          int
	Accepted          uint64
	Refused           uint64 // proofs that failed, limits, broken protocol
	HandshakesDropped uint64 // beyond MaxHandshakes
	Dials             uint64
	Retries           uint64 // dials that went to another replica
}

// sourceRate is how many new connections a second are taken without asking the
// source to prove its address (QUIC Retry, RFC 9000 section 8.1.2).
const sourceRate = 64

// Listen opens the socket. Run serves it; Close ends it.
func Listen(cfg Config) (*Listener, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
	if err != nil {
		return nil, fmt.Errorf("listen for connectors on %v: %w", cfg.Listen, err)
	}
	limiter := rate.NewLimiter(sourceRate, sourceRate)
	tr := &quic.Transport{
		Conn:                socket,
		StatelessResetKey:   &cfg.ResetKey,
		VerifySourceAddress: func(net.Addr) bool { return !limiter.Allow() },
	}
	l := &Listener{
		cfg: cfg, socket: socket, transport: tr,
		keyed: make(chan struct{}), sessions: make(map[vnet.TunnelID][]*session), left: make(map[vnet.TunnelID]time.Time), handshakes: make(map[netip.Addr]int),
	}
	l.keys.Store(&map[vnet.TunnelID][]byte{})
	// A connector opens one stream of its own: the one with its Hello.
	l.quic, err = tr.Listen(&tls.Config{
		Certificates: []tls.Certificate{cfg.Certificate},
		NextProtos:   connwire.Protocols(),
		MinVersion:   tls.VersionTLS13,
	}, connwire.QUICConfig(1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for connectors: %w", err), tr.Close(), socket.Close())
	}
	return l, nil
}

func (l Limits) withDefaults() Limits {
	l.MaxSessions = orDefault(l.MaxSessions, 1024)
	l.MaxSessionsPerTunnel = orDefault(l.MaxSessionsPerTunnel, 32)
	l.MaxHandshakes = orDefault(l.MaxHandshakes, 64)
	l.MaxHandshakesPerHost = orDefault(l.MaxHandshakesPerHost, max(1, l.MaxHandshakes/4))
	return l
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

// Addr is the address in use.
func (l *Listener) Addr() netip.AddrPort {
	a, ok := l.socket.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Run serves until ctx ends, then closes every session and the socket.
func (l *Listener) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { l.report(ctx, l.Close()) }()
	for {
		conn, err := l.quic.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("accept connector: %w", err)
		}
		host := hostOf(conn.RemoteAddr())
		if !l.beginHandshake(host) {
			l.counters.handshakesDropped.Add(1)
			l.report(ctx, conn.CloseWithError(connwire.CodeRefused, "too many handshakes"))
			continue
		}
		wg.Go(func() { l.serve(ctx, conn, host) })
	}
}

func (l *Listener) report(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		l.cfg.Logger.DebugContext(ctx, "connector listener", slog.Any("error", err))
	}
}

// Close ends every session and frees the socket; it is idempotent.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Listener) close() error {
	for _, s := range l.all() {
		s.close(connwire.CodeClosed, "gateway stops")
	}
	return errors.Join(l.quic.Close(), l.transport.Close(), l.socket.Close())
}

func (l *Listener) all() []*session {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*session
	for _, ss := range l.sessions {
		all = append(all, ss...)
	}
	return all
}

// SetTunnels replaces the tunnels and their keys; sessions of a tunnel that is gone, or whose key changed, end.
func (l *Listener) SetTunnels(keys map[vnet.TunnelID][]byte) {
	l.keys.Store(&keys)
	l.forgetLeft(keys)
	l.keyedOnce.Do(func() { close(l.keyed) })
	for _, s := range l.all() {
		if k, ok := keys[s.tunnel]; !ok || !hmac.Equal(k, s.key) {
			s.close(connwire.CodeRevoked, "tunnel revoked")
		}
	}
}

// Remotes are the addresses of the connected connectors.
func (l *Listener) Remotes() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range l.all() {
		if a, ok := s.conn.RemoteAddr().(*net.UDPAddr); ok {
			ap := a.AddrPort()
			out = append(out, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		}
	}
	return out
}

// Wake tells the connectors that were at these addresses that the gateway is back; see connwire.Wake.
func (l *Listener) Wake(ctx context.Context, remotes []netip.AddrPort) {
	for _, r := range remotes {
		if _, err := l.transport.WriteTo(connwire.Wake(), net.UDPAddrFromAddrPort(r)); err != nil {
			l.report(ctx, fmt.Errorf("wake %v: %w", r, err))
		}
	}
}

// Stats returns the counters.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	n := l.total
	l.mu.Unlock()
	return Stats{
		Sessions: n, Accepted: l.counters.accepted.Load(), Refused: l.counters.refused.Load(),
		HandshakesDropped: l.counters.handshakesDropped.Load(),
		Dials:             l.counters.dials.Load(), Retries: l.counters.retries.Load(),
	}
}

// hostOf names who is behind an address, which QUIC has made sure of: IPv6 addresses of one /64 are one host's to choose.
func hostOf(a net.Addr) netip.Addr {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	host := u.AddrPort().Addr().Unmap().WithZone("")
	if host.Is6() {
		if p, err := host.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return host
}

// beginHandshake takes a place for a connection that has yet to prove itself. One host has a share of them only, so that
// nobody can keep the connectors out by opening connections and saying nothing.
func (l *Listener) beginHandshake(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handshaking >= l.cfg.Limits.MaxHandshakes || l.handshakes[host] >= l.cfg.Limits.MaxHandshakesPerHost {
		return false
	}
	l.handshaking++
	l.handshakes[host]++
	return true
}

func (l *Listener) endHandshake(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handshaking--
	if l.handshakes[host]--; l.handshakes[host] == 0 {
		delete(l.handshakes, host)
	}
}

// serve runs one connection from its Hello to its end.
func (l *Listener) serve(ctx context.Context, conn *quic.Conn, host netip.Addr) {
	s, err := l.greet(ctx, conn)
	l.endHandshake(host)
	log := l.cfg.Logger.With(slog.String("remote", conn.RemoteAddr().String()))
	if err != nil {
		l.counters.refused.Add(1)
		log.WarnContext(ctx, "connector refused", slog.Any("error", err))
		l.report(ctx, conn.CloseWithError(connwire.CodeRefused, "refused"))
		return
	}
	log = log.With(slog.String("tunnel_id", string(s.tunnel)), slog.String("connector_id", s.id))
	log.InfoContext(ctx, "connector connected", slog.String("software", s.software))
	err = s.mux.Run(ctx)
	// Before it leaves the table: Close tells those that are in it, and then takes the socket away.
	s.close(connwire.CodeClosed, "gateway stops")
	l.remove(s)
	log.InfoContext(ctx, "connector gone", slog.Any("error", err))
}

// greet reads the Hello, checks it and answers.
func (l *Listener) greet(ctx context.Context, conn *quic.Conn) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connwire.HandshakeTimeout)
	defer cancel()
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("accept first stream: %w", err)
	}
	if err := stream.SetDeadline(time.Now().Add(connwire.HandshakeTimeout)); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	hello, err := connwire.ReadHello(stream)
	if err != nil {
		return nil, fmt.Errorf("read hello: %w", err)
	}
	select { // just started: nobody is known yet, so nobody is refused yet
	case <-l.keyed:
	case <-ctx.Done():
		return nil, errors.New("no state from control yet")
	}
	s, err := l.admit(conn, hello)
	v := connwire.Verdict{OK: err == nil}
	if err != nil {
		v.Message = err.Error()
	}
	if _, werr := stream.Write(v.Append(nil)); werr != nil || err != nil {
		if s != nil {
			l.remove(s)
		}
		return nil, errors.Join(err, werr)
	}
	return s, stream.SetDeadline(time.Time{})
}

// errProof says nothing about which half was wrong.
var errProof = errors.New("unknown tunnel or wrong proof")

// admit checks the proof and the limits and registers the session.
func (l *Listener) admit(conn *quic.Conn, h connwire.Hello) (*session, error) {
	tunnel := vnet.TunnelID(h.TunnelID)
	state := conn.ConnectionState().TLS
	exported, err := state.ExportKeyingMaterial(api.ConnectorProofLabel, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("export keying material: %w", err)
	}
	key, known := (*l.keys.Load())[tunnel]
	want := api.ConnectorProof(key, exported, h.TunnelID, h.ConnectorID)
	if ok := hmac.Equal(want, h.Proof[:]); !ok || !known || len(key) == 0 || h.ConnectorID == "" {
		return nil, errProof
	}
	s := &session{
		conn: conn, tunnel: tunnel, id: h.ConnectorID, software: h.Software, key: key, mux: connwire.NewMux(conn),
		sources: conn.ConnectionState().TLS.NegotiatedProtocol == connwire.ALPNSource,
	}
	if err := l.add(s); err != nil {
		return nil, err
	}
	// The keys may have changed between the check and the registration.
	if k := (*l.keys.Load())[tunnel]; !hmac.Equal(k, key) {
		l.remove(s)
		return nil, errProof
	}
	l.counters.accepted.Add(1)
	return s, nil
}

// add registers s; an older session of the same connector is replaced.
func (l *Listener) add(s *session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.sessions[s.tunnel]
	kept := make([]*session, 0, len(list)+1)
	for _, old := range list {
		if old.id == s.id {
			defer old.close(connwire.CodeReplaced, "replaced by a newer connection")
			l.total--
			continue
		}
		kept = append(kept, old)
	}
	if len(kept) >= l.cfg.Limits.MaxSessionsPerTunnel || l.total >= l.cfg.Limits.MaxSessions {
		l.setLocked(s.tunnel, kept)
		return connwire.ErrLimit
	}
	l.total++
	l.setLocked(s.tunnel, append(kept, s))
	return nil
}

func (l *Listener) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.sessions[s.tunnel]
	kept := make([]*session, 0, len(list))
	for _, other := range list {
		if other == s {
			l.total--
			continue
		}
		kept = append(kept, other)
	}
	l.setLocked(s.tunnel, kept)
}

func (l *Listener) setLocked(t vnet.TunnelID, list []*session) {
	if len(list) == 0 {
		if len(l.sessions[t]) > 0 {
			l.left[t] = time.Now()
		}
		delete(l.sessions, t)
		return
	}
	l.sessions[t] = list
}
