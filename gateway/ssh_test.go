package gateway_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/api"
	"weft/gateway/audit"
)

// sshTarget is a small sshd that trusts a CA. "exec" answers with the user and the command; a shell echoes.
type sshTarget struct {
	addr    netip.AddrPort
	hostKey atomic.Value // ssh.Signer
	// hostCert is shown to clients that ask for certificates.
	hostCert atomic.Pointer[ssh.Signer]
	logins   atomic.Int64
	bytes    atomic.Int64 // received before any login
	execs    atomic.Int64
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

func serveSSH(tb testing.TB, ca ssh.PublicKey) *sshTarget {
	tb.Helper()
	target := new(sshTarget)
	target.hostKey.Store(newSigner(tb))
	checker := &ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), ca.Marshal()) }}
	target.addr = listen(tb, func(c *net.TCPConn) {
		cfg := &ssh.ServerConfig{
			PublicKeyCallback: checker.Authenticate,
			// Before the client hears of it: who counts a login that was seen must find it here.
			AuthLogCallback: func(_ ssh.ConnMetadata, _ string, err error) {
				if err == nil {
					target.logins.Add(1)
				}
			},
		}
		cfg.AddHostKey(target.hostKey.Load().(ssh.Signer))
		if cert := target.hostCert.Load(); cert != nil {
			cfg.AddHostKey(*cert)
		}
		conn, chans, reqs, err := ssh.NewServerConn(countReads{c, &target.bytes}, cfg)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		for ch := range chans {
			channel, requests, err := ch.Accept()
			if err != nil {
				return
			}
			go serveChannel(channel, requests, conn.User(), &target.execs)
		}
	})
	return target
}

type countReads struct {
	net.Conn
	n *atomic.Int64
}

func (c countReads) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func serveChannel(ch ssh.Channel, reqs <-chan *ssh.Request, user string, execs *atomic.Int64) {
	defer func() { _ = ch.Close() }()
	for r := range reqs {
		switch r.Type {
		case "exec":
			execs.Add(1)
			_ = r.Reply(true, nil)
			_, _ = fmt.Fprintf(ch, "%s ran %s", user, r.Payload[4:])
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{7}))
			return
		case "shell":
			_ = r.Reply(true, nil)
			go func() {
				_, _ = io.Copy(ch, ch)
				_ = ch.Close()
			}()
		default:
			_ = r.Reply(true, nil)
		}
	}
}

// login connects as a UNIX user through the tunnel.
func (w *world) login(user string) (*ssh.Client, string, error) {
	w.tb.Helper()
	c := w.mustDial(slotA, portSSH)
	var banner strings.Builder
	conn, chans, reqs, err := ssh.NewClientConn(c, "host-a", &ssh.ClientConfig{
		User: user, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
		BannerCallback: func(m string) error {
			banner.WriteString(m)
			return nil
		},
	})
	if err != nil {
		return nil, banner.String(), err
	}
	client := ssh.NewClient(conn, chans, reqs)
	w.tb.Cleanup(func() { _ = client.Close() })
	return client, banner.String(), nil
}

func TestSSH_RunsACommandAsTheGrantedUser(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Output("uptime")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 || string(out) != "ubuntu ran uptime" {
		t.Errorf("got %q, %v", out, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	e := w.lastAudit(audit.SSHLogin)
	if e.Login != "ubuntu" || e.Decision != audit.Allow || e.PolicyID != "pol" || e.Email != "jdoe@company.com" {
		t.Errorf("login event %+v", e)
	}
	if e := w.lastAudit(audit.HostKeyNew); e.Detail["fingerprint"] != ssh.FingerprintSHA256(target.hostKey.Load().(ssh.Signer).PublicKey()) {
		t.Errorf("host key event %+v", e)
	}
	w.eventually("exec and exit are on record", 30*time.Second, func() bool {
		types := map[string]bool{}
		for _, e := range w.auditEvents() {
			types[e.Type] = true
		}
		return types["exec"] && types["exit"]
	})
	if e := w.lastAudit(audit.FlowClose); e.Login != "ubuntu" || *e.BytesUp == 0 || *e.BytesDown == 0 {
		t.Errorf("close event: login %q, up %d, down %d", e.Login, *e.BytesUp, *e.BytesDown)
	}
}

// A command that cannot be put on record must not run, however long ago its session was let in.
func TestSSH_NoLineNoCommand_regression(t *testing.T) {
	disk := new(fullDisk)
	w := newWorld(t, withAudit(disk))
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	if out, err := session.Output("uptime"); err == nil || len(out) > 0 {
		t.Errorf("it ran: %q, %v", out, err)
	}
	w.eventually("the session is cut", 30*time.Second, func() bool { return w.gateway.Stats().Sessions.Open == 0 })
	if n := target.execs.Load(); n != 0 {
		t.Errorf("%d commands reached the target", n)
	}
	disk.full.Store(false) // the stop of the gateway goes on record too
}

func TestSSH_OtherUserIsRefusedBeforeTheTarget(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	_, banner, err := w.login("root")
	if err == nil {
		t.Fatal("root got in")
	}
	if !strings.Contains(banner, "UNIX user") {
		t.Errorf("banner %q does not say why", banner)
	}
	if e := w.lastAudit(audit.SSHDenied); e.Login != "root" || e.Reason != string(access.LoginNotPermitted) || e.Decision != audit.Deny {
		t.Errorf("denied event %+v", e)
	}
	if e := w.lastAudit(audit.FlowClose); e.Reason != "login_denied" {
		t.Errorf("close reason %q", e.Reason)
	}
	if n := target.bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the target", n)
	}
}

func TestSSH_ChangedHostKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	target.hostKey.Store(newSigner(t))
	_, banner, err = w.login("ubuntu")
	if err == nil {
		t.Fatal("a changed host key was accepted")
	}
	if !strings.Contains(banner, "host key of the target has changed") {
		t.Errorf("banner %q does not say why", banner)
	}
	if e := w.lastAudit(audit.HostKeyBad); e.Decision != audit.Deny || e.TargetID != "ta" {
		t.Errorf("alarm %+v", e)
	}
	if n := target.logins.Load(); n != 1 {
		t.Errorf("%d logins at the target, want 1", n)
	}
	if n := w.gateway.Stats().HostKeyAlarms; n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
}

func TestSSH_RevokedLoginIsCutWithTheReason(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	session.Stderr = &stderr
	in, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	// The flow stays allowed; the UNIX user does not.
	w.update(func(st *api.GatewayState) {
		app := st.Applications["app"]
		app.Policies[0].SSH = &access.SSHRules{Usernames: []string{"debian"}}
		st.Applications["app"] = app
	})
	done := make(chan error, 1)
	go func() { done <- client.Wait() }()
	select {
	case err := <-done:
		t.Logf("cut after %v: %v", time.Since(start), err)
	case <-time.After(cutWithin):
		t.Fatalf("not cut within %v", cutWithin)
	}
	_ = session.Wait()
	if !strings.Contains(stderr.String(), "UNIX user") {
		t.Errorf("the user was told %q", stderr.String())
	}
	if e := w.lastAudit(audit.FlowClose); e.Reason != string(access.LoginNotPermitted) || e.Login != "ubuntu" {
		t.Errorf("close event: reason %q, login %q", e.Reason, e.Login)
	}
}

func TestSSH_WithoutCAIsRefusedWithTheReason(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	w.update(func(st *api.GatewayState) { st.Self.SSHCAPublicKey = "" })
	_, banner, err := w.login("ubuntu")
	if err == nil || !strings.Contains(banner, "certificate authority") {
		t.Errorf("login: %v, banner %q", err, banner)
	}
}
