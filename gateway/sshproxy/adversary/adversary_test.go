package adversary_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
	"weft/gateway/sshproxy/adversary"
	"weft/internal/sshhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take before it counts as hanging.
const patience = 30 * time.Second

// TestAttacks runs the table against a proxy in this process: what is not met as the table says fails, what crashes the
// proxy ends the test program, and what leaves a session or a goroutine behind fails too.
func TestAttacks(t *testing.T) {
	for _, k := range adversary.Attacks() {
		t.Run(k.Area+"/"+k.Name, func(t *testing.T) {
			w := newWorld(t, k, newHost)
			k.Run(t, w.arena())
			if k.Target == nil && k.Control == nil {
				w.arena().Honest(t)
			}
		})
	}
}

// TestAttacks_OpenSSH has a real sshd behind the proxy, where the attack gets that far.
func TestAttacks_OpenSSH(t *testing.T) {
	for _, k := range adversary.Attacks() {
		if k.Target != nil || !slices.Contains([]string{"login", "certificate", "forwarding", "program", "channel"}, k.Area) {
			continue
		}
		t.Run(k.Area+"/"+k.Name, func(t *testing.T) {
			if k.Name == "forced terminal" && os.Geteuid() != 0 {
				t.Skip("sshd gives a terminal to the group tty, which it may only as root")
			}
			w := newWorld(t, k, newSSHD)
			k.Run(t, w.arena())
			if k.Control == nil {
				w.arena().Honest(t)
			}
		})
	}
}

// world is a proxy between an attacker and a target.
type world struct {
	t       testing.TB
	ca      ssh.Signer
	login   string
	proxy   *sshproxy.Proxy
	addr    string
	reached atomic.Int64
	mu      sync.Mutex
	record  []string // guarded by mu: entries as JSON
}

func newWorld(t *testing.T, k adversary.Attack, target func(*testing.T, *world) string) *world {
	t.Helper()
	w := &world{t: t, ca: newSigner(t), login: "root"}
	var address string
	if k.Target != nil {
		address = newEvilTarget(t, k.Target)
	} else {
		address = target(t, w)
	}
	cfg := sshproxy.Config{HostKeys: []ssh.Signer{newSigner(t)}}
	if k.Limits != nil {
		cfg.Limits = *k.Limits
	}
	var err error
	if w.proxy, err = sshproxy.New(cfg); err != nil {
		t.Fatal(err)
	}
	w.serve(address, k)
	return w
}

func (w *world) arena() *adversary.Arena {
	return &adversary.Arena{
		Login: w.login,
		Dial: func(tb testing.TB) net.Conn {
			tb.Helper()
			c, err := (&net.Dialer{Timeout: patience}).DialContext(tb.Context(), "tcp", w.addr)
			if err != nil {
				tb.Fatal(err)
			}
			return c
		},
		Recorded: func(_ testing.TB, words ...string) bool { return w.recorded(words) },
		Stats:    func(testing.TB) sshproxy.Stats { return w.proxy.Stats() },
		Reached:  w.reached.Load,
		Heap: func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		},
	}
}

// put keeps an entry, in the words of the gateway's audit log.
func (w *world) put(event string, detail any) {
	b, err := json.Marshal(map[string]any{"event": event, "detail": detail})
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record = append(w.record, string(b))
}

func (w *world) recorded(words []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.record, func(entry string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(entry, adversary.InRecord(word)) })
	})
}

func (w *world) session(k adversary.Attack) sshproxy.Session {
	return sshproxy.Session{
		ID: "s1", Email: "jdoe@company.com", Target: "web-1 (10.20.0.5, office)",
		Authorize: func(login string) access.Decision {
			if login != w.login {
				return access.Decision{Reason: access.LoginNotPermitted}
			}
			return access.Decision{Allow: true, Reason: access.Allowed, Policy: &access.Policy{Name: "engineers", SSH: k.Rules}}
		},
		Certify: func(_ context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
			cert := w.certificate(pub, login)
			if k.Control != nil {
				cert = k.Control(cert, w.ca)
			}
			return cert, nil
		},
		CheckHostKey: func(ssh.PublicKey) error { return nil },
		OnLogin: func(login string, d access.Decision) error {
			event := "ssh_denied"
			if d.Allow {
				event = "ssh_login"
			}
			w.put(event, login)
			return nil
		},
		OnEvent: func(e sshproxy.Event) { w.put(e.Type, e.Detail) },
	}
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

// counted counts what the proxy sends to the target.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// serve accepts until the test ends, and sees that every session ends then.
func (w *world) serve(target string, k adversary.Attack) {
	w.t.Helper()
	ln := listen(w.t)
	w.addr = ln.Addr().String()
	ctx, cut := context.WithCancelCause(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
			if err != nil {
				_ = c.Close()
				continue
			}
			serving.Go(func() { w.proxy.Serve(ctx, c, counted{up, &w.reached}, w.session(k)) })
		}
	})
	w.t.Cleanup(func() {
		cut(errors.New("the test is over"))
		_ = ln.Close()
		done := make(chan struct{})
		go func() { serving.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			w.t.Error("a session goes on after its end")
		}
	})
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

func newSigner(tb testing.TB) ssh.Signer {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// newHost is an honest target in this process.
func newHost(t *testing.T, w *world) string {
	t.Helper()
	h, err := sshhost.New(sshhost.Config{
		HostKey: newSigner(t), UserCA: w.ca.PublicKey(), Users: []string{w.login}, Name: "web-1", Handshake: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("host: %v", err)
		}
	})
	return ln.Addr().String()
}

// newEvilTarget is one in the attacker's hands.
func newEvilTarget(t *testing.T, serve func(*ssh.ServerConn, <-chan ssh.NewChannel)) string {
	t.Helper()
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(newSigner(t))
	ln := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
				if err != nil {
					return
				}
				wg.Go(func() { ssh.DiscardRequests(reqs) })
				serve(conn, chans)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

var update = os.Getenv("UPDATE_DOCS") != ""

// TestDocument holds docs/ssh-threats.md to the table.
func TestDocument(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "ssh-threats.md")
	want := adversary.Document()
	if update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/ssh-threats.md is not what the table says (%v); UPDATE_DOCS=1 writes it", err)
	}
}

// TestNames: each attack is found by its name.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range adversary.Attacks() {
		name := k.Area + "/" + k.Name
		if seen[name] || k.Area == "" || k.Name == "" || k.Does == "" || k.Answer == "" || k.Record == "" || k.Run == nil {
			t.Errorf("%s: there twice, or not complete", name)
		}
		seen[name] = true
	}
}

const sshdPath = "/usr/sbin/sshd"

// newSSHD is a stock sshd that runs as the current user, or skips.
func newSSHD(t *testing.T, w *world) string {
	t.Helper()
	if _, err := exec.LookPath(sshdPath); err != nil {
		t.Skip("the OpenSSH server is not installed")
	}
	return startSSHD(t, w)
}
