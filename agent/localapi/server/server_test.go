package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/agent/relay"
	"weft/internal/localsock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	owner = localsock.Caller{UID: 1000, PID: 1}
	other = localsock.Caller{UID: 1001, PID: 2}
	root  = localsock.Caller{UID: 0, PID: 3, Privileged: true}
)

// fakeAgent notes what it was asked.
type fakeAgent struct {
	mu    sync.Mutex // guards what follows
	calls []string
	fail  error
	echo  string // what dials connect to
	hold  chan struct{}
	subs  []*fakeSubscription
}

func (a *fakeAgent) note(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
	return a.fail
}

func (a *fakeAgent) called() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.calls...)
}

func (a *fakeAgent) Version() localapi.Version {
	return localapi.Version{SchemaVersion: 1, Version: "v"}
}

func (a *fakeAgent) Status() localapi.Status {
	return localapi.Status{SchemaVersion: 1, State: localapi.Connected, Notices: []localapi.Notice{}}
}

func (a *fakeAgent) Registration() (localapi.Registration, error) {
	return localapi.Registration{SchemaVersion: 1, Email: "jdoe@company.com"}, a.note("registration")
}

func (a *fakeAgent) Register(_ context.Context, e string) (localapi.Registration, error) {
	return localapi.Registration{SchemaVersion: 1}, a.note("register %s", e)
}
func (a *fakeAgent) Unregister(context.Context) error { return a.note("unregister") }
func (a *fakeAgent) Connect(ctx context.Context) (localapi.Status, error) {
	d, _ := ctx.Deadline()
	return a.Status(), a.note("connect %d", int(time.Until(d).Round(time.Second)/time.Second))
}

func (a *fakeAgent) Disconnect(context.Context) (localapi.Status, error) {
	return a.Status(), a.note("disconnect")
}
func (a *fakeAgent) VNETs() localapi.VNETList { return localapi.VNETList{SchemaVersion: 1} }
func (a *fakeAgent) SelectVNET(_ context.Context, ref string) (localapi.VNETList, error) {
	return a.VNETs(), a.note("select %s", ref)
}

func (a *fakeAgent) Targets(q server.TargetQuery) (localapi.TargetList, error) {
	return localapi.TargetList{SchemaVersion: 1}, a.note("targets %v", q)
}

func (a *fakeAgent) Resolve(name, ref string, port uint16) (localapi.Resolution, error) {
	return localapi.Resolution{SchemaVersion: 1}, a.note("resolve %s %s %d", name, ref, port)
}

type tcpFlow struct{ *net.TCPConn }

func (f tcpFlow) Abort() { relay.Abort(f.TCPConn) }

func (a *fakeAgent) DialFlow(ctx context.Context, d localapi.Dial) (relay.Flow, error) {
	if err := a.note("dial %+v", d); err != nil {
		return nil, err
	}
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.echo)
	if err != nil {
		return nil, err
	}
	return tcpFlow{c.(*net.TCPConn)}, nil
}

type fakeSubscription struct {
	ready  chan struct{}
	events chan localapi.Event
	closed chan struct{}
}

func (a *fakeAgent) Subscribe() (server.Subscription, error) {
	s := &fakeSubscription{ready: make(chan struct{}, 1), events: make(chan localapi.Event, 64), closed: make(chan struct{})}
	st := a.Status()
	s.push(localapi.Event{SchemaVersion: 1, Type: "status", Status: &st})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subs = append(a.subs, s)
	return s, a.fail
}

func (s *fakeSubscription) push(e localapi.Event) {
	s.events <- e
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
func (s *fakeSubscription) Ready() <-chan struct{} { return s.ready }
func (s *fakeSubscription) Take() []localapi.Event {
	var out []localapi.Event
	for {
		select {
		case e := <-s.events:
			out = append(out, e)
		default:
			return out
		}
	}
}
func (s *fakeSubscription) Close() { close(s.closed) }

// callerListener gives connections a caller as localsock does.
type callerListener struct {
	net.Listener
	mu   sync.Mutex
	who  localsock.Caller
	err  error
	late bool
}

type callerConn struct {
	*net.UnixConn
	who  localsock.Caller
	err  error
	late bool // the caller is known once something was read, as on Windows
	read atomic.Bool
}

func (c *callerConn) Read(p []byte) (int, error) {
	c.read.Store(true)
	return c.UnixConn.Read(p)
}

func (c *callerConn) Caller() (localsock.Caller, error) {
	if c.late && !c.read.Load() {
		return localsock.Caller{}, localsock.ErrUnknownPeer
	}
	return c.who, c.err
}

func (l *callerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &callerConn{UnixConn: c.(*net.UnixConn), who: l.who, err: l.err, late: l.late}, nil
}

func (l *callerListener) as(c localsock.Caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.who = c
}

func (l *callerListener) caller() localsock.Caller {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.who
}

type fixture struct {
	agent  *fakeAgent
	server *server.Server
	ln     *callerListener
	path   string
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func setup(tb testing.TB, cfg server.Config) *fixture {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "la") //nolint:usetesting // t.TempDir is too long for a socket on some systems
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fixture{agent: &fakeAgent{}, path: filepath.Join(dir, "s")}
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "unix", f.path)
	must(tb, err)
	f.ln = &callerListener{Listener: ln, who: owner}
	if cfg.Agents == nil {
		cfg.Agent = f.agent
	}
	if cfg.Owner == (localsock.Caller{}) {
		cfg.Owner = owner
	}
	if cfg.Socket == "" {
		cfg.Socket = "/run/user/1000/weft/warp.sock"
	}
	f.server, err = server.New(cfg)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, f.ln) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(10 * time.Second):
			tb.Error("Serve did not end")
		}
	})
	return f
}

func (f *fixture) dial(tb testing.TB) *net.UnixConn {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "unix", f.path)
	must(tb, err)
	must(tb, c.SetDeadline(time.Now().Add(10*time.Second)))
	tb.Cleanup(func() { _ = c.Close() })
	return c.(*net.UnixConn)
}

// request sends raw bytes and returns status and body.
func (f *fixture) request(tb testing.TB, raw string) (int, string) {
	tb.Helper()
	c := f.dial(tb)
	defer func() { _ = c.Close() }()
	_, err := io.WriteString(c, raw)
	must(tb, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(tb, err)
	b, err := io.ReadAll(resp.Body)
	must(tb, err)
	must(tb, resp.Body.Close())
	return resp.StatusCode, string(b)
}

// do sends an ordinary request. An administrator acts for the agent's owner, who must be named.
func (f *fixture) do(tb testing.TB, method, path, body string) (int, string) {
	tb.Helper()
	headers := ""
	if f.ln.caller().Privileged {
		headers = localapi.HeaderForUser + ": " + owner.Account() + "\r\n"
	}
	return f.doWith(tb, method, path, headers, body)
}

func (f *fixture) doWith(tb testing.TB, method, path, headers, body string) (int, string) {
	tb.Helper()
	return f.request(tb, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: local-agent.weft.invalid\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		method, path, headers, len(body), body))
}

func decodeError(tb testing.TB, body string) localapi.Error {
	tb.Helper()
	var e localapi.Error
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.SchemaVersion != 1 || e.Code == "" || e.Message == "" {
		tb.Errorf("not an error object: %q, %v", body, err)
	}
	return e
}

var allRoutes = []struct {
	method, path, body, call string
	operator                 bool // else a reader may; either way only of the own session
}{
	{"GET", "/v1/version", "", "", false},
	{"GET", "/v1/status", "", "", false},
	{"GET", "/v1/registration", "", "registration", false},
	{"POST", "/v1/registration", `{"enrolment":"weft1.x"}`, "register weft1.x", true},
	{"DELETE", "/v1/registration", "", "unregister", true},
	{"POST", "/v1/connect", `{"wait_seconds":5}`, "connect 5", true},
	{"POST", "/v1/connect", ``, "connect 30", true},
	{"POST", "/v1/disconnect", `{}`, "pause 0s", true},
	{"POST", "/v1/disconnect", `{"for_seconds":60}`, "pause 1m0s", true},
	{"GET", "/v1/flows?vnet=a&target=b&target=c", "", "flows [a] [b c]", true},
	{"POST", "/v1/flows/close", `{"id":"7"}`, "close flows {ID:7 All:false VNET:}", true},
	{"GET", "/v1/settings", "", "", false},
	{"POST", "/v1/settings", `{"name":"a","value":"b"}`, "set a b", true},
	{"POST", "/v1/settings/reset", `{"names":["a"]}`, "reset [a]", true},
	{"GET", "/v1/mdm", "", "", false},
	{"POST", "/v1/mdm/refresh", `{}`, "refresh managed", true},
	{"GET", "/v1/tunnel", "", "", false},
	{"POST", "/v1/tunnel/rotate_keys", `{}`, "rotate keys", true},
	{"GET", "/v1/devices", "", "devices", true},
	{"GET", "/v1/debug/connectivity", "", "", true},
	{"GET", "/v1/debug/network", "", "", false},
	{"GET", "/v1/debug/runtime?stacks=true", "", "", true},
	{"GET", "/v1/vnet", "", "", false},
	{"POST", "/v1/vnet", `{"vnet":"b1net"}`, "select b1net", true},
	{"GET", "/v1/targets?attribute=a%3Db&attribute=c%3Dd&port=22&hostname=w*&ip=10.0.0.0/8", "", "targets {[a=b c=d] [] [w*] [] [22] [] [] [10.0.0.0/8]}", false},
	{"GET", "/v1/resolve?name=db&vnet=b1net&port=22", "", "resolve db b1net 22", false},
	{"GET", "/v1/ssh-host?name=db&port=22", "", "ssh host db 22", false},
	{"GET", "/v1/forwards", "", "", false},
	{"POST", "/v1/forwards", `{"listen":"0","target":"db"}`, "forward 0 to db", true},
	{"DELETE", "/v1/forwards?name=db", "", "no forward db", true},
}

func TestServer_Routes(t *testing.T) {
	for _, rt := range allRoutes {
		t.Run(rt.method+rt.path+rt.body, func(t *testing.T) {
			f := setup(t, server.Config{})
			for _, who := range []localsock.Caller{owner, root} {
				f.ln.as(who)
				status, body := f.do(t, rt.method, rt.path, rt.body)
				if status != 200 || !strings.Contains(body, `"schema_version":1`) {
					t.Errorf("as %s: status %d, %s", who, status, body)
				}
			}
			if calls := f.agent.called(); rt.call != "" && (len(calls) != 2 || calls[0] != rt.call) {
				t.Errorf("calls %q; want %q", calls, rt.call)
			}
			f.agent.calls = nil
			f.ln.as(other)
			status, body := f.do(t, rt.method, rt.path, rt.body)
			e := decodeError(t, body)
			if status != 403 || e.Code != localapi.CodePermission || !strings.Contains(e.Hint, "sudo -u '#1000' warp-cli --socket /run/user/1000/weft/warp.sock ") {
				t.Errorf("as another user: status %d, %+v", status, e)
			}
			if calls := f.agent.called(); len(calls) != 0 {
				t.Errorf("and the agent was asked: %q", calls)
			}
		})
	}
}

func TestServer_UnknownCaller(t *testing.T) {
	f := setup(t, server.Config{})
	f.ln.mu.Lock()
	f.ln.err = localsock.ErrUnknownPeer
	f.ln.mu.Unlock()
	for _, rt := range allRoutes {
		if status, body := f.do(t, rt.method, rt.path, rt.body); status != 403 {
			t.Errorf("%s %s: status %d, %s", rt.method, rt.path, status, body)
		}
	}
	if calls := f.agent.called(); len(calls) != 0 {
		t.Errorf("the agent was asked: %q", calls)
	}
}

func TestServer_BadRequests(t *testing.T) {
	post := func(path, headers, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", path, headers, len(body), body)
	}
	for _, tt := range []struct {
		name, raw string
		status    int
		code      string
	}{
		{"browser page", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403, localapi.CodePermission},
		{"null origin", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", 403, localapi.CodePermission},
		{"empty origin", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nOrigin:\r\n\r\n", 403, localapi.CodePermission},
		{"rebound name", "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, localapi.CodePermission},
		{"with a port", "GET /v1/status HTTP/1.1\r\nHost: localhost:80\r\n\r\n", 403, localapi.CodePermission},
		{"no host", "GET /v1/status HTTP/1.0\r\n\r\n", 403, localapi.CodePermission},
		{"unknown path", "GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not_found"},
		{"wrong method", "PUT /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "invalid"},
		{"unknown parameter", "GET /v1/targets?colour=x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "invalid"},
		{"parameter where none is", "GET /v1/status?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "invalid"},
		{"port out of range", "GET /v1/resolve?name=a&port=70000 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "invalid"},
		{"not JSON", post("/v1/vnet", "", "b1net"), 400, "invalid"},
		{"unknown field", post("/v1/vnet", "", `{"vnet":"a","force":true}`), 400, "invalid"},
		{"two objects", post("/v1/vnet", "", `{"vnet":"a"}{"vnet":"b"}`), 400, "invalid"},
		{"an array", post("/v1/vnet", "", `[]`), 400, "invalid"},
		{"a form", post("/v1/vnet", "Content-Type: application/x-www-form-urlencoded\r\n", `{"vnet":"a"}`), 400, "invalid"},
		{"too large", post("/v1/vnet", "", `{"vnet":"`+strings.Repeat("x", 70<<10)+`"}`), 400, "invalid"},
		{"negative wait", post("/v1/connect", "", `{"wait_seconds":-1}`), 400, "invalid"},
		{"endless wait", post("/v1/connect", "", `{"wait_seconds":86400}`), 400, "invalid"},
		{"dial without upgrade", post("/v1/dial", "", `{"name":"a","port":22}`), 400, "invalid"},
		{"dial without port", post("/v1/dial", "Connection: Upgrade\r\nUpgrade: weft-stream\r\n", `{"name":"a"}`), 400, "invalid"},
		{"dial of port 65536", post("/v1/dial", "Connection: Upgrade\r\nUpgrade: weft-stream\r\n", `{"name":"a","port":65536}`), 400, "invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t, server.Config{})
			status, body := f.request(t, tt.raw)
			if e := decodeError(t, body); status != tt.status || e.Code != tt.code {
				t.Errorf("status %d, %+v; want %d, %s", status, e, tt.status, tt.code)
			}
			if calls := f.agent.called(); len(calls) != 0 {
				t.Errorf("the agent was asked: %q", calls)
			}
		})
	}
}

func TestServer_HeaderLimit(t *testing.T) {
	f := setup(t, server.Config{})
	c := f.dial(t)
	_, _ = io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestServer_Errors(t *testing.T) {
	f := setup(t, server.Config{})
	f.agent.fail = fault.New(localapi.CodeNotRegistered, "this device is not registered").WithHint("run: x").WithCause(errors.New("secret detail"))
	status, body := f.do(t, "GET", "/v1/registration", "")
	if e := decodeError(t, body); status != 409 || e.Code != localapi.CodeNotRegistered || e.Hint != "run: x" || strings.Contains(body, "secret") {
		t.Errorf("status %d, %s", status, body)
	}
	f.agent.fail = errors.New("open /secret/path: no such file")
	status, body = f.do(t, "GET", "/v1/registration", "")
	if e := decodeError(t, body); status != 500 || e.Code != "internal" || strings.Contains(body, "secret") {
		t.Errorf("status %d, %s", status, body)
	}
}

func TestServer_SlowBody(t *testing.T) {
	f := setup(t, server.Config{BodyTimeout: 50 * time.Millisecond})
	status, body := f.request(t, "POST /v1/vnet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	if e := decodeError(t, body); status != 400 || e.Code != "invalid" {
		t.Errorf("status %d, %s", status, body)
	}
}
