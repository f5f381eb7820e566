package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/conn"

	"weft/access"
	"weft/api"
	"weft/connector"
	"weft/gateway"
	"weft/gateway/audit"
	"weft/targets"
	"weft/tunnel"
	"weft/tunnel/tunneltest"
	"weft/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The world of the tests: two VNETs with the same prefix, each with a tunnel, a target at the same address and
// an application; one user with one device.
const (
	netA, netB   = vnet.ID("11111111-0000-7000-8000-00000000000a"), vnet.ID("11111111-0000-7000-8000-00000000000b")
	tunA, tunB   = "22222222-0000-7000-8000-00000000000a", "22222222-0000-7000-8000-00000000000b"
	user, device = "33333333-0000-7000-8000-000000000001", "44444444-0000-7000-8000-000000000001"
	slotA, slotB = vnet.Slot(1), vnet.Slot(2)
	index        = uint16(7)
	probePort    = uint16(5350)
)

var (
	gatewayHost = netip.MustParseAddr("192.0.2.1")
	clientHost  = netip.MustParseAddr("192.0.2.2")
	targetAddr  = netip.MustParseAddr("10.20.0.5")
	prefix      = netip.MustParsePrefix("10.20.0.0/16")
)

// The ports of the targets' applications.
const (
	portTCP = 9000
	portUDP = 9001
	portDNS = 53
	portSSH = 22
)

func baseState(tb testing.TB, key tunnel.PublicKey) api.GatewayState {
	tb.Helper()
	attrs := map[string][]string{"hostname": {"host-a", "host-b", "host-dark"}}
	dark := netip.MustParseAddr("10.20.0.66")
	return api.GatewayState{
		Self: api.GatewaySyncSelf{
			GatewayID: "gw", AccountID: "acc", PoolV4: pool.V4, PoolV6: pool.V6, ProbePort: probePort, StaleAfterSeconds: 3600,
		},
		Networks: map[string]api.WireNetwork{
			string(netA): {ID: netA, Name: "net-a", Default: true}, string(netB): {ID: netB, Name: "net-b"},
		},
		Routes: map[string]api.WireRoute{
			"ra": {ID: "ra", Prefix: prefix, VNET: netA, Tunnel: tunA}, "rb": {ID: "rb", Prefix: prefix, VNET: netB, Tunnel: tunB},
		},
		Targets: map[string]api.WireTarget{
			"ta": {ID: "ta", Hostname: "host-a", IPv4: &api.AgentAddress{Addr: targetAddr, VNET: netA}},
			"tb": {ID: "tb", Hostname: "host-b", IPv4: &api.AgentAddress{Addr: targetAddr, VNET: netB}},
			"td": {ID: "td", Hostname: "host-dark", IPv4: &api.AgentAddress{Addr: dark, VNET: netA}},
		},
		Applications: map[string]access.Application{"app": {
			ID: "app", Name: "everything",
			Criteria: []targets.Criteria{
				{Attributes: attrs, Port: portTCP, Protocol: targets.TCP},
				{Attributes: attrs, Port: portUDP, Protocol: targets.UDP},
				{Attributes: attrs, Port: portSSH, Protocol: targets.SSH},
			},
			Policies: []access.Policy{{
				ID: "pol", Name: "people", Decision: "allow", Include: []access.Rule{access.EmailRule("jdoe@company.com")},
				SSH: &access.SSHRules{Usernames: []string{"ubuntu"}},
			}},
		}},
		Groups:     map[string]access.RuleGroup{},
		Identities: map[string]access.Identity{user: {UserID: user, Email: "jdoe@company.com"}},
		Devices: map[string]api.GatewayDevice{device: {
			ID: device, Name: "laptop", UserID: user, PublicKey: key.String(), BlockIndex: index,
			Slots: map[vnet.ID]vnet.Slot{netA: slotA, netB: slotB},
		}},
		Tunnels: map[string]api.GatewayTunnel{
			tunA: {ID: tunA, Name: "a", Key: randomKey(tb)}, tunB: {ID: tunB, Name: "b", Key: randomKey(tb)},
		},
	}
}

// world is a running gateway with its control, connectors and one client.
type world struct {
	tb      testing.TB
	control *fakeControl
	network *tunneltest.Network
	gateway *gateway.Gateway
	tunnel  *tunnel.Tunnel // the gateway's
	client  *tunnel.Tunnel
	dir     string
	cfg     gateway.Config
	audit   *audit.Log    // instead of the file
	udpIdle time.Duration // 0: the real one
	vouches connector.SourceMode
	// hostCertSettle is how long agents have to hear of a new host CA; 0: the real one.
	hostCertSettle time.Duration
	loopback       bool          // WireGuard over loopback sockets
	drain          chan struct{} // closed: the gateway drains
	stop           context.CancelFunc
	done           chan error
}

type option func(*world)

func withAudit(out io.Writer) option { return func(w *world) { w.audit = audit.New(out) } }

func withLimits(l gateway.Limits) option { return func(w *world) { w.cfg.Limits = l } }

func newWorld(tb testing.TB, opts ...option) *world {
	tb.Helper()
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{tb: tb, network: new(tunneltest.Network), dir: tb.TempDir()}
	w.control = newFakeControl(tb, baseState(tb, key.Public()))
	w.cfg = gateway.Config{
		StateDir: w.dir, Control: w.control.client("gateway"), ConnectorListen: netip.MustParseAddrPort("127.0.0.1:0"),
		Version: "test", Logger: testLogger(tb),
	}
	for _, o := range opts {
		o(w)
	}
	w.startGateway()
	block, err := pool.Block(index)
	if err != nil {
		tb.Fatal(err)
	}
	var addrs []netip.Addr
	for _, s := range []vnet.Slot{vnet.ControlSlot, slotA, slotB, 9} {
		v4, v6, err := block.Addrs(s, vnet.ModeNetstack)
		if err != nil {
			tb.Fatal(err)
		}
		addrs = append(addrs, v4, v6)
	}
	// Not of its block: what WireGuard must not let through.
	addrs = append(addrs, netip.MustParseAddr("100.64.99.1"))
	clientCfg := tunnel.Config{PrivateKey: key, Addresses: addrs}
	if !w.loopback {
		w.client = tunneltest.New(tb, w.network, clientHost, clientCfg)
	} else {
		clientCfg.Listen = netip.MustParseAddrPort("127.0.0.1:0")
		if w.client, err = tunnel.New(clientCfg); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = w.client.Close() })
	}
	w.connectClient()
	return w
}

func (w *world) connectClient() {
	w.tb.Helper()
	host := gatewayHost
	if w.loopback {
		host = w.cfg.Listen.Addr()
	}
	err := w.client.SetPeer(tunnel.Peer{
		PublicKey: w.gateway.PublicKey(), Endpoint: netip.AddrPortFrom(host, w.tunnel.ListenPort()),
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	})
	if err != nil {
		w.tb.Fatal(err)
	}
}

// startGateway starts a gateway on w's directory.
func (w *world) startGateway() {
	w.tb.Helper()
	w.startGatewayUnready()
	w.wait("gateway ready", w.gateway.Ready())
}

func (w *world) startGatewayUnready() {
	w.tb.Helper()
	g, err := gateway.New(w.cfg)
	if err != nil {
		w.tb.Fatal(err)
	}
	made := make(chan *tunnel.Tunnel, 1)
	g.SetTunnelForTest(func(c tunnel.Config) (*tunnel.Tunnel, error) {
		var bind conn.Bind
		if !w.loopback {
			c.Listen = netip.AddrPortFrom(netip.IPv4Unspecified(), 51820)
			bind = w.network.Bind(gatewayHost)
		}
		t, err := tunnel.NewWithBind(c, bind)
		if err == nil {
			made <- t
		}
		return t, err
	})
	if w.audit != nil {
		g.SetAuditForTest(w.audit)
	}
	if w.udpIdle != 0 {
		g.SetUDPIdleForTest(w.udpIdle)
	}
	if w.hostCertSettle != 0 {
		g.SetHostCertSettleForTest(w.hostCertSettle)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.RunUntil(ctx, w.drain) }()
	w.gateway, w.stop, w.done = g, cancel, done
	w.tb.Cleanup(func() { w.stopGateway(cancel, done) })
	select {
	case w.tunnel = <-made:
	case err := <-done:
		done <- err
		w.tb.Fatalf("gateway did not start: %v", err)
	}
}

func (w *world) stopGateway(cancel context.CancelFunc, done chan error) {
	w.tb.Helper()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			w.tb.Errorf("Run: %v", err)
		}
		done <- nil
	case <-time.After(10 * time.Second):
		w.tb.Fatal("gateway did not stop")
	}
}

// startConnector runs a connector of a tunnel until the test ends or stop is called.
func (w *world) startConnector(tunnelID string, translate map[netip.AddrPort]netip.AddrPort) (stop func(), c *connector.Connector) {
	w.tb.Helper()
	c = w.newConnector(tunnelID, translate)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			w.tb.Errorf("connector: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	w.tb.Cleanup(stop)
	w.wait("connector ready", c.Ready())
	return stop, c
}

func (w *world) newConnector(tunnelID string, translate map[netip.AddrPort]netip.AddrPort) *connector.Connector {
	w.tb.Helper()
	c, err := connector.New(connector.Config{
		Token: api.ConnectorToken{AccountID: "acc", TunnelID: tunnelID, Secret: []byte("x")}, Control: w.control.client(tunnelID),
		Map: translate, Source: w.vouches, Logger: testLogger(w.tb),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

func (w *world) wait(what string, ch <-chan struct{}) {
	w.tb.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		w.tb.Fatalf("timed out: %s", what)
	}
}

// eventually polls a condition.
func (w *world) eventually(what string, within time.Duration, f func() bool) {
	w.tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); !f(); <-tick.C {
		if time.Now().After(end) {
			w.tb.Fatalf("not within %v: %s", within, what)
		}
	}
}

// update changes the state and waits until the gateway has it.
func (w *world) update(f func(*api.GatewayState)) {
	w.tb.Helper()
	rev := w.control.update(f)
	w.eventually("gateway applies the state", 30*time.Second, func() bool { return w.gateway.Stats().Revision >= rev })
}

// source is the client's address in a slot.
func (w *world) source(s vnet.Slot) netip.Addr {
	w.tb.Helper()
	block, err := pool.Block(index)
	if err != nil {
		w.tb.Fatal(err)
	}
	v4, _, err := block.Addrs(s, vnet.ModeNetstack)
	if err != nil {
		w.tb.Fatal(err)
	}
	return v4
}

func (w *world) dial(s vnet.Slot, dst netip.AddrPort) (*tunnel.TCPConn, error) {
	w.tb.Helper()
	return w.dialWithin(s, dst, 8*time.Second)
}

func (w *world) dialWithin(s vnet.Slot, dst netip.AddrPort, limit time.Duration) (*tunnel.TCPConn, error) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), limit)
	defer cancel()
	return w.client.DialTCP(ctx, w.source(s), dst)
}

func (w *world) mustDial(s vnet.Slot, port uint16) *tunnel.TCPConn {
	w.tb.Helper()
	c, err := w.dial(s, netip.AddrPortFrom(targetAddr, port))
	if err != nil {
		w.tb.Fatalf("dial: %v", err)
	}
	w.tb.Cleanup(c.Abort)
	return c
}

// auditEvents reads the log of the gateway.
func (w *world) auditEvents() []audit.Event {
	w.tb.Helper()
	f, err := os.Open(filepath.Join(w.dir, "audit.jsonl"))
	if err != nil {
		w.tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []audit.Event
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var e audit.Event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			w.tb.Fatalf("audit line %q: %v", sc.Text(), err)
		}
		out = append(out, e)
	}
	return out
}

// lastAudit waits for an event of a kind and returns the last one.
func (w *world) lastAudit(kind string) audit.Event {
	w.tb.Helper()
	var found audit.Event
	w.eventually("audit event "+kind, 30*time.Second, func() bool {
		for _, e := range w.auditEvents() {
			if e.Event == kind {
				found = e
			}
		}
		return found.Event != ""
	})
	return found
}

// serveTCP runs a target on loopback that names itself, then echoes.
func serveTCP(tb testing.TB, name string) netip.AddrPort {
	tb.Helper()
	return listen(tb, func(c *net.TCPConn) {
		if _, err := io.WriteString(c, name+"\n"); err != nil {
			return
		}
		if _, err := io.Copy(c, c); err != nil {
			return
		}
		_ = c.CloseWrite()
	})
}

func listen(tb testing.TB, serve func(*net.TCPConn)) netip.AddrPort {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func at(port uint16) netip.AddrPort { return netip.AddrPortFrom(targetAddr, port) }

func testLogger(tb testing.TB) *slog.Logger {
	tb.Helper()
	if os.Getenv("WEFT_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
