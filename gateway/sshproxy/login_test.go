package sshproxy_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
	"weft/internal/kind"
)

// attempt logs in and returns the banners that came, and the error.
func (w *world) attempt(user string, auth ...ssh.AuthMethod) (banner string, err error) {
	w.t.Helper()
	cfg := w.clientConfig(user)
	cfg.Auth = auth
	cfg.BannerCallback = func(msg string) error { banner += msg; return nil }
	c, err := ssh.Dial("tcp", w.addr, cfg)
	if err == nil {
		err = c.Close()
		return banner, err
	}
	return banner, err
}

// wantFailure logs in, and wants it to fail with a banner that has all parts.
func (w *world) wantFailure(t *testing.T, user string, parts ...string) sshproxy.Result {
	t.Helper()
	banner, err := w.attempt(user)
	// The client goes on from the failure to report it only when it has read both.
	if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("login = %v, want an authentication failure", err)
	}
	for _, p := range parts {
		if !strings.Contains(banner, p) {
			t.Errorf("banner %q lacks %q", banner, p)
		}
	}
	r := w.result()
	if r.Err == nil {
		t.Error("result has no error")
	}
	return r
}

func (w *world) wantUntouched(t *testing.T) {
	t.Helper()
	if n := w.upstreamIn.Load(); n != 0 {
		t.Errorf("%d bytes reached the target", n)
	}
}

func TestLogin_EveryMethodLeadsIn(t *testing.T) {
	tests := []struct {
		name string
		auth []ssh.AuthMethod
	}{
		{"none", nil},
		{"password", []ssh.AuthMethod{ssh.Password("whatever")}},
		{"public key", []ssh.AuthMethod{ssh.PublicKeys(newSigner(t))}},
		{"keyboard-interactive", []ssh.AuthMethod{ssh.KeyboardInteractive(
			func(string, string, []string, []bool) ([]string, error) { return nil, nil })}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := hostWorld(t)
			if banner, err := w.attempt("root", tt.auth...); err != nil || banner != "" {
				t.Errorf("%v, banner %q", err, banner)
			}
			if r := w.result(); r.Err != nil || r.Login != "root" {
				t.Errorf("result %+v", r)
			}
		})
	}
}

func TestLogin_Refused(t *testing.T) {
	w := hostWorld(t)
	r := w.wantFailure(t, "mallory", `weft: login to host-a (10.0.0.1, prod) as "mallory" refused: `, "as this UNIX user")
	w.wantUntouched(t)
	if r.Refused == nil || r.Refused.Reason != access.LoginNotPermitted || r.Login != "mallory" {
		t.Errorf("result %+v", r)
	}
	if got := w.proxy.Stats(); got.LoginsRefused != 1 || got.LoginsAllowed != 0 {
		t.Errorf("stats %+v", got)
	}
}

// A client that goes on after the refusal is hung up on, before it asks its user for a password.
func TestLogin_SecondTryAfterRefusal(t *testing.T) {
	w := hostWorld(t)
	asked := 0
	inner := w.session.Authorize
	w.session.Authorize = func(login string) access.Decision { asked++; return inner(login) }
	if _, err := w.attempt("mallory", ssh.Password("a"), ssh.PublicKeys(newSigner(t))); err == nil {
		t.Error("logged in")
	}
	w.result()
	w.wantUntouched(t)
	if asked != 1 || len(w.logins) != 1 {
		t.Errorf("decided %d times, recorded %d times, want once each", asked, len(w.logins))
	}
}

func TestLogin_NamesArePassedExactly(t *testing.T) {
	names := []string{
		"Root", "ROOT", " root", "root ", "root\x00", "root\x00alice", "root\n", "root:host-b", "root@host-b", "root%host-b",
		"-oProxyCommand=id", "../root", "r\u043e\u043et", "ro\u200bot", "\xff\xfe", "root\x1b[2J", strings.Repeat("a", 256),
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			w := hostWorld(t)
			var asked []string
			inner := w.session.Authorize
			w.session.Authorize = func(login string) access.Decision { asked = append(asked, login); return inner(login) }
			banner, err := w.attempt(name)
			if err == nil {
				t.Error("logged in")
			}
			w.result()
			if !slices.Equal(asked, []string{name}) || !slices.Equal(w.logins, []string{name}) {
				t.Errorf("asked for %q, recorded %q, want %q", asked, w.logins, name)
			}
			if strings.ContainsAny(banner, "\x00\x1b") || !strings.HasPrefix(banner, "weft: ") {
				t.Errorf("banner %q", banner)
			}
			w.wantUntouched(t)
		})
	}
}

// The empty name asks access.Evaluate something else, so that the answer must not be used.
func TestLogin_EmptyAndLongNamesAreNotAsked(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("a", 257), strings.Repeat("a", 100_000)} {
		w := hostWorld(t)
		w.session.Authorize = func(string) access.Decision {
			t.Error("asked")
			return access.Decision{Allow: true}
		}
		r := w.wantFailure(t, name, "refused: the user name is")
		if r.Refused == nil || len(w.logins) != 1 || len(w.logins[0]) > 300 {
			t.Errorf("result %+v, recorded %d", r, len(w.logins))
		}
		w.wantUntouched(t)
	}
}

func TestLogin_NotOnRecord(t *testing.T) {
	w := hostWorld(t)
	w.session.OnLogin = func(string, access.Decision) error { return errors.New("disk full") }
	r := w.wantFailure(t, "root", "cannot record it")
	if !strings.Contains(r.Err.Error(), "disk full") {
		t.Errorf("error %v", r.Err)
	}
	w.wantUntouched(t)
}

func TestLogin_RecordedBeforeUpstream(t *testing.T) {
	w := hostWorld(t)
	w.session.OnLogin = func(_ string, d access.Decision) error {
		w.wantUntouched(t)
		if !d.Allow {
			t.Error("recorded a refusal")
		}
		return nil
	}
	if _, err := w.attempt("root"); err != nil {
		t.Error(err)
	}
}

func TestLogin_Certificate(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name string
		edit func(c *ssh.Certificate)
		want string // in the error
	}{
		{"two principals", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"root", "alice"} }, "principals"},
		{"no principal", func(c *ssh.Certificate) { c.ValidPrincipals = nil }, "principals"},
		{"another principal", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"alice"} }, "principals"},
		{"expired", func(c *ssh.Certificate) {
			c.ValidAfter, c.ValidBefore = uint64(now.Add(-2*time.Minute).Unix()), uint64(now.Add(-time.Minute).Unix())
		}, "valid from"},
		{"not yet valid", func(c *ssh.Certificate) {
			c.ValidAfter, c.ValidBefore = uint64(now.Add(time.Minute).Unix()), uint64(now.Add(2*time.Minute).Unix())
		}, "valid from"},
		{"too long", func(c *ssh.Certificate) { c.ValidBefore = c.ValidAfter + 181 }, "longer than"},
		{"for ever", func(c *ssh.Certificate) { c.ValidAfter, c.ValidBefore = 0, ssh.CertTimeInfinity }, "longer than"},
		{"backwards", func(c *ssh.Certificate) { c.ValidBefore = c.ValidAfter - 1 }, "longer than"},
		{"a host's", func(c *ssh.Certificate) { c.CertType = ssh.HostCert }, "certificate type"},
		{"another key", func(c *ssh.Certificate) { c.Key = newSigner(t).PublicKey() }, "another key"},
		{"an unknown critical option", func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"verify-required": ""} }, "unknown critical option"},
		{"a forced command", func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "id"} }, "unknown critical option"},
		{"an unknown extension", func(c *ssh.Certificate) { c.Extensions["permit-user-rc"] = "" }, "unknown extension"},
		{"an extension with a value", func(c *ssh.Certificate) { c.Extensions["permit-pty"] = "yes" }, "unknown extension"},
		{"reserved bytes", func(c *ssh.Certificate) { c.Reserved = []byte{1} }, "reserved"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := hostWorld(t)
			w.session.Certify = func(_ context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
				c := w.certificate(pub, login)
				tt.edit(c)
				return c, c.SignCert(rand.Reader, w.ca)
			}
			r := w.wantFailure(t, "root", "failed: no certificate")
			if !strings.Contains(r.Err.Error(), tt.want) {
				t.Errorf("error %q lacks %q", r.Err, tt.want)
			}
			w.wantUntouched(t)
		})
	}
}

// A certificate that was changed on its way is not shown to the target.
func TestLogin_AlteredCertificate(t *testing.T) {
	w := hostWorld(t)
	w.session.Certify = func(_ context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
		c := w.certificate(pub, login)
		c.KeyId += "x"
		return c, nil
	}
	w.wantFailure(t, "root", "failed: no certificate")
	w.wantUntouched(t)
}

func TestLogin_NoCertificate(t *testing.T) {
	w := hostWorld(t)
	w.session.Certify = func(context.Context, ssh.PublicKey, string) (*ssh.Certificate, error) {
		return nil, kind.New(kind.Unavailable, "the control plane does not answer").WithCause(errors.New("10.9.9.9 secret detail"))
	}
	w.wantFailure(t, "root", "failed: no certificate: the control plane does not answer\n")
	w.session.Certify = func(context.Context, ssh.PublicKey, string) (*ssh.Certificate, error) { return nil, nil }
	w.wantFailure(t, "root", "ask the administrator")
	w.wantUntouched(t)
}

func TestLogin_HostKeyChanged(t *testing.T) {
	w := hostWorld(t)
	w.session.CheckHostKey = func(ssh.PublicKey) error {
		return kind.New(kind.Denied, "the host key of host-a changed").WithHint("run: weft hostkey accept")
	}
	r := w.wantFailure(t, "root", "the host key of host-a changed (run: weft hostkey accept)", "administrator")
	if r.Refused != nil {
		t.Error("counts as refused by policy")
	}
	w.session.CheckHostKey = func(ssh.PublicKey) error { return errors.New("pin mismatch") }
	w.wantFailure(t, "root", "is not the one on record")
}

func TestLogin_TargetDoesNotTrustCA(t *testing.T) {
	w := newWorld(t, newSigner(t), newHost(t, newSigner(t)))
	w.wantFailure(t, "root", "did not accept the certificate", "TrustedUserCAKeys")
	if got := w.proxy.Stats(); got.LoginsFailed != 1 || got.LoginsRefused != 0 {
		t.Errorf("stats %+v", got)
	}
}

// silentTarget accepts connections, reads, and says only greeting.
func silentTarget(t *testing.T, greeting string) string {
	t.Helper()
	ln := listenLoopback(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(greeting))
			b := make([]byte, 1024)
			for {
				if _, err := c.Read(b); err != nil {
					break
				}
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func limit(l sshproxy.Limits) worldOption {
	return func(_ *world, c *sshproxy.Config) { c.Limits = l }
}

func TestLogin_TargetIsSilent(t *testing.T) {
	w := newWorld(t, newSigner(t), silentTarget(t, ""), limit(sshproxy.Limits{Handshake: 300 * time.Millisecond}))
	w.wantFailure(t, "root", "the SSH handshake took too long")
}

func TestLogin_TargetIsNotSSH(t *testing.T) {
	w := newWorld(t, newSigner(t), silentTarget(t, "HTTP/1.1 400 Bad Request\r\n\r\n"+strings.Repeat("x", 70000)))
	w.wantFailure(t, "root", "does not complete an SSH handshake")
}

func TestLogin_ClientIsSilent(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{Handshake: 100 * time.Millisecond}))
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if r := w.result(); !kind.Is(r.Err, kind.Timeout) {
		t.Errorf("error %v", r.Err)
	}
	if got := w.proxy.Stats(); got.HandshakesFailed != 1 {
		t.Errorf("stats %+v", got)
	}
	w.wantUntouched(t)
}

func TestLogin_AuthenticationTimeout(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{Authentication: 300 * time.Millisecond}))
	w.session.Certify = func(ctx context.Context, _ ssh.PublicKey, _ string) (*ssh.Certificate, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.wantFailure(t, "root", "the login took too long")
}

func TestLogin_TooManyBytes(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{PreAuthBytes: 100}))
	if _, err := w.attempt("root"); err == nil {
		t.Error("logged in")
	}
	w.result()
	if got := w.proxy.Stats(); got.PreAuthOverflows != 1 {
		t.Errorf("stats %+v", got)
	}
	w.wantUntouched(t)
}

// A client that leaves while the target is being logged in to ends that login.
func TestLogin_ClientLeaves(t *testing.T) {
	w := hostWorld(t)
	inside := make(chan struct{})
	w.session.Certify = func(ctx context.Context, _ ssh.PublicKey, _ string) (*ssh.Certificate, error) {
		close(inside)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	cfg := w.clientConfig("root")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, _, _, err := ssh.NewClientConn(conn, w.addr, cfg); err == nil {
			t.Error("logged in")
		}
	}()
	<-inside
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if r := w.result(); r.Err == nil {
		t.Error("result has no error")
	}
	w.wantUntouched(t)
}

func TestLogin_CutMeanwhile(t *testing.T) {
	w := hostWorld(t)
	inside := make(chan struct{})
	w.session.Certify = func(ctx context.Context, _ ssh.PublicKey, _ string) (*ssh.Certificate, error) {
		close(inside)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	go func() {
		<-inside
		w.cut(kind.New(kind.Denied, "your device was revoked"))
	}()
	w.wantFailure(t, "root", "your device was revoked")
	w.wantUntouched(t)
}

func TestNew_Config(t *testing.T) {
	for _, cfg := range []sshproxy.Config{{}, {HostKeys: []ssh.Signer{nil}}} {
		if _, err := sshproxy.New(cfg); err == nil {
			t.Errorf("New(%+v) succeeded", cfg)
		}
	}
}

func TestServe_IncompleteSession(t *testing.T) {
	p, err := sshproxy.New(sshproxy.Config{HostKeys: []ssh.Signer{newSigner(t)}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	if r := p.Serve(t.Context(), a, b, sshproxy.Session{}); r.Err == nil {
		t.Error("served without Authorize")
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("connection is open")
	}
}

// A client that prefers another cipher but knows AES-GCM gets that; one that does not is served all the same.
func TestLogin_Ciphers(t *testing.T) {
	gcm := ssh.CipherAES128GCM
	if !sshproxy.FastAESForTest() {
		gcm = ssh.CipherChaCha20Poly1305
	}
	tests := []struct {
		name    string
		offered []string
		want    string
	}{
		{"prefers ChaCha20", []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR, ssh.CipherAES128GCM}, gcm},
		{"knows ChaCha20 only", []string{ssh.CipherChaCha20Poly1305}, ssh.CipherChaCha20Poly1305},
		{"knows CTR only", []string{ssh.CipherAES256CTR}, ssh.CipherAES256CTR},
		{"knows AES-256-GCM", []string{ssh.CipherAES256GCM}, ssh.CipherAES256GCM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := hostWorld(t)
			cfg := w.clientConfig("root")
			cfg.Ciphers = tt.offered
			c, err := ssh.Dial("tcp", w.addr, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if got := c.Conn.(ssh.AlgorithmsConnMetadata).Algorithms(); got.Read.Cipher != tt.want || got.Write.Cipher != tt.want {
				t.Errorf("ciphers %s and %s, want %s", got.Read.Cipher, got.Write.Cipher, tt.want)
			}
		})
	}
}

func TestLogin_WeakAlgorithmsAreNotOffered(t *testing.T) {
	tests := []struct {
		name string
		edit func(c *ssh.ClientConfig)
	}{
		{"SHA-1 key exchange", func(c *ssh.ClientConfig) { c.KeyExchanges = []string{ssh.InsecureKeyExchangeDH14SHA1} }},
		{"CBC", func(c *ssh.ClientConfig) { c.Ciphers = []string{ssh.InsecureCipherAES128CBC} }},
		{"SHA-1 MAC", func(c *ssh.ClientConfig) {
			c.Ciphers, c.MACs = []string{ssh.CipherAES128CTR}, []string{ssh.HMACSHA1}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := hostWorld(t)
			cfg := w.clientConfig("root")
			tt.edit(cfg)
			_, err := ssh.Dial("tcp", w.addr, cfg)
			if _, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); !ok {
				t.Errorf("login = %v, want no common algorithm", err)
			}
			w.result()
			w.wantUntouched(t)
		})
	}
}

// A client that waits for our first message before it sends its own gets it.
func TestLogin_ClientWaitsForKeyExchange(t *testing.T) {
	w := hostWorld(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("SSH-2.0-patient\r\n")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	b := make([]byte, 4096)
	for !slices.Contains(got, '\n') || len(got) < 200 {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, b[:n]...)
	}
	if !strings.HasPrefix(string(got), "SSH-2.0-Weft\r\n") || strings.Count(string(got), "SSH-2.0-Weft") != 1 ||
		!strings.Contains(string(got), "curve25519-sha256") {
		t.Errorf("%q", got)
	}
}
