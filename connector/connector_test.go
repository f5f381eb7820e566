package connector_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"weft/api"
	"weft/connector"
	"weft/internal/connwire"
	"weft/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tunnelID = "tunnel-1"
	netA     = vnet.ID("net-a")
)

// fakeGateway is the other end of the protocol, as far as a test needs it.
type fakeGateway struct {
	tb       testing.TB
	socket   *net.UDPConn
	tr       *quic.Transport
	listener *quic.Listener
	sum      string
	key      []byte
}

func newFakeGateway(tb testing.TB) *fakeGateway {
	tb.Helper()
	return newGatewayOf(tb, connwire.ALPN)
}

// newGatewayOf is newFakeGateway of a version that speaks other protocols.
func newGatewayOf(tb testing.TB, protocols ...string) *fakeGateway {
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
	g := &fakeGateway{tb: tb, key: []byte("0123456789abcdef0123456789abcdef")}
	sum := sha256.Sum256(der)
	g.sum = hex.EncodeToString(sum[:])
	if g.socket, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		tb.Fatal(err)
	}
	g.tr = &quic.Transport{Conn: g.socket}
	g.listener, err = g.tr.Listen(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		NextProtos:   protocols, MinVersion: tls.VersionTLS13,
	}, connwire.QUICConfig(1))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = g.listener.Close()
		_ = g.tr.Close()
		_ = g.socket.Close()
	})
	return g
}

// accept takes one connector, checks its proof and answers with v.
func (g *fakeGateway) accept(v connwire.Verdict) *quic.Conn {
	g.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := g.listener.Accept(ctx)
	if err != nil {
		g.tb.Fatal(err)
	}
	st, err := conn.AcceptStream(ctx)
	if err != nil {
		g.tb.Fatal(err)
	}
	h, err := connwire.ReadHello(st)
	if err != nil {
		g.tb.Fatal(err)
	}
	state := conn.ConnectionState().TLS
	exported, err := state.ExportKeyingMaterial(api.ConnectorProofLabel, nil, 32)
	if err != nil {
		g.tb.Fatal(err)
	}
	if want := api.ConnectorProof(g.key, exported, h.TunnelID, h.ConnectorID); h.Proof != [32]byte(want) || h.TunnelID != tunnelID {
		g.tb.Errorf("hello of %q with a wrong proof", h.TunnelID)
	}
	if _, err := st.Write(v.Append(nil)); err != nil {
		g.tb.Fatal(err)
	}
	return conn
}

// ask sends a request and returns the stream with the status.
func (g *fakeGateway) ask(conn *quic.Conn, q connwire.Request) (*connwire.Stream, connwire.Status) {
	g.tb.Helper()
	b, err := q.Append(nil)
	if err != nil {
		g.tb.Fatal(err)
	}
	return g.askRaw(conn, b)
}

func (g *fakeGateway) askRaw(conn *quic.Conn, b []byte) (*connwire.Stream, connwire.Status) {
	g.tb.Helper()
	st, err := conn.OpenStream()
	if err != nil {
		g.tb.Fatal(err)
	}
	if _, err := st.Write(b); err != nil {
		g.tb.Fatal(err)
	}
	if err := st.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		g.tb.Fatal(err)
	}
	status, err := connwire.ReadStatus(st)
	if err != nil {
		return nil, connwire.Status(255)
	}
	return connwire.NewStream(st, conn.LocalAddr(), conn.RemoteAddr()), status
}

// fakeControl streams one state at a time.
type fakeControl struct {
	server *httptest.Server

	mu       sync.Mutex
	revision uint64
	state    api.ConnectorState
	changed  chan struct{}
}

func newFakeControl(tb testing.TB, st api.ConnectorState) *fakeControl {
	tb.Helper()
	c := &fakeControl{state: st, revision: 1, changed: make(chan struct{})}
	c.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			c.mu.Lock()
			b, err := json.Marshal(c.state)
			e := api.Event{Type: api.EventSnapshot, Revision: c.revision, State: b}
			changed := c.changed
			c.mu.Unlock()
			if err != nil || json.NewEncoder(w).Encode(e) != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
		}
	}))
	tb.Cleanup(func() {
		c.server.CloseClientConnections()
		c.server.Close()
	})
	return c
}

func (c *fakeControl) set(st api.ConnectorState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = st
	c.revision++
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *fakeControl) client(tb testing.TB) *api.Client {
	tb.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(c.server.Certificate())
	client, err := api.NewClient(api.ClientConfig{BaseURL: c.server.URL, Token: "t", Roots: roots})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return client
}

func (g *fakeGateway) state(prefixes ...string) api.ConnectorState {
	st := api.ConnectorState{
		Self: api.ConnectorSyncSelf{TunnelID: tunnelID},
		Gateways: map[string]api.ConnectorGateway{"gw": {
			ID: "gw", Endpoints: []string{g.socket.LocalAddr().String()}, CertificateSHA256: g.sum,
			Key: api.Secret(base64.StdEncoding.EncodeToString(g.key)),
		}},
		Routes: map[string]api.WireRoute{},
	}
	for _, p := range prefixes {
		st.Routes[p] = api.WireRoute{ID: p, Prefix: netip.MustParsePrefix(p), VNET: netA, Tunnel: tunnelID}
	}
	return st
}

// start runs a connector until the test ends.
func start(tb testing.TB, control *fakeControl, translate map[netip.AddrPort]netip.AddrPort, limits connector.Limits) *connector.Connector {
	tb.Helper()
	return startWith(tb, control, connector.Config{Map: translate, Limits: limits})
}

func startWith(tb testing.TB, control *fakeControl, cfg connector.Config) *connector.Connector {
	tb.Helper()
	cfg.Token, cfg.Control = api.ConnectorToken{AccountID: "a", TunnelID: tunnelID, Secret: []byte("s")}, control.client(tb)
	c, err := connector.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return c
}

func echo(tb testing.TB) netip.AddrPort {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func tcp(dst string) connwire.Request {
	return connwire.Request{
		Transport: connwire.TCP, Timeout: 2 * time.Second, VNET: string(netA), Destination: netip.MustParseAddrPort(dst),
	}
}

// A connector opens what its routes cover and nothing else, whatever a gateway asks.
func TestConnector_DialsOnlyItsRoutes(t *testing.T) {
	g := newFakeGateway(t)
	target := echo(t)
	control := newFakeControl(t, g.state("10.20.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "224.0.0.0/4"))
	c := start(t, control, map[netip.AddrPort]netip.AddrPort{
		netip.MustParseAddrPort("10.20.0.5:22"):     target,
		netip.MustParseAddrPort("10.99.0.5:22"):     target, // mapped, but no route covers it
		netip.MustParseAddrPort("127.0.0.1:2222"):   target, // mapped, so it may be loopback
		netip.MustParseAddrPort("10.20.0.6:1"):      netip.AddrPortFrom(target.Addr(), 1),
		netip.MustParseAddrPort("10.20.0.7:1"):      netip.MustParseAddrPort("255.255.255.255:1"),
		netip.MustParseAddrPort("[fd00::5]:22"):     target,
		netip.MustParseAddrPort("203.0.113.1:8080"): target,
	}, connector.Limits{})
	conn := g.accept(connwire.Verdict{OK: true})
	<-c.Ready()
	other := tcp("10.20.0.5:22")
	other.VNET = "net-b"
	for _, tt := range []struct {
		name string
		req  connwire.Request
		want connwire.Status
	}{
		{"a mapped address within a route", tcp("10.20.0.5:22"), connwire.StatusOK},
		{"the same in another VNET", other, connwire.StatusNotRouted},
		{"a mapped address without a route", tcp("10.99.0.5:22"), connwire.StatusNotRouted},
		{"another family without a route", tcp("[fd00::5]:22"), connwire.StatusNotRouted},
		{"loopback that the map names", tcp("127.0.0.1:2222"), connwire.StatusOK},
		{"loopback that it does not name", tcp(target.String()), connwire.StatusNotRouted},
		{"link-local", tcp("169.254.169.254:80"), connwire.StatusNotRouted},
		{"this host", tcp("0.0.0.0:80"), connwire.StatusNotRouted},
		{"multicast", tcp("224.0.0.1:80"), connwire.StatusNotRouted},
		{"a port that refuses", tcp("10.20.0.6:1"), connwire.StatusRefused},
		{"an address that cannot be dialled", tcp("10.20.0.7:1"), connwire.StatusUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st, status := g.ask(conn, tt.req)
			if status != tt.want {
				t.Fatalf("status %d, want %d", status, tt.want)
			}
			if status != connwire.StatusOK {
				return
			}
			defer st.Abort()
			if _, err := st.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4)
			if _, err := io.ReadFull(st, buf); err != nil || string(buf) != "ping" {
				t.Errorf("echo %q, %v", buf, err)
			}
		})
	}
	if n := c.Stats().NotRouted; n != 7 {
		t.Errorf("counted %d not routed, want 7", n)
	}
}

func TestConnector_FollowsItsRoutes(t *testing.T) {
	g := newFakeGateway(t)
	control := newFakeControl(t, g.state("10.20.0.0/16"))
	start(t, control, map[netip.AddrPort]netip.AddrPort{netip.MustParseAddrPort("10.20.0.5:22"): echo(t)}, connector.Limits{})
	conn := g.accept(connwire.Verdict{OK: true})
	st, status := g.ask(conn, tcp("10.20.0.5:22"))
	if status != connwire.StatusOK {
		t.Fatalf("status %d", status)
	}
	st.Abort()
	control.set(g.state("10.30.0.0/16"))
	for end := time.Now().Add(5 * time.Second); ; {
		st, status := g.ask(conn, tcp("10.20.0.5:22"))
		if status == connwire.StatusNotRouted {
			return
		}
		st.Abort()
		if time.Now().After(end) {
			t.Fatal("the old route is still dialled")
		}
	}
}

func TestConnector_Limits(t *testing.T) {
	g := newFakeGateway(t)
	control := newFakeControl(t, g.state("10.20.0.0/16"))
	c := start(t, control, map[netip.AddrPort]netip.AddrPort{netip.MustParseAddrPort("10.20.0.5:22"): echo(t)},
		connector.Limits{MaxFlows: 2})
	conn := g.accept(connwire.Verdict{OK: true})
	first, status := g.ask(conn, tcp("10.20.0.5:22"))
	if status != connwire.StatusOK {
		t.Fatalf("status %d", status)
	}
	second, _ := g.ask(conn, tcp("10.20.0.5:22"))
	if _, status := g.ask(conn, tcp("10.20.0.5:22")); status != connwire.StatusLimit {
		t.Errorf("third flow: status %d, want limit", status)
	}
	first.Abort()
	second.Abort()
	if n := c.Stats().Limited; n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}

func TestConnector_BrokenRequestIsReset(t *testing.T) {
	g := newFakeGateway(t)
	control := newFakeControl(t, g.state("10.20.0.0/16"))
	c := start(t, control, nil, connector.Limits{})
	conn := g.accept(connwire.Verdict{OK: true})
	if _, status := g.askRaw(conn, []byte{99}); status != 255 {
		t.Errorf("status %d, want a reset", status)
	}
	if n := c.Stats().Broken; n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}

func TestConnector_RefusesAnotherCertificate(t *testing.T) {
	g := newFakeGateway(t)
	st := g.state("10.20.0.0/16")
	gw := st.Gateways["gw"]
	gw.CertificateSHA256 = hex.EncodeToString(make([]byte, 32))
	st.Gateways["gw"] = gw
	control := newFakeControl(t, st)
	c := start(t, control, nil, connector.Limits{})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	conn, err := g.listener.Accept(ctx)
	if err == nil {
		// The server's side may finish first; then it hears the refusal.
		_, err = conn.AcceptStream(t.Context())
	}
	if err == nil {
		t.Error("the connector said hello to a gateway with another certificate")
	}
	select {
	case <-c.Ready():
		t.Error("ready")
	default:
	}
}

func TestConnector_ComesBack(t *testing.T) {
	g := newFakeGateway(t)
	control := newFakeControl(t, g.state("10.20.0.0/16"))
	start(t, control, map[netip.AddrPort]netip.AddrPort{netip.MustParseAddrPort("10.20.0.5:22"): echo(t)}, connector.Limits{})
	refused := g.accept(connwire.Verdict{Message: "not you"})
	_ = refused.CloseWithError(connwire.CodeRefused, "refused")
	conn := g.accept(connwire.Verdict{OK: true})
	if err := conn.CloseWithError(connwire.CodeClosed, "restart"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	conn = g.accept(connwire.Verdict{OK: true})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("back after %v", took)
	}
	if _, status := g.ask(conn, tcp("10.20.0.5:22")); status != connwire.StatusOK {
		t.Errorf("status %d", status)
	}
}

func TestNew_Refuses(t *testing.T) {
	control := newFakeControl(t, api.ConnectorState{})
	client := control.client(t)
	for _, tt := range []struct {
		name string
		cfg  connector.Config
	}{
		{"no control", connector.Config{Token: api.ConnectorToken{TunnelID: "t"}}},
		{"no tunnel", connector.Config{Control: client}},
		{"a map from nowhere", connector.Config{
			Control: client, Token: api.ConnectorToken{TunnelID: "t"}, Map: map[netip.AddrPort]netip.AddrPort{{}: {}},
		}},
	} {
		if _, err := connector.New(tt.cfg); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}
