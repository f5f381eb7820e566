package forward_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weft/agent/fault"
	"weft/agent/forward"
	"weft/agent/localapi"
	"weft/agent/relay"
	"weft/internal/kind"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// memory is a state directory.
type memory struct {
	mu    sync.Mutex // guards what follows
	files map[string][]byte
	fail  error
}

func (m *memory) Read(name string, out any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[name]
	if !ok {
		return fs.ErrNotExist
	}
	return json.Unmarshal(b, out)
}

func (m *memory) Write(name string, v any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	b, err := json.Marshal(v)
	if err == nil {
		m.files[name] = b
	}
	return err
}

func (m *memory) set(name, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = []byte(text)
}

func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// target is what forwards lead to: an echo server for streams, an echo for datagrams, or a refusal.
type target struct {
	echo string

	mu    sync.Mutex // guards what follows
	asked []localapi.Dial
	fail  error
}

type tcpFlow struct{ *net.TCPConn }

func (f tcpFlow) Abort() { relay.Abort(f.TCPConn) }

func (d *target) note(q localapi.Dial) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, q)
	return d.fail
}

func (d *target) refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func (d *target) last() localapi.Dial {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		return localapi.Dial{}
	}
	return d.asked[len(d.asked)-1]
}

func (d *target) DialFlow(ctx context.Context, q localapi.Dial) (relay.Flow, error) {
	if err := d.note(q); err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.echo)
	if err != nil {
		return nil, err
	}
	return tcpFlow{c.(*net.TCPConn)}, nil
}

func (d *target) DialPacket(_ context.Context, q localapi.Dial) (net.Conn, error) {
	if err := d.note(q); err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	go func() {
		_, _ = io.Copy(b, b)
		_ = b.Close()
	}()
	return a, nil
}

func echoServer(tb testing.TB) string {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	tb.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// keeper is a running manager.
type keeper struct {
	*forward.Manager
	tb     testing.TB
	store  *memory
	target *target
	cfg    forward.Config
	cancel context.CancelFunc
	done   chan error
}

func start(tb testing.TB, cfg forward.Config) *keeper {
	tb.Helper()
	k := &keeper{tb: tb, store: &memory{files: map[string][]byte{}}, target: &target{echo: echoServer(tb)}}
	cfg.Dialer, cfg.Store = k.target, k.store
	if cfg.Allow == nil {
		self, err := localsock.Self()
		must(tb, err)
		cfg.Allow = func(id localsock.Caller) bool { return id.SameUser(self) }
	}
	if cfg.Retry == 0 {
		cfg.Retry = 5 * time.Millisecond
	}
	k.cfg = cfg
	k.begin()
	tb.Cleanup(func() { k.end() })
	return k
}

func (k *keeper) begin() {
	k.tb.Helper()
	m, err := forward.New(k.cfg)
	must(k.tb, err)
	k.Manager = m
	if err := m.Load(); err != nil {
		k.tb.Logf("load: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.tb.Context()))
	k.cancel, k.done = cancel, make(chan error, 1)
	go func() { k.done <- m.Run(ctx) }()
	testwait.Until(k.tb, "the manager runs", func() bool {
		_, err := m.Add(k.tb.Context(), forward.Spec{})
		return fault.From(err).Code != string(kind.Unavailable) || strings.Contains(err.Error(), "cannot be read")
	})
}

func (k *keeper) end() {
	k.tb.Helper()
	if k.cancel == nil {
		return
	}
	k.cancel()
	k.cancel = nil
	select {
	case err := <-k.done:
		if err != nil {
			k.tb.Error(err)
		}
	case <-time.After(10 * time.Second):
		k.tb.Error("Run did not end")
	}
}

func (k *keeper) add(s forward.Spec) forward.Status {
	k.tb.Helper()
	if s.Target == "" {
		s.Target, s.Port, s.VNET = "web-1", 80, "v-a"
	}
	st, err := k.Add(k.tb.Context(), s)
	must(k.tb, err)
	return st
}

func (k *keeper) status(name string) forward.Status {
	for _, s := range k.List() {
		if s.Name == name {
			return s
		}
	}
	return forward.Status{}
}

func dial(tb testing.TB, network, addr string) net.Conn {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), network, addr)
	must(tb, err)
	must(tb, c.SetDeadline(time.Now().Add(10*time.Second)))
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// echo sends a line and wants it back.
func echo(tb testing.TB, c net.Conn, line string) error {
	tb.Helper()
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	b := make([]byte, len(line))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != line {
		return fmt.Errorf("sent %q, got %q", line, b)
	}
	return nil
}

// tryEcho is echo on a connection that may be reset already while it is made.
func tryEcho(tb testing.TB, network, addr string) error {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), network, addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	must(tb, c.SetDeadline(time.Now().Add(10*time.Second)))
	return echo(tb, c, "x")
}

func TestManager_TCP(t *testing.T) {
	k := start(t, forward.Config{})
	st := k.add(forward.Spec{Name: "web", Network: forward.TCP, Listen: "127.0.0.1:0"})
	if st.State != localapi.ForwardListening || strings.HasSuffix(st.Listen, ":0") {
		t.Fatalf("status %+v", st)
	}
	c := dial(t, "tcp", st.Listen)
	must(t, echo(t, c, "hello\n"))
	if diff := cmp.Diff(localapi.Dial{Name: "web-1", Port: 80, VNET: "v-a"}, k.target.last()); diff != "" {
		t.Errorf("dialled (-want +got):\n%s", diff)
	}
	must(t, c.(*net.TCPConn).CloseWrite())
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("after a half-close: %q, %v", b, err)
	}
	testwait.Until(t, "counters", func() bool {
		s := k.status("web")
		return s.Open == 0 && s.Accepted == 1 && s.Sent == 6 && s.Received == 6
	})
}

func TestManager_SurvivesARestart(t *testing.T) {
	k := start(t, forward.Config{})
	st := k.add(forward.Spec{Network: forward.TCP, Listen: "127.0.0.1:0"})
	if st.Name != "web-1-80" {
		t.Errorf("name %q", st.Name)
	}
	k.end()
	k.begin()
	testwait.Until(t, "it listens again", func() bool { return k.status("web-1-80").State == localapi.ForwardListening })
	if got := k.status("web-1-80"); got.Listen != st.Listen {
		t.Errorf("it listens at %s now; before at %s", got.Listen, st.Listen)
	}
	must(t, echo(t, dial(t, "tcp", st.Listen), "x"))
	must(t, k.Remove("web-1-80"))
	k.end()
	k.begin()
	if l := k.List(); len(l) > 0 {
		t.Errorf("a removed forward is back: %+v", l)
	}
}

func TestManager_RemoveFreesThePort(t *testing.T) {
	k := start(t, forward.Config{})
	st := k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
	c := dial(t, "tcp", st.Listen)
	must(t, echo(t, c, "x"))
	must(t, k.Remove("a"))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an open connection ended with %v, want a reset", err)
	}
	k.add(forward.Spec{Name: "b", Network: forward.TCP, Listen: st.Listen})
	if err := k.Remove("a"); kind.Kind(fault.From(err).Code) != kind.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestManager_RefusedAtOnce(t *testing.T) {
	k := start(t, forward.Config{})
	st := k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
	k.target.refuse(fault.New(localapi.CodeNotConnected, "not connected"))
	began := time.Now()
	// The reset may come before the connect returns.
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", st.Listen)
	if err == nil {
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = c.Read(make([]byte, 1))
		must(t, c.Close())
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a reset", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	k.target.refuse(nil)
	must(t, echo(t, dial(t, "tcp", st.Listen), "x"))
	testwait.Until(t, "counters", func() bool { s := k.status("a"); return s.Refused == 1 && s.Accepted == 2 })
}

func TestManager_Limits(t *testing.T) {
	k := start(t, forward.Config{MaxForwards: 2, MaxConns: 2})
	st := k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
	k.add(forward.Spec{Name: "b", Network: forward.TCP, Listen: "127.0.0.1:0"})
	_, err := k.Add(t.Context(), forward.Spec{Name: "c", Network: forward.TCP, Listen: "127.0.0.1:0", Target: "x", Port: 1})
	if fault.From(err).Code != string(kind.Limit) {
		t.Errorf("a third forward: %v", err)
	}
	first, second := dial(t, "tcp", st.Listen), dial(t, "tcp", st.Listen)
	must(t, echo(t, first, "x"))
	must(t, echo(t, second, "x"))
	if err := tryEcho(t, "tcp", st.Listen); err == nil {
		t.Error("a third connection was served")
	}
	must(t, first.Close())
	testwait.Until(t, "a place", func() bool { return k.status("a").Open == 1 })
	must(t, echo(t, dial(t, "tcp", st.Listen), "x"))
	if s := k.status("a"); s.Refused != 1 {
		t.Errorf("refused %d", s.Refused)
	}
}

func TestManager_BusyPort(t *testing.T) {
	k := start(t, forward.Config{})
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	at := ln.Addr().String()
	_, err = k.Add(t.Context(), forward.Spec{Network: forward.TCP, Listen: at, Target: "x", Port: 1})
	if e := fault.From(err); e.Code != string(kind.Conflict) || e.Hint == "" {
		t.Errorf("got %v", err)
	}
	if len(k.List()) > 0 {
		t.Error("it is kept all the same")
	}
	// Kept from before, it is listed and waits for the port.
	k.end()
	must(t, k.store.Write("forwards.json", map[string]any{"forwards": []forward.Spec{{Name: "a", Network: forward.TCP, Listen: at, Target: "x", Port: 1}}}))
	k.begin()
	testwait.Until(t, "state busy", func() bool { s := k.status("a"); return s.State == localapi.ForwardBusy && s.Detail != "" })
	must(t, ln.Close())
	testwait.Until(t, "it has the port", func() bool { return k.status("a").State == localapi.ForwardListening })
	must(t, echo(t, dial(t, "tcp", at), "x"))
}

func TestManager_OtherAccounts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells whose connection it is")
	}
	nobody := func(localsock.Caller) bool { return false }
	k := start(t, forward.Config{Allow: nobody, UDPIdle: time.Second})
	tcp := k.add(forward.Spec{Name: "tcp", Network: forward.TCP, Listen: "127.0.0.1:0"})
	udp := k.add(forward.Spec{Name: "udp", Network: forward.UDP, Listen: "127.0.0.1:0"})
	open := k.add(forward.Spec{Name: "open", Network: forward.TCP, Listen: "127.0.0.1:0", AllUsers: true})
	path := filepath.Join(shortDir(t), "s")
	k.add(forward.Spec{Name: "unix", Network: forward.Unix, Listen: path})
	if err := tryEcho(t, "tcp", tcp.Listen); err == nil {
		t.Error("TCP was served")
	}
	if err := tryEcho(t, "unix", path); err == nil {
		t.Error("the socket was served")
	}
	u := dial(t, "udp", udp.Listen)
	_, err := io.WriteString(u, "x")
	must(t, err)
	testwait.Until(t, "the datagram was refused", func() bool { return k.status("udp").Refused == 1 })
	if d := k.target.last(); d.Name != "" {
		t.Errorf("something was dialled: %+v", d)
	}
	must(t, echo(t, dial(t, "tcp", open.Listen), "x"))
}

func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "wf") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestManager_Unix(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not offered on this system")
	}
	k := start(t, forward.Config{})
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	// A stale socket is replaced, a file is not.
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	must(t, err)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, ln.Close())
	k.add(forward.Spec{Name: "a", Network: forward.Unix, Listen: path})
	fi, err := os.Stat(path)
	must(t, err)
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	must(t, echo(t, dial(t, "unix", path), "x"))
	must(t, k.Remove("a"))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays behind: %v", err)
	}
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = k.Add(t.Context(), forward.Spec{Name: "a", Network: forward.Unix, Listen: path, Target: "x", Port: 1})
	if fault.From(err).Code != string(kind.Conflict) {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

func TestManager_UDP(t *testing.T) {
	k := start(t, forward.Config{MaxConns: 2, UDPIdle: 10 * time.Millisecond})
	st := k.add(forward.Spec{Name: "u", Network: forward.UDP, Listen: "127.0.0.1:0"})
	a, b := dial(t, "udp", st.Listen), dial(t, "udp", st.Listen)
	must(t, echo(t, a, "from a"))
	must(t, echo(t, b, "from b"))
	must(t, echo(t, a, "again a"))
	third := dial(t, "udp", st.Listen)
	_, err := io.WriteString(third, "x")
	must(t, err)
	testwait.Until(t, "a third client is refused", func() bool { s := k.status("u"); return s.Drops == 1 && s.Refused == 1 })
	testwait.Until(t, "idle clients are forgotten", func() bool { return k.status("u").Open == 0 })
	must(t, echo(t, third, "now"))
	if s := k.status("u"); s.Accepted != 3 {
		t.Errorf("accepted %d", s.Accepted)
	}
	k.target.refuse(errors.New("no"))
	_, err = io.WriteString(dial(t, "udp", st.Listen), "x")
	must(t, err)
	testwait.Until(t, "a refused datagram", func() bool { return k.status("u").Refused == 2 })
}

func TestManager_BadFile(t *testing.T) {
	k := start(t, forward.Config{})
	k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
	for _, text := range []string{
		`{"forwards":[{"name":"a","network":"tcp","listen":"0.0.0.0:1","target":"x","port":1}]}`,
		`{"forwards":[{"name":"../a","network":"tcp","listen":"127.0.0.1:1","target":"x","port":1}]}`,
		`{"forwards":[{"name":"a","network":"sctp","listen":"127.0.0.1:1","target":"x","port":1}]}`,
		`{"forwards":[{"name":"a","network":"unix","listen":"relative","target":"x","port":1}]}`,
		`{"forwards":`,
	} {
		k.end()
		k.store.set("forwards.json", text)
		k.begin()
		if l := k.List(); len(l) != 0 {
			t.Errorf("%s: %+v", text, l)
		}
		_, err := k.Add(t.Context(), forward.Spec{Name: "b", Network: forward.TCP, Listen: "127.0.0.1:0", Target: "x", Port: 1})
		if fault.From(err).Code != string(kind.Unavailable) {
			t.Errorf("%s: added beside what cannot be read: %v", text, err)
		}
	}
}

func TestManager_DiskFull(t *testing.T) {
	k := start(t, forward.Config{})
	st := k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
	k.store.failWith(errors.New("disk full"))
	if _, err := k.Add(t.Context(), forward.Spec{Name: "b", Network: forward.TCP, Listen: "127.0.0.1:0", Target: "x", Port: 1}); err == nil {
		t.Error("a forward that is not kept was added")
	}
	if err := k.Remove("a"); err == nil {
		t.Error("a forward that stays kept was removed")
	}
	must(t, echo(t, dial(t, "tcp", st.Listen), "x"))
	if l := k.List(); len(l) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestManager_Refuses(t *testing.T) {
	k := start(t, forward.Config{})
	k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
	for _, tt := range []struct {
		name string
		spec forward.Spec
		code kind.Kind
	}{
		{"a name that is taken", forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0", Target: "x", Port: 1}, kind.Conflict},
		{"a port that a forward has", forward.Spec{Name: "b", Network: forward.TCP, Listen: k.status("a").Listen, Target: "x", Port: 1}, kind.Conflict},
		{"another interface", forward.Spec{Name: "b", Network: forward.TCP, Listen: "0.0.0.0:0", Target: "x", Port: 1}, kind.Invalid},
		{"a bad name", forward.Spec{Name: "a/b", Network: forward.TCP, Listen: "127.0.0.1:0", Target: "x", Port: 1}, kind.Invalid},
		{"no target", forward.Spec{Name: "b", Network: forward.TCP, Listen: "127.0.0.1:0", Port: 1}, kind.Invalid},
		{"no port", forward.Spec{Name: "b", Network: forward.TCP, Listen: "127.0.0.1:0", Target: "x"}, kind.Invalid},
		{"an address that is not ours", forward.Spec{Name: "b", Network: forward.TCP, Listen: "192.0.2.1:0", Target: "x", Port: 1, AllowRemote: true}, kind.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := k.Add(t.Context(), tt.spec)
			if got := kind.Kind(fault.From(err).Code); got != tt.code {
				t.Errorf("got %v (%v), want %s", got, err, tt.code)
			}
		})
	}
	if l := k.List(); len(l) != 1 {
		t.Errorf("%+v", l)
	}
}

// TestManager_Restricted_regression: a process with more rights must not lend them to the owner of the forwards.
func TestManager_Restricted_regression(t *testing.T) {
	k := start(t, forward.Config{Restricted: true})
	for _, s := range []forward.Spec{
		{Name: "a", Network: forward.Unix, Listen: filepath.Join(shortDir(t), "s"), Target: "x", Port: 1},
		{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:80", Target: "x", Port: 1},
		{Name: "a", Network: forward.UDP, Listen: "127.0.0.1:1023", Target: "x", Port: 1},
	} {
		if _, err := k.Add(t.Context(), s); fault.From(err).Code != localapi.CodePermission {
			t.Errorf("%+v: %v", s, err)
		}
	}
	k.add(forward.Spec{Name: "a", Network: forward.TCP, Listen: "127.0.0.1:0"})
}

func TestManager_LongDatagrams(t *testing.T) {
	k := start(t, forward.Config{})
	st := k.add(forward.Spec{Name: "u", Network: forward.UDP, Listen: "127.0.0.1:0"})
	u := dial(t, "udp", st.Listen)
	must(t, echo(t, u, strings.Repeat("x", 16<<10)))
	_, err := io.WriteString(u, strings.Repeat("x", 16<<10+1))
	must(t, err)
	testwait.Until(t, "a drop", func() bool { return k.status("u").Drops == 1 })
	must(t, echo(t, u, "x"))
}

func TestParseListen(t *testing.T) {
	for _, tt := range []struct{ name, in, network, gotNetwork, listen string }{
		{"a port", "5432", "", forward.TCP, "127.0.0.1:5432"},
		{"a free port", "0", "", forward.TCP, "127.0.0.1:0"},
		{"datagrams", "53", forward.UDP, forward.UDP, "127.0.0.1:53"},
		{"an address", "127.0.0.2:80", "", forward.TCP, "127.0.0.2:80"},
		{"IPv6", "[::1]:80", "", forward.TCP, "[::1]:80"},
		{"localhost", "LocalHost:80", "", forward.TCP, "127.0.0.1:80"},
		{"a socket", "unix:/run/x.sock", "", forward.Unix, "/run/x.sock"},
		{"a socket for streams", "unix:/run/x.sock", forward.TCP, forward.Unix, "/run/x.sock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.gotNetwork == forward.Unix {
				t.Skip("other paths")
			}
			n, l, err := forward.ParseListen(tt.in, tt.network)
			if err != nil || n != tt.gotNetwork || l != tt.listen {
				t.Errorf("%q, %q, %v; want %q, %q", n, l, err, tt.gotNetwork, tt.listen)
			}
		})
	}
	for _, in := range []string{
		"", ":", "x", "65536", "-1", "+1", "1:2:3", "host:80", "127.0.0.1:", "fe80::1%eth0:80", "unix:", "unix:x", "unix:/a/../b",
		"unix:/" + strings.Repeat("x", 200), "unix:/a\nb",
	} {
		if n, l, err := forward.ParseListen(in, ""); err == nil {
			t.Errorf("ParseListen(%q) = %q, %q", in, n, l)
		}
	}
	if _, _, err := forward.ParseListen("unix:/x", forward.UDP); err == nil {
		t.Error("datagrams over a Unix socket")
	}
}

// FuzzParseListen: what is accepted is accepted again in the form that is kept.
func FuzzParseListen(f *testing.F) {
	for _, s := range []string{"5432", "[::1]:80", "unix:/run/x", "::1:80", "127.0.0.1:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, l, err := forward.ParseListen(s, "")
		if err != nil {
			return
		}
		again := l
		if n == forward.Unix {
			again = "unix:" + l
		}
		n2, l2, err := forward.ParseListen(again, "")
		if err != nil || n2 != n || l2 != l {
			t.Fatalf("%q is %q, %q; that is %q, %q, %v", s, n, l, n2, l2, err)
		}
	})
}
