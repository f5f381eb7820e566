package host_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"weft/agent/localapi/server"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

// owners says whose a connection to the proxy is, in place of the kernel.
type owners struct {
	mu  sync.Mutex // guards what follows
	who localsock.Caller
	err error
}

func (o *owners) set(uid uint32, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.who, o.err = localsock.Caller{UID: uid, Privileged: uid == 0}, err
}

func (o *owners) peer(net.Conn) (localsock.Caller, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.who, o.err
}

// ask connects through the proxy to the port that says whose tunnel it is.
func ask(t *testing.T, via string) (string, error) {
	t.Helper()
	d, err := proxy.SOCKS5("tcp", via, nil, proxy.Direct)
	must(t, err)
	c, err := d.(proxy.ContextDialer).DialContext(t.Context(), "tcp", fmt.Sprintf("web-1:%d", namePort))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	b, err := io.ReadAll(c)
	return strings.TrimSpace(string(b)), err
}

func TestFront_RoutesByOwner(t *testing.T) {
	acme, globex := newOrg(t, "acme"), newOrg(t, "globex")
	o := &owners{}
	cfg := testConfig(t)
	cfg.TCPPeer = o.peer
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.join("1001", "", acme.enrolment("bob@acme"))
	_, err := h.AddProfile(t.Context(), "1000", "globex")
	must(t, err)
	h.join("1000", "globex", globex.enrolment("alice@globex"))
	check := func(what string, uid uint32, err error, want, fails string) {
		t.Helper()
		o.set(uid, err)
		got, err := ask(t, h.ready.Proxy)
		if got != want || (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Errorf("%s: %q, %v; want %q, %q", what, got, err, want, fails)
		}
	}
	check("alice", 1000, nil, "acme alice@acme", "")
	check("bob", 1001, nil, "acme bob@acme", "")
	check("somebody without a registration", 1002, nil, "", "network unreachable")
	check("nobody knows who", 0, localsock.ErrUnknownPeer, "", "not allowed by ruleset")
	if n := h.Stats().ProxyUnknown; n != 1 {
		t.Errorf("%d counted", n)
	}
	_, err = h.UseProfile(t.Context(), "1000", "globex")
	must(t, err)
	check("alice in another profile", 1000, nil, "globex alice@globex", "")
	for profile, want := range map[string]string{"globex": h.ready.Proxy, "default": ""} {
		if st := h.statusOf("1000", profile); st.ProxyAddress != want {
			t.Errorf("profile %s shows the proxy at %q; want %q", profile, st.ProxyAddress, want)
		}
	}
}

func TestFront_AllUsers(t *testing.T) {
	acme := newOrg(t, "acme")
	o := &owners{}
	cfg := testConfig(t)
	cfg.TCPPeer, cfg.Agent.ProxyAllUsers = o.peer, true
	h := start(t, cfg)
	h.join("0", "", acme.enrolment("root@acme"))
	h.join("1000", "", acme.enrolment("alice@acme"))
	for _, tt := range []struct {
		name string
		uid  uint32
		err  error
		want string
	}{
		{"a user with a registration", 1000, nil, "acme alice@acme"},
		{"a user without one", 1001, nil, "acme root@acme"},
		{"nobody knows who", 0, localsock.ErrUnknownPeer, "acme root@acme"},
	} {
		o.set(tt.uid, tt.err)
		if got, err := ask(t, h.ready.Proxy); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// TestFront_PerUserService: the proxy of an ordinary user's service is that user's and root's.
func TestFront_PerUserService(t *testing.T) {
	acme := newOrg(t, "acme")
	o := &owners{}
	cfg := testConfig(t)
	cfg.TCPPeer, cfg.Owner = o.peer, &localsock.Caller{UID: 1000}
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	for uid, want := range map[uint32]string{1000: "acme alice@acme", 0: "acme alice@acme", 1001: ""} {
		o.set(uid, nil)
		if got, err := ask(t, h.ready.Proxy); got != want || (err == nil) != (want != "") {
			t.Errorf("uid %d: %q, %v; want %q", uid, got, err, want)
		}
	}
}

// TestFront_PerUserServiceWithoutNames: where the kernel does not tell, the port of an ordinary user's service is that
// user's, whoever comes.
func TestFront_PerUserServiceWithoutNames(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	cfg.NoTCPPeer, cfg.Owner = true, &localsock.Caller{UID: 1000}
	cfg.TCPPeer = func(net.Conn) (localsock.Caller, error) { return localsock.Caller{}, errors.ErrUnsupported }
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	if got, err := ask(t, h.ready.Proxy); err != nil || got != "acme alice@acme" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFront_OwnPorts: where the kernel does not tell, each session of a service has a port of its own and keeps it.
func TestFront_OwnPorts(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	cfg.NoTCPPeer = true
	cfg.TCPPeer = func(net.Conn) (localsock.Caller, error) { return localsock.Caller{}, errors.ErrUnsupported }
	cfg.Agent.ProxyListen = freePort(t)
	h := start(t, cfg)
	if h.ready.Proxy != "" {
		t.Errorf("there is a shared port at %s", h.ready.Proxy)
	}
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.join("1001", "", acme.enrolment("bob@acme"))
	addrs := func() [2]string {
		return [2]string{h.statusOf("1000", "").ProxyAddress, h.statusOf("1001", "").ProxyAddress}
	}
	before := addrs()
	if before[0] == before[1] || before[0] == "" || before[1] == "" {
		t.Fatalf("ports %v", before)
	}
	for i, want := range []string{"acme alice@acme", "acme bob@acme"} {
		if got, err := ask(t, before[i]); err != nil || got != want {
			t.Errorf("at %s: %q, %v; want %q", before[i], got, err, want)
		}
	}
	h = h.restart()
	if after := addrs(); after != before {
		t.Errorf("ports %v after a restart; want %v", after, before)
	}
}

// TestFront_OwnPortAsksToo: a port that is a session's own is that user's, where the kernel tells who comes.
func TestFront_OwnPortAsksToo(t *testing.T) {
	o := &owners{}
	cfg := testConfig(t)
	cfg.TCPPeer = o.peer
	h := start(t, cfg)
	h.statusOf("1000", "")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	for _, tt := range []struct {
		name string
		uid  uint32
		err  error
		want bool
	}{
		{"the session's user", 1000, nil, true},
		{"root", 0, nil, true},
		{"another user", 1001, nil, false},
		{"nobody knows who", 1000, localsock.ErrUnknownPeer, false},
	} {
		o.set(tt.uid, tt.err)
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
		must(t, err)
		if err := h.MayUseProxyForTest(c, "1000"); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		must(t, c.Close())
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, ln.Close()) }()
	return netip.MustParseAddrPort(ln.Addr().String()).String()
}

// TestFront_Limit: connections beyond those that can be sorted are closed and counted.
func TestFront_Limit(t *testing.T) {
	hold := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(hold) })
	cfg := testConfig(t)
	cfg.TCPPeer = func(net.Conn) (localsock.Caller, error) {
		<-hold
		return localsock.Caller{}, localsock.ErrUnknownPeer
	}
	h := start(t, cfg)
	t.Cleanup(letGo)
	for range 300 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.ready.Proxy)
		if err != nil {
			continue // reset before the dialer looked
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	testwait.Until(t, "the rest is closed", func() bool { return h.Stats().ProxyOver == 300-256 })
	letGo()
	testwait.Until(t, "the others are refused", func() bool { return h.Stats().ProxyUnknown == 256 })
}

// TestFront_SessionEnds: a connection does not wait for ever for a session that does not take it.
func TestFront_SessionEnds(t *testing.T) {
	acme := newOrg(t, "acme")
	o := &owners{}
	o.set(1000, nil)
	cfg := testConfig(t)
	cfg.TCPPeer, cfg.IdleAfter = o.peer, 20*time.Millisecond
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.with("1000", "", func(a server.Agent) {
		_, err := a.Pause(t.Context(), 0)
		must(t, err)
	})
	for range 20 { // between drops and starts
		if got, err := ask(t, h.ready.Proxy); err == nil {
			t.Errorf("an answer without a tunnel: %q", got)
		}
	}
}
