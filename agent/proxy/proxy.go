// Package proxy serves SOCKS5 (RFC 1928, RFC 1929) and HTTP CONNECT (RFC 9110
// section 9.3.6) on one listener. It parses, asks a Dialer, answers in the
// protocol's own words and relays. It resolves no name: the Dialer does, from the
// target list.
//
// The user name of either protocol names the VNET of that connection; none, or an
// empty one, means the selected VNET. The password is ignored: who may reach what is
// decided at the gateway, and which accounts of this machine may use the proxy by
// Config.Authorize.
package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/agent/relay"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// DefaultListen is where the proxy listens unless told otherwise.
const DefaultListen = "127.0.0.1:40000"

// Dialer opens a flow to what a client asked for. Its errors are *fault.Error.
type Dialer interface {
	DialFlow(ctx context.Context, d localapi.Dial) (relay.Flow, error)
}

// Config of a Server; zero durations and counts mean the defaults named.
type Config struct {
	Dialer Dialer
	// PacketDialer serves UDP ASSOCIATE; nil refuses the command.
	PacketDialer PacketDialer
	// Authorize refuses a connection by an error, a *fault.Error; nil lets everybody in.
	Authorize func(net.Conn) error
	Logger    *slog.Logger
	// TCPPeer and UDPOwners name the accounts behind a connection, and behind an address that datagrams come from; nil:
	// localsock's.
	TCPPeer   func(net.Conn) (localsock.Caller, error)
	UDPOwners func(netip.AddrPort) ([]localsock.Caller, error)
	// MaxConns bounds the open connections; 0 means 4096.
	MaxConns int
	// HandshakeTimeout bounds the time until the request is read; 0 means 10 s.
	HandshakeTimeout time.Duration
	// DialTimeout bounds the dial; 0 means 10 s.
	DialTimeout time.Duration
	// UDPIdle ends an association's flow that carries nothing; 0 means 60 s.
	UDPIdle time.Duration
}

// Stats counts what the proxy did.
type Stats struct {
	Open      int64  // connections now
	Accepted  uint64 // connections ever
	OverLimit uint64 // closed because MaxConns was reached
	Malformed uint64 // closed because of their handshake
	Refused   uint64 // requests answered with an error
	UDPDrops  uint64 // datagrams that no flow took
	// NotAllowed counts connections of accounts that may not use the proxy.
	NotAllowed uint64
}

// Server serves proxy connections.
type Server struct {
	cfg                                     Config
	log                                     *slog.Logger
	open                                    atomic.Int64
	accepted, overLimit, malformed, refused atomic.Uint64
	associations, packetFlows               atomic.Int64
	udpDrops, notAllowed                    atomic.Uint64
	readers                                 sync.Pool // *bufio.Reader of handshakeBytes
}

// handshakeBytes holds the largest SOCKS5 handshake message: 513 bytes.
const handshakeBytes = 1024

// maxHeaderBytes bounds an HTTP request's head.
const maxHeaderBytes = 16 << 10

// New returns a server; it starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Dialer == nil {
		return nil, errors.New("make proxy: no dialer")
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 4096
	}
	if cfg.TCPPeer == nil {
		cfg.TCPPeer = localsock.TCPPeer
	}
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = 10 * time.Second
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 10 * time.Second
	}
	if cfg.UDPIdle == 0 {
		cfg.UDPIdle = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger}
	s.readers.New = func() any { return bufio.NewReaderSize(nil, handshakeBytes) }
	return s, nil
}

// Listen opens the proxy's listener. An address that is not loopback is refused
// unless allowed: the proxy asks nobody who they are.
func Listen(ctx context.Context, addr string, allowNonLoopback bool) (net.Listener, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, kind.New(kind.Invalid, "proxy address %q is not IP:PORT", addr)
	}
	if !ap.Addr().Unmap().IsLoopback() && !allowNonLoopback {
		return nil, kind.New(kind.Invalid, "proxy address %s is not a loopback address: everybody who reaches it could use your access", addr).
			WithHint("use 127.0.0.1:%d, or --proxy-allow-remote if that is what you want", ap.Port())
	}
	var lc net.ListenConfig
	if ap.Addr().Unmap().IsLoopback() {
		lc.KeepAlive = -1 // the kernel tells of a client's end; four system calls less for each connection
	}
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, kind.New(kind.Conflict, "the proxy cannot listen on %s", addr).
			WithHint("end the program that uses the port, or choose another with --proxy-listen 127.0.0.1:PORT (port 0: any free one)").WithCause(err)
	}
	return ln, nil
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Open: s.open.Load(), Accepted: s.accepted.Load(), OverLimit: s.overLimit.Load(),
		Malformed: s.malformed.Load(), Refused: s.refused.Load(), UDPDrops: s.udpDrops.Load(),
		NotAllowed: s.notAllowed.Load(),
	}
}

// Serve accepts until ctx ends, aborts what is open then, and returns nil after
// the last connection. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	conns, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil { // of the context whose end closed ln: conns may end a little later
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept proxy connection: %w", err)
			}
			// Out of descriptors, or the connection is gone already: others may follow.
			s.log.WarnContext(ctx, "accept proxy connection", "error", err)
			pause(ctx, 20*time.Millisecond)
			continue
		}
		s.accepted.Add(1)
		if s.open.Add(1) > int64(s.cfg.MaxConns) {
			s.open.Add(-1)
			s.overLimit.Add(1)
			relay.Abort(c)
			continue
		}
		wg.Go(func() {
			defer s.open.Add(-1)
			s.serveConn(conns, c)
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// conn is one client connection during its handshake.
type conn struct {
	relay.Client
	r *bufio.Reader
}

// opening is what a handshake came to.
type opening struct {
	flow  relay.Flow // nil: the connection ends
	first []byte     // what the client has said already
}

// beginFlow reads the request, dials and answers.
func (s *Server) beginFlow(ctx context.Context, client relay.Client) (o opening) {
	r := s.readers.Get().(*bufio.Reader)
	r.Reset(&io.LimitedReader{R: client, N: maxHeaderBytes})
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	flow, err := s.handshake(ctx, &conn{Client: client, r: r})
	stop()
	o.flow = flow
	if n := r.Buffered(); flow != nil && n > 0 {
		b, _ := r.Peek(n) // what is buffered can always be peeked
		o.first = append(o.first, b...)
	}
	r.Reset(nil)
	s.readers.Put(r)
	if err != nil {
		s.log.DebugContext(ctx, "proxy handshake", "src", client.RemoteAddr(), "error", err)
	}
	return o
}

// serveConn owns nc.
func (s *Server) serveConn(ctx context.Context, nc net.Conn) {
	client, ok := nc.(relay.Client)
	if !ok {
		_ = nc.Close()
		return
	}
	// On a goroutine of its own: dialling needs a deep stack, waiting for the relay's end does not.
	opened := make(chan opening, 1)
	go func() { opened <- s.beginFlow(ctx, client) }()
	o := <-opened
	flow, first := o.flow, o.first
	if flow == nil {
		_ = nc.Close()
		return
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		relay.Abort(nc)
		flow.Abort()
		return
	}
	res := relay.Run(ctx, client, flow, first)
	s.log.DebugContext(ctx, "proxy flow ended", "src", nc.RemoteAddr(), "dst", flow.RemoteAddr(),
		"sent", res.Sent, "received", res.Received, "error", res.Err)
}

// handshake reads the request and answers it; a nil flow ends the connection.
func (s *Server) handshake(ctx context.Context, c *conn) (relay.Flow, error) {
	if err := c.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout)); err != nil {
		return nil, err
	}
	b, err := c.r.Peek(1)
	if err != nil {
		return nil, err // came and went without a word
	}
	switch {
	case b[0] == socksVersion:
		return s.socks(ctx, c)
	case b[0] >= 'A' && b[0] <= 'Z':
		return s.http(ctx, c)
	case b[0] == 4:
		// SOCKS4's reply "request rejected or failed"; there is no RFC, 0x5b is the common code.
		s.malformed.Add(1)
		_, err := c.Write([]byte{0, 0x5b, 0, 0, 0, 0, 0, 0})
		return nil, errors.Join(errors.New("SOCKS4 is not offered"), err)
	default:
		s.malformed.Add(1)
		return nil, fmt.Errorf("first byte %#02x is neither SOCKS5 nor HTTP", b[0])
	}
}

// authorize turns away accounts that may not use the proxy.
func (s *Server) authorize(ctx context.Context, c *conn) error {
	if s.cfg.Authorize == nil {
		return nil
	}
	err := s.cfg.Authorize(c.Client)
	if err != nil {
		s.notAllowed.Add(1)
		s.log.InfoContext(ctx, "proxy refused a caller", "src", c.RemoteAddr(), "error", err)
	}
	return err
}

// dial asks the dialer; the handshake's deadline no longer applies.
func (s *Server) dial(ctx context.Context, c *conn, by origin.Entrance, d localapi.Dial) (relay.Flow, *fault.Error) {
	ctx, cancel := context.WithTimeout(origin.With(ctx, origin.Of(by, c)), s.cfg.DialTimeout)
	defer cancel()
	if err := c.SetDeadline(time.Now().Add(s.cfg.DialTimeout + s.cfg.HandshakeTimeout)); err != nil {
		return nil, fault.From(err)
	}
	f, err := s.cfg.Dialer.DialFlow(ctx, d)
	if err != nil {
		s.refused.Add(1)
		return nil, fault.From(err)
	}
	return f, nil
}
