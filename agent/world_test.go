package agent_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/agent"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/testwait"
	"weft/tunnel"
	"weft/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The world of the tests: two networks with the same addresses, one target in each.
const (
	netA, netB = vnet.ID("00000000-0000-0000-0000-00000000000a"), vnet.ID("00000000-0000-0000-0000-00000000000b")
	probePort  = 5351
	echoPort   = 7
	namePort   = 17 // says which network answers, then ends
	closedPort = 81
	secretPort = 82 // policy forbids it
	darkPort   = 83 // nothing ever answers
	noWayPort  = 84
)

var (
	pool    = vnet.DefaultPool(netip.MustParsePrefix("fd12:3456:789a::/48"))
	target4 = netip.MustParseAddr("10.1.2.3")
	target6 = netip.MustParseAddr("fd00:1::3")
)

func testBlock(tb testing.TB) vnet.Block {
	tb.Helper()
	b, err := pool.Block(7)
	must(tb, err)
	return b
}

// fakeGateway is the gateway end of a real tunnel on loopback. What is behind it
// depends on the network that the source address names.
type fakeGateway struct {
	tb    testing.TB
	block vnet.Block
	key   tunnel.PrivateKey
	addr  netip.AddrPort
	epoch string

	mu     sync.Mutex // guards what follows
	tun    *tunnel.Tunnel
	seen   []vnet.ID
	probes int
}

func newFakeGateway(tb testing.TB) *fakeGateway {
	tb.Helper()
	key, err := tunnel.NewPrivateKey()
	must(tb, err)
	g := &fakeGateway{tb: tb, block: testBlock(tb), key: key}
	g.start(netip.MustParseAddrPort("127.0.0.1:0"))
	tb.Cleanup(g.stop)
	return g
}

func (g *fakeGateway) start(listen netip.AddrPort) {
	g.tb.Helper()
	t, err := tunnel.New(tunnel.Config{PrivateKey: g.key, Listen: listen, Handler: g})
	must(g.tb, err)
	g.addr = netip.AddrPortFrom(listen.Addr(), t.ListenPort())
	var b [8]byte
	_, _ = rand.Read(b[:])
	g.epoch = hex.EncodeToString(b[:])
	g.mu.Lock()
	g.tun = t
	g.mu.Unlock()
}

func (g *fakeGateway) stop() {
	g.mu.Lock()
	t := g.tun
	g.tun = nil
	g.mu.Unlock()
	if t != nil {
		if err := t.Close(); err != nil {
			g.tb.Error(err)
		}
	}
}

// admit lets a device in.
func (g *fakeGateway) admit(public string) {
	g.tb.Helper()
	k, err := tunnel.ParsePublicKey(public)
	must(g.tb, err)
	g.mu.Lock()
	t := g.tun
	g.mu.Unlock()
	must(g.tb, t.SetPeer(tunnel.Peer{PublicKey: k, AllowedIPs: []netip.Prefix{g.block.V4, g.block.V6}}))
}

func (g *fakeGateway) network(a netip.Addr) vnet.ID {
	s, m, ok := g.block.Locate(a)
	if !ok || m != vnet.ModeNetstack {
		return ""
	}
	return map[vnet.Slot]vnet.ID{1: netA, 2: netB}[s]
}

func (g *fakeGateway) HandleTCP(_ context.Context, r *tunnel.TCPRequest) {
	f := r.Flow()
	n := g.network(f.Source.Addr())
	g.mu.Lock()
	g.seen = append(g.seen, n)
	g.mu.Unlock()
	switch port := f.Destination.Port(); {
	case n == "" || port == secretPort:
		r.Reject(tunnel.RejectProhibited)
	case port == closedPort:
		r.Reject(tunnel.RejectRefused)
	case port == noWayPort:
		r.Reject(tunnel.RejectUnreachable)
	case port == echoPort, port == namePort:
		c, err := r.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		if port == namePort {
			_, _ = io.WriteString(c, string(n)+"\n")
			return
		}
		_, _ = io.Copy(c, c)
	default:
		r.Reject(tunnel.RejectSilent)
	}
}

func (g *fakeGateway) HandleUDP(_ context.Context, r *tunnel.UDPRequest) {
	f := r.Flow()
	slot, _, ok := g.block.Locate(f.Source.Addr())
	probe := ok && slot == vnet.ControlSlot && f.Destination.Port() == probePort
	if !ok || !probe && f.Destination.Port() != echoPort {
		r.Reject(tunnel.RejectProhibited)
		return
	}
	c, err := r.Accept()
	if err != nil {
		return
	}
	go func() {
		b := make([]byte, 2000)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			g.mu.Lock()
			if probe {
				g.probes++
			}
			g.mu.Unlock()
			_, _ = c.Write(b[:n])
		}
	}()
}

// state is what control says of this gateway.
func (g *fakeGateway) state() *api.AgentState {
	v4, v6 := pool.GatewayAddrs()
	return &api.AgentState{
		Self: api.AgentSyncSelf{DeviceID: "device-1", Email: "jdoe@company.com", BlockV4: g.block.V4, BlockV6: g.block.V6},
		Gateways: map[string]api.AgentGateway{"gw-1": {
			ID: "gw-1", Name: "gw", PublicKey: g.key.Public().String(), Endpoints: []string{g.addr.String()},
			ProbeV4: v4, ProbeV6: v6, ProbePort: probePort, Epoch: g.epoch,
		}},
		Networks: map[string]api.AgentNetwork{
			string(netA): {ID: netA, Name: "a1net", Default: true, Slot: 1},
			string(netB): {ID: netB, Name: "b1net", Slot: 2},
		},
		Entries: map[string]api.AgentEntry{
			"t-a/22/SSH": {
				TargetID: "t-a", Hostname: "do-target", Protocol: "SSH", Port: 22, Usernames: []string{"alice"},
				IPv4: &api.AgentAddress{Addr: target4, VNET: netA},
			},
			"t-b/22/SSH": {
				TargetID: "t-b", Hostname: "az-target", Protocol: "SSH", Port: 22, Usernames: []string{"alice", "bob"},
				IPv4: &api.AgentAddress{Addr: target4, VNET: netB}, IPv6: &api.AgentAddress{Addr: target6, VNET: netB},
				Tags: map[string]string{"env": "prod"},
			},
		},
	}
}

// running is an agent in its own directory.
type running struct {
	*agent.Agent
	tb     testing.TB
	cfg    agent.Config
	ready  agent.Ready
	cancel context.CancelFunc
	done   chan error
}

func testConfig(tb testing.TB) agent.Config {
	tb.Helper()
	dir := tb.TempDir()
	cfg := agent.Config{
		StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "s"), ProxyListen: "127.0.0.1:0",
		DeviceName: "laptop", ForceFile: true,
	}
	if os.Getenv("WEFT_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

// startAgent runs an agent until the test ends, or until stop.
func startAgent(tb testing.TB, cfg agent.Config) *running {
	tb.Helper()
	ready := make(chan agent.Ready, 1)
	cfg.OnReady = func(r agent.Ready) { ready <- r }
	a, err := agent.New(cfg)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	r := &running{Agent: a, tb: tb, cfg: cfg, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- a.Run(ctx) }()
	select {
	case r.ready = <-ready:
	case err := <-r.done:
		cancel()
		tb.Fatalf("agent ended: %v", err)
	}
	tb.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.done:
		if err != nil {
			r.tb.Errorf("agent ended: %v", err)
		}
	case <-time.After(10 * time.Second):
		r.tb.Error("agent did not end within 10 s")
	}
}

// restart ends the agent and starts another on the same directory.
func (r *running) restart() *running {
	r.tb.Helper()
	r.stop()
	return startAgent(r.tb, r.cfg)
}

// world is a registered, connected agent with what it talks to.
type world struct {
	control *fakeControl
	gateway *fakeGateway
	agent   *running
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{control: newFakeControl(tb), gateway: newFakeGateway(tb)}
	w.control.set(w.gateway.state())
	w.agent = startAgent(tb, testConfig(tb))
	_, err := w.agent.Register(tb.Context(), w.control.enrolment("key-1", 1))
	must(tb, err)
	w.gateway.admit(w.control.devicePublicKey())
	w.connect(tb)
	return w
}

func (w *world) connect(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	st, err := w.agent.Connect(ctx)
	must(tb, err)
	if st.State != localapi.Connected {
		tb.Fatalf("state %s after Connect", st.State)
	}
}

func (r *running) waitState(want localapi.State) {
	r.tb.Helper()
	testwait.Until(r.tb, "state "+string(want), func() bool { return r.Status().State == want })
}

// whichNetwork dials the port that says it.
func whichNetwork(tb testing.TB, a *agent.Agent, name, ref string) (string, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
	defer cancel()
	f, err := a.DialFlow(ctx, localapi.Dial{Name: name, Port: namePort, VNET: ref})
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	return line[:len(line)-1], nil
}

func dialTCP(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	var d net.Dialer
	c, err := d.DialContext(tb.Context(), "tcp", addr)
	must(tb, err)
	must(tb, c.SetDeadline(time.Now().Add(20*time.Second)))
	tb.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}
