package connectors_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"weft/api"
	"weft/gateway/connectors"
	"weft/internal/connwire"
	"weft/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tunnelID = vnet.TunnelID("tunnel-1")

var (
	key  = []byte("0123456789abcdef0123456789abcdef")
	dest = connectors.Destination{Tunnel: tunnelID, VNET: "net-a", Addr: netip.MustParseAddrPort("10.20.0.5:22")}
)

func listen(tb testing.TB, limits connectors.Limits) *connectors.Listener {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := connectors.Listen(connectors.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Limits: limits, ResetKey: quic.StatelessResetKey{1},
		Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			tb.Errorf("Run: %v", err)
		}
	})
	return l
}

// client is a connector as far as a test needs one.
type client struct {
	tb   testing.TB
	conn *quic.Conn
}

func dial(tb testing.TB, l *connectors.Listener) *client {
	tb.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	return dialFrom(tb, l, socket)
}

// dialFrom closes socket at the end of the test. It returns nil when the listener turns the connection away at once.
func dialFrom(tb testing.TB, l *connectors.Listener, socket net.PacketConn) *client {
	tb.Helper()
	tr := &quic.Transport{Conn: socket}
	tb.Cleanup(func() {
		_ = tr.Close()
		_ = socket.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(l.Addr()), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{connwire.ALPN}, MinVersion: tls.VersionTLS13,
	}, connwire.QUICConfig(64))
	if _, turnedAway := errors.AsType[*quic.ApplicationError](err); turnedAway {
		return nil // closed so early that the dial saw it
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return &client{tb, conn}
}

// hello says who the client is; proof may spoil the proof.
func (c *client) hello(id string, spoil func(*connwire.Hello)) (connwire.Verdict, error) {
	c.tb.Helper()
	state := c.conn.ConnectionState().TLS
	exported, err := state.ExportKeyingMaterial(api.ConnectorProofLabel, nil, 32)
	if err != nil {
		c.tb.Fatal(err)
	}
	h := connwire.Hello{TunnelID: string(tunnelID), ConnectorID: id}
	copy(h.Proof[:], api.ConnectorProof(key, exported, h.TunnelID, h.ConnectorID))
	if spoil != nil {
		spoil(&h)
	}
	b, err := h.Append(nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	st, err := c.conn.OpenStream()
	if err != nil {
		return connwire.Verdict{}, err
	}
	if _, err := st.Write(b); err != nil {
		return connwire.Verdict{}, err
	}
	if err := st.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		c.tb.Fatal(err)
	}
	return connwire.ReadVerdict(st)
}

func (c *client) mustHello(id string) {
	c.tb.Helper()
	if v, err := c.hello(id, nil); err != nil || !v.OK {
		c.tb.Fatalf("hello: %+v, %v", v, err)
	}
}

// replica answers every request with the status of the moment.
type replica struct {
	status atomic.Uint32
	asked  atomic.Int64
	last   atomic.Pointer[connwire.Request]
}

func (c *client) serve() *replica {
	r := new(replica)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			st, err := c.conn.AcceptStream(context.Background())
			if err != nil {
				return
			}
			q, err := connwire.ReadRequest(st)
			if err != nil {
				return
			}
			r.asked.Add(1)
			r.last.Store(&q)
			if _, err := st.Write([]byte{byte(r.status.Load())}); err != nil {
				continue
			}
			_ = st.Close()
		}
	}()
	c.tb.Cleanup(func() {
		_ = c.conn.CloseWithError(0, "")
		<-done
	})
	return r
}

func (c *client) ended(want quic.ApplicationErrorCode) {
	c.tb.Helper()
	select {
	case <-c.conn.Context().Done():
	case <-time.After(5 * time.Second):
		c.tb.Fatal("the connection is still open")
	}
	var app *quic.ApplicationError
	if err := context.Cause(c.conn.Context()); !errors.As(err, &app) || app.ErrorCode != want || !app.Remote {
		c.tb.Errorf("ended by %v, want code %d", err, want)
	}
}

func keys() map[vnet.TunnelID][]byte { return map[vnet.TunnelID][]byte{tunnelID: key} }

func TestHello_WrongOnesAreRefused(t *testing.T) {
	l := listen(t, connectors.Limits{})
	withEmpty := keys()
	withEmpty["empty"] = nil
	l.SetTunnels(withEmpty)
	for _, tt := range []struct {
		name  string
		spoil func(*connwire.Hello)
	}{
		{"a wrong proof", func(h *connwire.Hello) { h.Proof[0] ^= 1 }},
		{"another tunnel", func(h *connwire.Hello) { h.TunnelID = "tunnel-2" }},
		{"another connector", func(h *connwire.Hello) { h.ConnectorID = "somebody" }},
		{"a tunnel without a key", func(h *connwire.Hello) { h.TunnelID = "empty" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, l)
			// The refusal and the end of the connection race; either will do.
			if v, err := c.hello("c1", tt.spoil); err == nil && v.OK {
				t.Error("accepted")
			}
			c.ended(connwire.CodeRefused)
		})
	}
	// A proof of one connection is worth nothing on another.
	a, b := dial(t, l), dial(t, l)
	state := a.conn.ConnectionState().TLS
	exported, err := state.ExportKeyingMaterial(api.ConnectorProofLabel, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := b.hello("c1", func(h *connwire.Hello) {
		copy(h.Proof[:], api.ConnectorProof(key, exported, h.TunnelID, h.ConnectorID))
	}); err == nil && v.OK {
		t.Error("a proof was used twice")
	}
	if st := l.Stats(); st.Sessions != 0 || st.Refused < 5 {
		t.Errorf("stats %+v", st)
	}
}

func TestHello_WaitsForTheFirstState(t *testing.T) {
	l := listen(t, connectors.Limits{})
	c := dial(t, l)
	done := make(chan bool, 1)
	go func() {
		v, err := c.hello("c1", nil)
		done <- err == nil && v.OK
	}()
	l.SetTunnels(keys())
	if !<-done {
		t.Error("refused because it came before the state")
	}
}

func TestSetTunnels_EndsSessions(t *testing.T) {
	for _, tt := range []struct {
		name string
		keys map[vnet.TunnelID][]byte
	}{
		{"the tunnel is gone", map[vnet.TunnelID][]byte{"other": key}},
		{"its key changed", map[vnet.TunnelID][]byte{tunnelID: []byte("another key")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, connectors.Limits{})
			l.SetTunnels(keys())
			c := dial(t, l)
			c.mustHello("c1")
			l.SetTunnels(keys()) // the same again changes nothing
			l.SetTunnels(tt.keys)
			c.ended(connwire.CodeRevoked)
			if _, err := l.DialTCP(t.Context(), dest); !errors.Is(err, connectors.ErrNoConnector) {
				t.Errorf("dial: %v", err)
			}
		})
	}
}

func TestSession_OfTheSameConnectorIsReplaced(t *testing.T) {
	l := listen(t, connectors.Limits{MaxSessionsPerTunnel: 1})
	l.SetTunnels(keys())
	first, second, third := dial(t, l), dial(t, l), dial(t, l)
	first.mustHello("c1")
	second.mustHello("c1")
	first.ended(connwire.CodeReplaced)
	// Another connector is one too many.
	if v, err := third.hello("c2", nil); err == nil && v.OK {
		t.Error("the limit of sessions was passed")
	}
	if st := l.Stats(); st.Sessions != 1 {
		t.Errorf("%d sessions, want 1", st.Sessions)
	}
}

func TestHandshakes_AreLimited(t *testing.T) {
	l := listen(t, connectors.Limits{MaxHandshakes: 1})
	l.SetTunnels(keys())
	slow := dial(t, l) // says nothing
	deadline := time.Now().Add(5 * time.Second)
	for l.Stats().HandshakesDropped == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no connection was dropped")
		}
		c := dial(t, l)
		if c == nil {
			continue
		}
		if v, err := c.hello("c1", nil); err == nil && v.OK {
			_ = slow.conn.CloseWithError(0, "") // it came before the slow one
			t.Skip("the slow connection was not yet accepted")
		}
	}
	_ = slow.conn.CloseWithError(0, "")
	for { // its place is free again
		if c := dial(t, l); c != nil {
			if v, err := c.hello("c1", nil); err == nil && v.OK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a failed handshake is not free again")
		}
	}
}

func TestDial_TriesAnotherReplica(t *testing.T) {
	l := listen(t, connectors.Limits{})
	l.SetTunnels(keys())
	ca, cb := dial(t, l), dial(t, l)
	ca.mustHello("a")
	cb.mustHello("b")
	a, b := ca.serve(), cb.serve()
	for _, s := range []connwire.Status{connwire.StatusNotRouted, connwire.StatusLimit, connwire.StatusFailed} {
		a.status.Store(uint32(s))
		before := a.asked.Load()
		for range 6 {
			c, err := l.DialTCP(t.Context(), dest)
			if err != nil {
				t.Fatalf("a answers %d: %v", s, err)
			}
			c.Abort()
		}
		if a.asked.Load() == before {
			t.Errorf("status %d: a was never asked, so this shows nothing", s)
		}
	}
	if q := b.last.Load(); q.Destination != dest.Addr || q.VNET != "net-a" || q.Transport != connwire.TCP {
		t.Errorf("asked for %+v", *q)
	}
	// What the target said is final: another replica would hear the same.
	for s, want := range map[connwire.Status]error{
		connwire.StatusRefused: connwire.ErrRefused, connwire.StatusUnreachable: connwire.ErrUnreachable,
		connwire.StatusTimeout: connwire.ErrTimeout,
	} {
		a.status.Store(uint32(s))
		b.status.Store(uint32(s))
		before := l.Stats().Retries
		if _, err := l.DialTCP(t.Context(), dest); !errors.Is(err, want) {
			t.Errorf("dial: %v, want %v", err, want)
		}
		if n := l.Stats().Retries - before; n != 0 {
			t.Errorf("%d retries after %v", n, want)
		}
	}
	// A replica that died is not asked; the other is.
	a.status.Store(uint32(connwire.StatusOK))
	_ = cb.conn.CloseWithError(0, "")
	for range 4 {
		c, err := l.DialTCP(t.Context(), dest)
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		c.Abort()
	}
}

func TestDial_EndsWithItsContext(t *testing.T) {
	l := listen(t, connectors.Limits{})
	l.SetTunnels(keys())
	c := dial(t, l)
	c.mustHello("c1") // and never answers
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := l.DialTCP(ctx, dest); !errors.Is(err, connwire.ErrTimeout) {
		t.Errorf("dial: %v, want a timeout", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	// The connector lets the gateway have 64 streams; those that were given up are free again.
	for range 80 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := l.DialTCP(ctx, dest)
		cancel()
		if err == nil {
			t.Fatal("nobody answered, yet it is open")
		}
	}
}
