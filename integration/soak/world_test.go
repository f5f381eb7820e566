package soak_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"weft/agent"
	"weft/agent/localapi/client"
	"weft/api"
	"weft/connector"
	"weft/control"
	"weft/control/controltest"
	"weft/gateway"
)

// The world: two networks with the same addresses, in each a target that says which one it is and then echoes.
const (
	email      = "jdoe@company.com"
	targetAddr = "10.20.0.5:9000"
	deadline   = 20 * time.Second // of one step; on a busy machine the slowest took 2 s
)

// cycles is how often each thing is done.
func cycles(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("WEFT_SOAK_CYCLES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return defaultCycles
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// logger writes what a part says to standard error when WEFT_TEST_LOG is set.
func logger(part string) *slog.Logger {
	if os.Getenv("WEFT_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("part", part)
}

// world is everything, in this process.
type world struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // of the test, for its many small steps
	control *controltest.Server
	token   string // of the gateway
	dir     string
	wg, qc  netip.AddrPort // where the gateway listens, at every start
	gateway *running
	proxy   string
	client  *client.Client
	live    []*flow
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), dir: memoryDir(t)}
	w.control = controltest.Start(t, control.Config{Dir: filepath.Join(w.dir, "control")})
	w.wg, w.qc = freePort(t), freePort(t)
	w.token = w.control.Gateway("gw").Token
	w.startGateway()
	t.Cleanup(func() { w.gateway.end(t) })
	for _, network := range []string{"a", "b"} {
		v := w.control.VNET(network)
		tunnel, token := w.control.Tunnel(network)
		w.control.Route("10.20.0.0/16", v, tunnel)
		w.control.Target("host-"+network, "10.20.0.5", v)
		w.control.App(network, "host-"+network, "TCP", 9000, email)
		w.startConnector(token, startTarget(t, network))
	}
	w.startAgent()
	return w
}

// memoryDir is a directory of the test's that is in memory, where the system has one: thousands of cycles would wait for
// the disk most of the time.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "weft-soak-") //nolint:usetesting // the test's own is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	must(t, c.Close())
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// running is a part until it is ended.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func (w *world) run(f func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	r := &running{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- f(ctx) }()
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- nil // it may be ended again
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(deadline):
		t.Error("did not end")
	}
}

// ready waits for a part to say so.
func (w *world) ready(r *running, ready <-chan struct{}) {
	w.t.Helper()
	select {
	case <-ready:
	case err := <-r.done:
		w.t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(deadline):
		w.t.Fatal("not ready in time")
	}
}

// startGateway starts a gateway in the same directory and at the same ports as the one before.
func (w *world) startGateway() {
	w.t.Helper()
	c, err := api.NewClient(api.ClientConfig{BaseURL: w.control.URL, Token: api.Secret(w.token), Roots: w.control.Roots})
	must(w.t, err)
	g, err := gateway.New(gateway.Config{
		StateDir: filepath.Join(w.dir, "gateway"), Control: c, Listen: w.wg, ConnectorListen: w.qc,
		Logger: logger("gateway"),
	})
	must(w.t, err)
	w.gateway = w.run(func(ctx context.Context) error {
		defer c.Abandon()
		return g.Run(ctx)
	})
	w.ready(w.gateway, g.Ready())
}

func (w *world) startConnector(token string, target netip.AddrPort) {
	w.t.Helper()
	parsed, err := api.ParseConnectorToken(token)
	must(w.t, err)
	c, err := connector.New(connector.Config{
		Token: parsed, Control: w.control.ClientWith(api.Secret(token)),
		Map:    map[netip.AddrPort]netip.AddrPort{netip.MustParseAddrPort(targetAddr): target},
		Logger: logger("connector"),
	})
	must(w.t, err)
	r := w.run(c.Run)
	w.t.Cleanup(func() { r.end(w.t) })
	w.ready(r, c.Ready())
}

// startTarget says its name at each connection and then echoes.
func startTarget(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = c.Close() }()
				if _, err := io.WriteString(c, name+"\n"); err == nil {
					_, _ = io.Copy(c, c)
				}
			})
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (w *world) startAgent() {
	w.t.Helper()
	up := make(chan struct{})
	a, err := agent.New(agent.Config{
		StateDir: filepath.Join(w.dir, "agent"), Socket: filepath.Join(w.dir, "s"), ProxyListen: "127.0.0.1:0",
		DeviceName: "laptop", ForceFile: true, Logger: logger("agent"),
		OnReady: func(r agent.Ready) {
			w.proxy, w.client = r.Proxy, client.New(r.Socket)
			close(up)
		},
	})
	must(w.t, err)
	r := w.run(a.Run)
	w.t.Cleanup(func() { r.end(w.t) })
	w.ready(r, up)
}

func (w *world) register() {
	w.t.Helper()
	_, err := w.client.Register(w.ctx, w.control.Enrolment(email))
	must(w.t, err)
}

func (w *world) connect() {
	w.t.Helper()
	_, err := w.client.Connect(w.ctx, deadline)
	must(w.t, err)
}

// flow is an open connection through SOCKS5.
type flow struct {
	net.Conn
	r *bufio.Reader
	// network is the one that its target said it is in.
	network string
}

// open dials the address that exists in both networks; the selected one, or the one that user names, decides.
func (w *world) open(network string) (*flow, error) {
	var auth *proxy.Auth
	if network != "" {
		auth = &proxy.Auth{User: network, Password: "-"}
	}
	d, err := proxy.SOCKS5("tcp", w.proxy, auth, proxy.Direct)
	if err != nil {
		return nil, err
	}
	c, err := d.Dial("tcp", targetAddr)
	if err != nil {
		return nil, err
	}
	f := &flow{Conn: c, r: bufio.NewReader(c)}
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	line, err := f.r.ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	f.network = line[:len(line)-1]
	return f, nil
}

// mustOpen is open where it must work, in a certain network.
func (w *world) mustOpen(network, want string) *flow {
	w.t.Helper()
	f, err := w.open(network)
	must(w.t, err)
	if f.network != want {
		w.t.Fatalf("the flow leads to network %q, not %q", f.network, want)
	}
	return f
}

// echo proves that a flow lives.
func (f *flow) echo(t *testing.T) {
	t.Helper()
	must(t, f.SetDeadline(time.Now().Add(deadline)))
	_, err := io.WriteString(f, "still there\n")
	must(t, err)
	if line, err := f.r.ReadString('\n'); err != nil || line != "still there\n" {
		t.Fatalf("a live flow answered %q, %v", line, err)
	}
}

// ends proves that a flow was reset, and not closed as if it had come to its end.
func (f *flow) ends(t *testing.T) {
	t.Helper()
	must(t, f.SetDeadline(time.Now().Add(deadline)))
	_, err := f.r.ReadByte()
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a flow that was cut ended with %v", err)
	}
	_ = f.Close() // reset already
}
