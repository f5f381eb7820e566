package sshhost_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"weft/internal/sshhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type host struct {
	addr   string
	ca     ssh.Signer
	cancel context.CancelFunc
	done   chan error
}

func newHost(t *testing.T, mod func(*sshhost.Config)) *host {
	t.Helper()
	ca := newSigner(t)
	cfg := sshhost.Config{HostKey: newSigner(t), UserCA: ca.PublicKey(), Users: []string{"root", "alice"}, Name: "host-b"}
	if mod != nil {
		mod(&cfg)
	}
	h, err := sshhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := &host{addr: ln.Addr().String(), ca: ca, cancel: cancel, done: make(chan error, 1)}
	go func() { out.done <- h.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-out.done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return out
}

// signer has a certificate, edited before it is signed.
func (h *host) signer(t *testing.T, edit func(*ssh.Certificate)) ssh.Signer {
	t.Helper()
	key := newSigner(t)
	now := time.Now()
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"root"},
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(time.Minute).Unix()),
	}
	if edit != nil {
		edit(cert)
	}
	if err := cert.SignCert(rand.Reader, h.ca); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *host) dial(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
		User: user, Auth: auth, Timeout: patience,
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
	})
}

func (h *host) login(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := h.dial("root", ssh.PublicKeys(h.signer(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newSession(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestHost_OnlyItsCertificates(t *testing.T) {
	h := newHost(t, nil)
	now := time.Now()
	edited := func(edit func(*ssh.Certificate)) ssh.AuthMethod { return ssh.PublicKeys(h.signer(t, edit)) }
	other := &host{ca: newSigner(t)}
	tests := []struct {
		name, user string
		auth       ssh.AuthMethod
		ok         bool
	}{
		{"certificate of the user", "root", edited(nil), true},
		{"of another user", "alice", edited(nil), false},
		{"user does not exist", "bob", edited(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"bob"} }), false},
		{"no principal", "root", edited(func(c *ssh.Certificate) { c.ValidPrincipals = nil }), false},
		{"expired", "root", edited(func(c *ssh.Certificate) { c.ValidBefore = uint64(now.Add(-time.Second).Unix()) }), false},
		{"not yet valid", "root", edited(func(c *ssh.Certificate) { c.ValidAfter = uint64(now.Add(time.Minute).Unix()) }), false},
		{"a host's", "root", edited(func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), false},
		{"a critical option", "root", edited(func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"force-command": "true"}
		}), false},
		{"another CA", "root", ssh.PublicKeys(other.signer(t, nil)), false},
		{"bare key", "root", ssh.PublicKeys(newSigner(t)), false},
		{"the CA's own key", "root", ssh.PublicKeys(h.ca), false},
		{"password", "root", ssh.Password(""), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := h.dial(tt.user, tt.auth)
			if (err == nil) != tt.ok {
				t.Errorf("login: %v, want ok=%v", err, tt.ok)
			}
			if err == nil {
				_ = c.Close()
			}
		})
	}
}

func TestHost_Commands(t *testing.T) {
	c := newHost(t, nil).login(t)
	tests := []struct {
		command, stdin, stdout, stderr string
		status                         int
	}{
		{command: "hostname", stdout: "host-b\n"},
		{command: "whoami", stdout: "root\n"},
		{command: "echo a  b; echo c", stdout: "a b\nc\n"},
		{command: "err x y", stderr: "x y\n"},
		{command: "cat", stdin: "in\x00put", stdout: "in\x00put"},
		{command: "wc", stdin: strings.Repeat("x", 70000), stdout: "70000\n"},
		{command: "seq 3", stdout: "1\n2\n3\n"},
		{command: "seq x", stderr: "one number is wanted\n", status: 2},
		{command: "stream 4", stdout: "\x00\x01\x02\x03"},
		{command: "ticks 2", stdout: "1 host-b\n2 host-b\n"},
		{command: "ticks 0", stderr: "ticks: a positive number is wanted\n", status: 2},
		{command: "exit 42; echo no", status: 42},
		{command: "exit 256", status: 2},
		{command: "size", stderr: "size: not a terminal\n", status: 1},
		{command: "reboot", stderr: "host-b: reboot: not a command of this host\n", status: 127},
		{command: ""},
	}
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			s := newSession(t, c)
			var out, errOut bytes.Buffer
			s.Stdin, s.Stdout, s.Stderr = strings.NewReader(tt.stdin), &out, &errOut
			status := 0
			if err := s.Run(tt.command); err != nil {
				exit, ok := errors.AsType[*ssh.ExitError](err)
				if !ok {
					t.Fatal(err)
				}
				status = exit.ExitStatus()
			}
			if out.String() != tt.stdout || errOut.String() != tt.stderr || status != tt.status {
				t.Errorf("stdout %q, stderr %q, status %d", out.String(), errOut.String(), status)
			}
		})
	}
}

func TestHost_Shell(t *testing.T) {
	c := newHost(t, nil).login(t)
	s := newSession(t, c)
	s.Stdin = strings.NewReader("hostname\nwc\nrest of input")
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil || out.String() != "host-b\n13\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	tty := newSession(t, c)
	tty.Stdin = strings.NewReader("size\rexit 3\r")
	var screen bytes.Buffer
	tty.Stdout = &screen
	if err := tty.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := tty.Shell(); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*ssh.ExitError](tty.Wait())
	want := "root@host-b$ size\r\n80 24\r\nroot@host-b$ exit 3\r\n"
	if !ok || exit.ExitStatus() != 3 || screen.String() != want {
		t.Errorf("%q, %v; want %q", screen.String(), exit, want)
	}
}

func TestHost_SleepEndsWithTheChannel(t *testing.T) {
	h := newHost(t, nil)
	s := newSession(t, h.login(t))
	if err := s.Start("sleep"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err == nil {
		t.Error("sleep reported success")
	}
}

func TestHost_ServeEndsWithContext(t *testing.T) {
	h := newHost(t, nil)
	s := newSession(t, h.login(t))
	var out syncBuffer
	s.Stdout = &out
	if err := s.Start("ticks"); err != nil {
		t.Fatal(err)
	}
	h.cancel()
	select {
	case err := <-h.done:
		h.done <- err
	case <-time.After(patience):
		t.Fatal("Serve did not end")
	}
}

func TestHost_NoForwarding(t *testing.T) {
	c := newHost(t, nil).login(t)
	if conn, err := c.DialContext(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		_ = conn.Close()
		t.Error("forwarded")
	}
}

func TestNew_Config(t *testing.T) {
	key := newSigner(t)
	for _, cfg := range []sshhost.Config{
		{UserCA: key.PublicKey(), Users: []string{"root"}, Name: "x"},
		{HostKey: key, Users: []string{"root"}, Name: "x"},
		{HostKey: key, UserCA: key.PublicKey(), Name: "x"},
		{HostKey: key, UserCA: key.PublicKey(), Users: []string{"root"}},
	} {
		if _, err := sshhost.New(cfg); err == nil {
			t.Errorf("New(%+v) succeeded", cfg)
		}
	}
}

// syncBuffer can be read while it is written to.
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

var _ io.Writer = (*syncBuffer)(nil)
