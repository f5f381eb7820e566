package sshproxy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os/user"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
	"weft/internal/sshhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything in a test may take before it counts as hanging.
const patience = 20 * time.Second

func newKey(tb testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	tb.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return pub, priv
}

func newSigner(tb testing.TB) ssh.Signer {
	tb.Helper()
	_, priv := newKey(tb)
	s, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// world is a proxy on a loopback listener in front of a target on another.
type world struct {
	t                       testing.TB
	ca                      ssh.Signer
	proxyKey                ssh.Signer
	proxy                   *sshproxy.Proxy
	addr                    string // of the proxy
	target                  string // of the target
	session                 sshproxy.Session
	upstreamIn, upstreamOut atomic.Int64 // bytes that the proxy wrote to and read from the target
	cut                     context.CancelCauseFunc
	results                 chan sshproxy.Result
	serving                 sync.WaitGroup
	mu                      sync.Mutex // guards the following
	events                  []sshproxy.Event
	logins                  []string
	lastUpConn              net.Conn
}

type worldOption func(*world, *sshproxy.Config)

// newWorld starts a proxy whose target is at the given address.
func newWorld(tb testing.TB, ca ssh.Signer, target string, opts ...worldOption) *world {
	tb.Helper()
	w := &world{t: tb, ca: ca, proxyKey: newSigner(tb), target: target, results: make(chan sshproxy.Result, 1000)}
	w.session = sshproxy.Session{
		ID: "s1", Email: "jdoe@company.com", Target: "host-a (10.0.0.1, prod)",
		Authorize: func(login string) access.Decision {
			if login == "mallory" || !knownLogin(login) {
				return access.Decision{Reason: access.LoginNotPermitted}
			}
			return access.Decision{Allow: true, Reason: access.Allowed}
		},
		Certify: func(_ context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
			return w.certificate(pub, login), nil
		},
		CheckHostKey: func(ssh.PublicKey) error { return nil },
		OnLogin: func(login string, _ access.Decision) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.logins = append(w.logins, login)
			return nil
		},
		OnEvent: func(e sshproxy.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	}
	cfg := sshproxy.Config{HostKeys: []ssh.Signer{w.proxyKey}}
	for _, o := range opts {
		o(w, &cfg)
	}
	p, err := sshproxy.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	w.proxy = p
	w.listen()
	return w
}

func knownLogin(login string) bool {
	return slices.Contains([]string{"root", "alice", "nobody-there", currentUser()}, login)
}

func currentUser() string {
	u, err := user.Current()
	if err != nil {
		return "root"
	}
	return u.Username
}

// syncBuffer can be read while a program writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (w *world) certificate(pub ssh.PublicKey, login string) *ssh.Certificate {
	now := time.Now()
	cert := &ssh.Certificate{
		Key: pub, CertType: ssh.UserCert, KeyId: "jdoe@company.com s1", ValidPrincipals: []string{login},
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(2 * time.Minute).Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	if err := cert.SignCert(rand.Reader, w.ca); err != nil {
		w.t.Error(err)
	}
	return cert
}

// countingConn counts what the proxy writes to the target.
type countingConn struct {
	net.Conn
	n, read *atomic.Int64
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.Conn.Write(b)
}

func (w *world) listen() {
	w.t.Helper()
	ln := listenLoopback(w.t)
	w.addr = ln.Addr().String()
	ctx, cut := context.WithCancelCause(context.Background())
	w.cut = cut
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.target)
			if err != nil {
				_ = c.Close()
				continue
			}
			w.mu.Lock()
			w.lastUpConn = up
			session := w.session
			w.mu.Unlock()
			w.serving.Go(func() {
				w.results <- w.proxy.Serve(ctx, c, countingConn{up, &w.upstreamIn, &w.upstreamOut}, session)
			})
		}
	})
	w.t.Cleanup(func() {
		cut(errors.New("test over"))
		_ = ln.Close()
		accepting.Wait()
		w.serving.Wait()
	})
}

func listenLoopback(tb testing.TB) net.Listener {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

// newHost starts an in-process target and returns its address.
func newHost(tb testing.TB, ca ssh.Signer, mod ...func(*sshhost.Config)) string {
	tb.Helper()
	cfg := sshhost.Config{HostKey: newSigner(tb), UserCA: ca.PublicKey(), Users: []string{"root", "alice"}, Name: "host-a"}
	for _, m := range mod {
		m(&cfg)
	}
	h, err := sshhost.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ln := listenLoopback(tb)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, ln) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("host: %v", err)
		}
	})
	return ln.Addr().String()
}

// hostWorld is a world in front of an in-process target.
func hostWorld(tb testing.TB, opts ...worldOption) *world {
	tb.Helper()
	ca := newSigner(tb)
	return newWorld(tb, ca, newHost(tb, ca), opts...)
}

// publish makes what the test wrote to w.session visible to the goroutine that serves it.
func (w *world) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
}

func (w *world) clientConfig(user string) *ssh.ClientConfig {
	w.publish()
	return &ssh.ClientConfig{User: user, HostKeyCallback: ssh.FixedHostKey(w.proxyKey.PublicKey()), Timeout: patience}
}

// dial logs in through the proxy.
func (w *world) dial(user string) *ssh.Client {
	w.t.Helper()
	c, err := ssh.Dial("tcp", w.addr, w.clientConfig(user))
	if err != nil {
		w.t.Fatalf("log in as %s: %v", user, err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func newSSHSession(tb testing.TB, c *ssh.Client) *ssh.Session {
	tb.Helper()
	s, err := c.NewSession()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			tb.Logf("close session: %v", err)
		}
	})
	return s
}

// result waits for the end of a session.
func (w *world) result() sshproxy.Result {
	w.t.Helper()
	select {
	case r := <-w.results:
		return r
	case <-time.After(patience):
		w.t.Fatal("the session did not end")
		return sshproxy.Result{}
	}
}

func (w *world) eventsOf(typ string) []sshproxy.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []sshproxy.Event
	for _, e := range w.events {
		if e.Type == typ {
			out = append(out, e)
		}
	}
	return out
}

// eventually polls cond until it holds.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			tb.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}
