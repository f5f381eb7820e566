package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/controltest"
	"weft/control/sshcheck"
	"weft/internal/sshdtest"
)

// sshAdmin runs commands against a control plane of its own.
type sshAdmin struct {
	*controltest.Server
	t   *testing.T
	dir string
}

func newSSHAdmin(t *testing.T) *sshAdmin {
	t.Helper()
	a := &sshAdmin{Server: controltest.New(t), t: t, dir: t.TempDir()}
	for name, b := range map[string][]byte{"token": []byte(a.Token), "ca.pem": a.Control.CAPEM()} {
		if err := os.WriteFile(filepath.Join(a.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// weft runs a command, whose exit code must be as wanted, and returns what it printed, errors last.
func (a *sshAdmin) weft(wantCode int, args ...string) (stdout, stderr string) {
	a.t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--control", a.URL, "--token-file", filepath.Join(a.dir, "token"), "--ca-file", filepath.Join(a.dir, "ca.pem"))
	if code := run(a.t.Context(), args, &out, &errs); code != wantCode {
		a.t.Fatalf("%v: exit code %d: %s%s", args, code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// trust makes sshd trust what install-hint prints: the lines between the markers are the file.
func (a *sshAdmin) trust(sshd *sshdtest.Server) {
	a.t.Helper()
	hint, _ := a.weft(exitOK, "ssh-ca", "install-hint")
	_, rest, _ := strings.Cut(hint, "<<'EOF'\n")
	keys, _, ok := strings.Cut(rest, "EOF\n")
	if !ok {
		a.t.Fatalf("the hint holds no file:\n%s", hint)
	}
	sshd.Configure("TrustedUserCAKeys " + sshd.Write("user_ca.pub", []byte(keys)))
}

func TestSSHCACheck_ThroughARotation(t *testing.T) {
	sshd := sshdtest.Start(t)
	a := newSSHAdmin(t)
	address := sshd.Addr.String()
	check := func(wantCode int, parts ...string) {
		t.Helper()
		out, errs := a.weft(wantCode, "ssh-ca", "check", address, "--login", sshd.User)
		for _, p := range parts {
			if !strings.Contains(out+errs, p) {
				t.Errorf("%q is not in\n%s%s", p, out, errs)
			}
		}
	}
	check(exitNotFound, "weft ssh-ca create")
	a.weft(exitOK, "ssh-ca", "create")
	check(exitFound, "NOT TRUSTED", "weft ssh-ca install-hint", ssh.FingerprintSHA256(sshd.HostKey.PublicKey()), "host certificate  none")
	a.trust(sshd)
	check(exitOK, "(signs) for", ": trusted", "OpenSSH")
	a.weft(exitOK, "ssh-ca", "rotate", "--algorithm", "ed25519")
	check(exitFound, "(next)", "NOT TRUSTED", ": trusted")
	a.trust(sshd)
	check(exitOK, "(signs)", "(next)")
	var cas api.SSHCAs
	a.Call(http.MethodGet, api.PathSSHCAs, nil, &cas)
	a.weft(exitOK, "ssh-ca", "activate", cas.User[1].ID)
	check(exitOK, "(signs)", "(trusted)")
	a.weft(exitOK, "ssh-ca", "remove", cas.User[0].ID)
	check(exitOK, cas.User[1].ID)
	a.trust(sshd)
	check(exitOK)

	out, _ := a.weft(exitFound, "ssh-ca", "check", address, "--login", "nobody-of-that-name", "--json")
	var r sshcheck.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Authorities) != 1 || r.Authorities[0].Trusted || r.TakesAnything {
		t.Errorf("an unknown user: %s, %v", out, err)
	}
	// Nobody has logged in, and nobody could have.
	if log := sshd.Log(); strings.Contains(log, "Accepted publickey") || !strings.Contains(log, "Postponed") && !strings.Contains(log, "Accepted certificate") {
		t.Errorf("sshd says %s", log)
	}
	sshd.Configure("PubkeyAuthentication no", "PasswordAuthentication yes")
	check(exitFound, "PubkeyAuthentication yes")
}

func TestSSHCACheck_ShowsHostCertificates(t *testing.T) {
	sshd := sshdtest.Start(t)
	a := newSSHAdmin(t)
	a.weft(exitOK, "ssh-ca", "create")
	hostCA := newTestSigner(t)
	sshd.Write("user_ca.pub", nil)
	a.trust(sshd)
	cert := &ssh.Certificate{Key: sshd.HostKey.PublicKey(), CertType: ssh.HostCert, KeyId: "id", ValidPrincipals: []string{"web-1", "x\x1b[2J"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, hostCA); err != nil {
		t.Fatal(err)
	}
	sshd.Configure("TrustedUserCAKeys "+sshd.Path("user_ca.pub"), "HostCertificate "+sshd.Write("hostkey-cert.pub", ssh.MarshalAuthorizedKey(cert)))
	out, _ := a.weft(exitOK, "ssh-ca", "check", sshd.Addr.String(), "--login", sshd.User)
	if !strings.Contains(out, "for web-1, ") || !strings.Contains(out, "trust-ca add") || strings.Contains(out, "\x1b") {
		t.Errorf("shown as %q", out)
	}
	key := filepath.Join(a.dir, "host_ca.pub")
	if err := os.WriteFile(key, ssh.MarshalAuthorizedKey(hostCA.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	a.weft(exitOK, "host-key", "trust-ca", "add", key, "--hostname", "web-*", "--hostname", "10.*", "--required")
	if out, _ := a.weft(exitOK, "ssh-ca", "check", sshd.Addr.String(), "--login", sshd.User); !strings.Contains(out, "trusted for web-*, 10.*") {
		t.Errorf("shown as %q", out)
	}
	list, _ := a.weft(exitOK, "host-key", "trust-ca", "list")
	if !strings.Contains(list, "web-*,10.*") || !strings.Contains(list, "yes") || !strings.Contains(list, ssh.FingerprintSHA256(hostCA.PublicKey())) {
		t.Errorf("listed as %s", list)
	}
	a.weft(exitConflict, "host-key", "trust-ca", "add", key, "--hostname", "*")
	a.weft(exitUsage, "host-key", "trust-ca", "add", key)
	a.weft(exitNotFound, "host-key", "trust-ca", "add", filepath.Join(a.dir, "none"), "--hostname", "*")
	a.weft(exitInvalid, "host-key", "trust-ca", "add", filepath.Join(a.dir, "ca.pem"), "--hostname", "*")
	a.weft(exitNotFound, "host-key", "trust-ca", "remove", "none")
	id, _, _ := strings.Cut(strings.Split(list, "\n")[1], " ")
	a.weft(exitOK, "host-key", "trust-ca", "remove", id)
}

// A server that would let anybody in must not pass for one that trusts the CA.
func TestSSHCACheck_IsNotFooled(t *testing.T) {
	a := newSSHAdmin(t)
	a.weft(exitOK, "ssh-ca", "create")
	for _, tc := range []struct {
		name string
		cfg  *ssh.ServerConfig
		code int
		says string
	}{
		{"one that takes every key", &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, nil
		}}, exitFound, "of anybody"},
		{"one that asks for nothing", &ssh.ServerConfig{NoClientAuth: true}, exitDenied, "without any proof"},
		{"one that takes none", &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, errors.New("no")
		}}, exitFound, "does not take"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.AddHostKey(newTestSigner(t))
			out, errs := a.weft(tc.code, "ssh-ca", "check", serveOneSSH(t, tc.cfg), "--login", "root")
			if !strings.Contains(errs, tc.says) {
				t.Errorf("said %s%s", out, errs)
			}
		})
	}
	t.Run("nothing there", func(t *testing.T) {
		ln := listenLoopback(t)
		address := ln.Addr().String()
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		_, errs := a.weft(exitUnavailable, "ssh-ca", "check", address, "--login", "root")
		if !strings.Contains(errs, "not through a gateway") {
			t.Errorf("said %s", errs)
		}
	})
	t.Run("no SSH", func(t *testing.T) {
		ln := listenLoopback(t)
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte("220 mail\r\n"))
				_ = c.Close()
			}
		}()
		a.weft(exitUnavailable, "ssh-ca", "check", ln.Addr().String(), "--login", "root")
	})
}

func listenLoopback(t *testing.T) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func serveOneSSH(t *testing.T, cfg *ssh.ServerConfig) string {
	t.Helper()
	ln := listenLoopback(t)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(reqs)
				for ch := range chans {
					_ = ch.Reject(ssh.Prohibited, "no")
				}
				_ = conn.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

func newTestSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
