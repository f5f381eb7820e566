//go:build linux

package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"weft/agent"
	"weft/agent/localapi"
	"weft/api"
	"weft/connector"
	"weft/control"
	"weft/control/controltest"
	"weft/gateway"
	"weft/internal/testwait"
)

func TestMain(m *testing.M) {
	cleanUp, err := trustMiddlebox()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// They mostly wait, for what a network does.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		cleanUp()
		os.Exit(code)
	}))
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

const (
	email = "jdoe@company.com"
	addr1 = "10.20.0.5"
	addr2 = "10.20.0.6"
)

// world is all of Weft in this process: control, a gateway, a connector, an agent, and targets on loopback. What agent and
// gateway say to each other goes through a relay that a test can make drop, swallow large datagrams or end.
type world struct {
	tb        testing.TB
	ctl       *controltest.Server
	ctlDir    string
	gw        *gateway.Gateway
	gwDir     string
	gwListen  netip.AddrPort
	connLn    netip.AddrPort
	gwCfg     func(*gateway.Config)
	stopGW    func()
	relay     *udpRelay
	front     *tcpRelay // between agent and control
	agent     *running
	agentCfg  agent.Config
	host      *sshHost
	net1      string // default network, in which web-1 and web-2 are
	net2      string
	tunnel    string
	token     string
	targetID  string
	appID     string
	policyID  string
	stopConn  func()
	connMap   map[netip.AddrPort]netip.AddrPort
	ctlConfig control.Config
	lenient   bool // the gateway may end with an error
	// gatewayStopped says that there is none to wait for.
	gatewayStopped bool
}

// options of a world.
type options struct {
	control     func(*control.Config)
	gateway     func(*gateway.Config)
	agent       func(*agent.Config)
	noConnect   bool // the agent is registered and not connected
	noAgent     bool
	noGateway   bool
	lenient     bool
	noConnector bool
	front       string // a host name instead of an address for control
}

func newWorld(tb testing.TB, o options) *world {
	tb.Helper()
	w := &world{tb: tb, ctlDir: tb.TempDir(), gwDir: tb.TempDir(), gwCfg: o.gateway, lenient: o.lenient}
	w.ctlConfig = control.Config{Dir: w.ctlDir, Listen: freeTCP(tb)}
	w.front = newTCPRelay(tb, w.ctlConfig.Listen)
	w.ctlConfig.PublicURL = "https://" + w.front.addr
	if o.front != "" {
		_, port, err := net.SplitHostPort(w.front.addr)
		must(tb, err)
		w.ctlConfig.PublicURL = "https://" + net.JoinHostPort(o.front, port)
	}
	if o.control != nil {
		o.control(&w.ctlConfig)
	}
	w.ctl = controltest.Start(tb, w.ctlConfig)
	w.ctl.Client.Close()
	w.ctl.URL = "https://" + w.ctlConfig.Listen // what the test itself asks does not take the agents' way
	w.ctl.Client = w.ctl.ClientWith(api.Secret(w.ctl.Token))
	w.fill()
	w.gwListen, w.connLn = freeUDP(tb), freeUDP(tb)
	w.relay = newUDPRelay(tb, w.gwListen, w.connLn)
	if w.gatewayStopped = o.noGateway; !o.noGateway {
		w.startGateway()
		if !o.noConnector {
			w.startConnector()
		}
	}
	if !o.noAgent {
		w.startAgent(o)
	}
	return w
}

// fill makes what the account holds: two SSH targets, one of which grants root, in a routed network, and another network.
func (w *world) fill() {
	w.tb.Helper()
	s := w.ctl
	var ca api.GatewayCA
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, &ca)
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca.PublicKey))
	must(w.tb, err)
	w.host = newSSHHost(w.tb, key)
	w.net1 = s.DefaultVNET()
	w.net2 = s.VNET("staging")
	w.tunnel, w.token = s.Tunnel("office")
	s.Route("10.20.0.0/16", w.net1, w.tunnel)
	w.targetID = s.Target("web-1", addr1, w.net1)
	s.Target("web-2", addr2, w.net1)
	app := s.App("web servers", "web-1", "SSH", 22, email, "root")
	w.appID, w.policyID = app.ID, app.Policies[0].ID
	s.App("others", "web-2", "SSH", 22, email, "admin")
	w.connMap = map[netip.AddrPort]netip.AddrPort{
		netip.MustParseAddrPort(addr1 + ":22"): w.host.addr, netip.MustParseAddrPort(addr2 + ":22"): w.host.addr,
	}
}

func (w *world) gatewayClient(token string) *api.Client {
	w.tb.Helper()
	c, err := api.NewClient(api.ClientConfig{BaseURL: "https://" + w.ctlConfig.Listen, Token: api.Secret(token), Roots: w.ctl.Roots})
	must(w.tb, err)
	w.tb.Cleanup(c.Close)
	return c
}

func (w *world) startGateway() {
	w.tb.Helper()
	token, err := w.ctl.Control.EnsureGateway(w.tb.Context(), "gw")
	must(w.tb, err)
	cfg := gateway.Config{
		StateDir: w.gwDir, Control: w.gatewayClient(token), Listen: w.gwListen, ConnectorListen: w.connLn,
		AdvertiseHosts: []string{relayHost}, Version: "test", Logger: logger(),
	}
	if w.gwCfg != nil {
		w.gwCfg(&cfg)
	}
	w.gw, err = gateway.New(cfg)
	must(w.tb, err)
	w.stopGW = w.run("gateway", w.gw.Run)
	w.wait("gateway", w.gw.Ready())
}

func (w *world) startConnector() {
	w.tb.Helper()
	token, err := api.ParseConnectorToken(w.token)
	must(w.tb, err)
	c, err := connector.New(connector.Config{Token: token, Control: w.gatewayClient(w.token), Map: w.connMap, Logger: logger()})
	must(w.tb, err)
	w.stopConn = w.run("connector", c.Run)
	w.wait("connector", c.Ready())
}

func (w *world) startAgent(o options) {
	w.tb.Helper()
	dir := w.tb.TempDir()
	w.agentCfg = agent.Config{
		StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "s"), ProxyListen: "127.0.0.1:0",
		DeviceName: "laptop", ForceFile: true, Version: "1.2.3", Logger: logger(),
	}
	if o.agent != nil {
		o.agent(&w.agentCfg)
	}
	w.agent = startAgent(w.tb, w.agentCfg)
	_, err := w.agent.Register(w.tb.Context(), w.ctl.Enrolment(email))
	must(w.tb, err)
	if !o.noConnect {
		w.connect()
	}
}

func (w *world) connect() {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 20*time.Second)
	defer cancel()
	_, err := w.agent.Connect(ctx)
	must(w.tb, err)
	w.settle()
}

// settle waits until the agent has its list and gateway and agent are at control's revision.
func (w *world) settle() {
	w.tb.Helper()
	testwait.Until(w.tb, "the agent hears control", func() bool {
		s := w.agent.Status()
		return s.ControlConnected && s.StateRevision > 0 && w.gw.Stats().Revision > 0
	})
}

// run runs something until the test ends or stop is called.
func (w *world) run(what string, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.tb.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !w.lenient {
				w.tb.Errorf("%s: %v", what, err)
			}
		})
	}
	w.tb.Cleanup(stop)
	return stop
}

func (w *world) wait(what string, ch <-chan struct{}) {
	w.tb.Helper()
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		w.tb.Fatalf("%s is not ready within 20 s", what)
	}
}

// running is an agent in its own directory.
type running struct {
	*agent.Agent
	ready agent.Ready
	stop  func()
}

func startAgent(tb testing.TB, cfg agent.Config) *running {
	tb.Helper()
	ready := make(chan agent.Ready, 1)
	cfg.OnReady = func(r agent.Ready) { ready <- r }
	a, err := agent.New(cfg)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r := &running{Agent: a}
	select {
	case r.ready = <-ready:
	case err := <-done:
		cancel()
		tb.Fatalf("agent ended: %v", err)
	}
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				tb.Errorf("agent: %v", err)
			}
		})
	}
	tb.Cleanup(r.stop)
	return r
}

// change makes a change and waits until agent and gateway have heard of it.
func (w *world) change(f func()) {
	w.tb.Helper()
	before := w.gw.Stats().Revision
	f()
	testwait.Until(w.tb, "the gateway hears of the change", func() bool { return w.gw.Stats().Revision > before })
}

// listed waits until the agent's list has, or has not, a target at a port.
func (w *world) listed(name string, port uint16, want bool) {
	w.tb.Helper()
	testwait.Until(w.tb, "the agent's list follows", func() bool {
		r, err := w.agent.Resolve(name, "", port)
		has := false
		if err == nil {
			for _, p := range r.Ports {
				has = has || p == port
			}
		}
		return has == want
	})
}

func (w *world) explain(q localapi.ExplainRequest) localapi.Explanation {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 60*time.Second)
	defer cancel()
	e, err := w.agent.Explain(ctx, q)
	must(w.tb, err)
	return e
}

func (w *world) adminExplain(in api.ExplainRequest) api.Explain {
	w.tb.Helper()
	if in.Email == "" {
		in.Email = email
	}
	var out api.Explain
	w.ctl.Call(http.MethodPost, api.PathExplain, in, &out)
	return out
}

// replacePolicy replaces the policy of web-1.
func (w *world) replacePolicy(p api.PolicyWrite) {
	w.tb.Helper()
	p.Name, p.Decision = "engineers", "allow"
	w.ctl.Call(http.MethodPut, w.ctl.Account("/access/apps/"+w.appID+"/policies/"+w.policyID), p, nil)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func logger() *slog.Logger {
	if os.Getenv("WEFT_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Ports below those that the system gives to connections, so that none takes one before it is used.
const firstPort, numPorts = 20000, 12000

var nextPort = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(mathrand.Uint32N(numPorts))
	return n
}()

// freePort finds a port that both transports have free on all loopback addresses that the tests use.
func freePort(tb testing.TB) uint16 {
	tb.Helper()
	for range 100 {
		port := firstPort + int(nextPort.Add(1)%numPorts)
		if portFree(tb, port) {
			return uint16(port)
		}
	}
	tb.Fatal("no port is free")
	return 0
}

func portFree(tb testing.TB, port int) bool {
	tb.Helper()
	for _, host := range []string{"127.0.0.1", relayHost} {
		at := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", at)
		if err != nil {
			return false
		}
		p, err := (&net.ListenConfig{}).ListenPacket(tb.Context(), "udp", at)
		_ = l.Close()
		if err != nil {
			return false
		}
		_ = p.Close()
	}
	return true
}

func freeTCP(tb testing.TB) string {
	tb.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(freePort(tb))))
}

func freeUDP(tb testing.TB) netip.AddrPort {
	tb.Helper()
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(tb))
}

// tryConnect asks for the tunnel and does not wait for it.
func (w *world) tryConnect() {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), time.Second)
	defer cancel()
	_, _ = w.agent.Connect(ctx)
}

// blockUDP has the network drop everything between agents and the gateway, and waits until the agent knows.
func (w *world) blockUDP() {
	w.tb.Helper()
	w.relay.blocked.Store(true)
	w.silent()
}

func (w *world) silent() {
	w.tb.Helper()
	// At rest an agent looks every twenty seconds; a flow has it look at once.
	ctx, cancel := context.WithTimeout(w.tb.Context(), time.Second)
	defer cancel()
	if f, err := w.agent.DialFlow(ctx, localapi.Dial{Name: "web-1", Port: 22}); err == nil {
		f.Abort()
	}
	testwait.Until(w.tb, "the agent notices that nobody answers", func() bool {
		return w.agent.Status().State == localapi.Connecting
	})
}

func removeState(dir string) error { return os.Remove(filepath.Join(dir, "state.json")) }

func dump(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

// sshHost is an sshd on loopback that trusts a CA.
type sshHost struct {
	addr    netip.AddrPort
	hostKey atomic.Pointer[ssh.Signer]
	trusted atomic.Bool
	closed  func()
	logins  atomic.Int64
}

func newSigner(tb testing.TB) *ssh.Signer {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(tb, err)
	s, err := ssh.NewSignerFromKey(private)
	must(tb, err)
	return &s
}

func newSSHHost(tb testing.TB, ca ssh.PublicKey) *sshHost {
	tb.Helper()
	h := new(sshHost)
	h.hostKey.Store(newSigner(tb))
	h.trusted.Store(true)
	checker := &ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return h.trusted.Load() && bytes.Equal(k.Marshal(), ca.Marshal()) }}
	h.addr, h.closed = serve(tb, func(c net.Conn) {
		cfg := &ssh.ServerConfig{PublicKeyCallback: checker.Authenticate}
		cfg.AddHostKey(*h.hostKey.Load())
		conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
		if err != nil {
			return
		}
		h.logins.Add(1)
		go ssh.DiscardRequests(reqs)
		for ch := range chans {
			_ = ch.Reject(ssh.Prohibited, "not in this test")
		}
		_ = conn.Wait()
	})
	return h
}

// serve listens on loopback until the test ends or close is called.
func serve(tb testing.TB, handle func(net.Conn)) (netip.AddrPort, func()) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				handle(c)
			})
		}
	})
	var once sync.Once
	stop := func() {
		once.Do(func() {
			_ = l.Close()
			wg.Wait()
		})
	}
	tb.Cleanup(stop)
	return l.Addr().(*net.TCPAddr).AddrPort(), stop
}

// noDeadline takes a deadline away.
var noDeadline time.Time
