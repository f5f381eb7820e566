package gateway_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/gateway"
	"weft/gateway/audit"
	"weft/internal/connwire"
	"weft/internal/sshdtest"
)

// hostCertificate certifies a host key, as change says.
func hostCertificate(tb testing.TB, ca ssh.Signer, key ssh.PublicKey, change func(*ssh.Certificate)) *ssh.Certificate {
	tb.Helper()
	now := time.Now()
	c := &ssh.Certificate{
		Key: key, Serial: 7, CertType: ssh.HostCert, KeyId: "host-a", ValidPrincipals: []string{"host-a"},
		ValidAfter: uint64(now.Add(-time.Hour).Unix()), ValidBefore: uint64(now.Add(time.Hour).Unix()),
	}
	if change != nil {
		change(c)
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		tb.Fatal(err)
	}
	return c
}

// show has a target present a certificate; nil: none.
func (s *sshTarget) show(tb testing.TB, c *ssh.Certificate) {
	tb.Helper()
	if c == nil {
		s.hostCert.Store(nil)
		return
	}
	signer, err := ssh.NewCertSigner(c, s.hostKey.Load().(ssh.Signer))
	if err != nil {
		tb.Fatal(err)
	}
	s.hostCert.Store(&signer)
}

// trustHosts tells the gateway of an authority of targets' host keys.
func (w *world) trustHosts(ca ssh.PublicKey, change func(*api.GatewayTargetCA)) {
	w.tb.Helper()
	c := api.GatewayTargetCA{PublicKey: string(ssh.MarshalAuthorizedKey(ca)), Hostnames: []string{"*"}}
	if change != nil {
		change(&c)
	}
	w.update(func(st *api.GatewayState) { st.Self.SSHTargetCAs = []api.GatewayTargetCA{c} })
}

func (w *world) wantLogin(why string, parts ...string) {
	w.tb.Helper()
	client, banner, err := w.login("ubuntu")
	if len(parts) == 0 {
		if err != nil {
			w.tb.Fatalf("%s: %v (%s)", why, err, banner)
		}
		if err := client.Close(); err != nil {
			w.tb.Error(err)
		}
		return
	}
	if err == nil {
		w.tb.Fatalf("%s: let in", why)
	}
	for _, p := range parts {
		if !strings.Contains(banner, p) {
			w.tb.Errorf("%s: the banner %q lacks %q", why, banner, p)
		}
	}
}

func (w *world) pinned() gateway.HostKey {
	w.tb.Helper()
	keys, err := gateway.HostKeys(w.dir)
	if err != nil || len(keys) != 1 {
		w.tb.Fatalf("pins %+v, %v", keys, err)
	}
	return keys[0]
}

func TestHostCertificate_IsTrustedAndNotGivenUp(t *testing.T) {
	w := newWorld(t)
	ca, other := newSigner(t), newSigner(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	key := func() ssh.PublicKey { return target.hostKey.Load().(ssh.Signer).PublicKey() }
	fingerprint := ssh.FingerprintSHA256(ca.PublicKey())

	// Without an authority the plain key is asked for and pinned, certificate or not.
	target.show(t, hostCertificate(t, ca, key(), nil))
	w.wantLogin("no authority")
	if k := w.pinned(); k.Authority != "" || k.Fingerprint != ssh.FingerprintSHA256(key()) {
		t.Errorf("pinned %+v", k)
	}
	// With one the certificate counts, also over another pin.
	target.hostKey.Store(newSigner(t))
	target.show(t, hostCertificate(t, ca, key(), nil))
	w.trustHosts(ca.PublicKey(), nil)
	w.wantLogin("a certificate in place of a pin")
	if k := w.pinned(); k.Authority != fingerprint || k.Fingerprint != ssh.FingerprintSHA256(key()) {
		t.Errorf("pinned %+v", k)
	}
	if e := w.lastAudit(audit.HostKeyNew); e.Detail["authority"] != fingerprint || e.Detail["key_id"] != "host-a" {
		t.Errorf("on record is %+v", e.Detail)
	}
	// A new host key under the same authority is no alarm.
	target.hostKey.Store(newSigner(t))
	target.show(t, hostCertificate(t, ca, key(), nil))
	w.wantLogin("another key under the same authority")
	// No way back: neither to a plain key, the same even, nor to a stranger's certificate.
	alarms := w.gateway.Stats().HostKeyAlarms
	target.show(t, nil)
	w.wantLogin("a plain key after a certificate", "showed a host certificate of "+fingerprint)
	if e := w.lastAudit(audit.HostKeyBad); e.Reason != "host_certificate_missing" {
		t.Errorf("alarm %+v", e)
	}
	target.show(t, hostCertificate(t, other, key(), nil))
	w.wantLogin("a certificate of a stranger", "showed a host certificate of "+fingerprint)
	if n := w.gateway.Stats().HostKeyAlarms - alarms; n != 2 {
		t.Errorf("%d alarms", n)
	}
	// Nor when the authority is taken away, until an administrator accepts the key.
	w.update(func(st *api.GatewayState) { st.Self.SSHTargetCAs = nil })
	target.show(t, hostCertificate(t, ca, key(), nil))
	w.wantLogin("the authority is not trusted any more", "showed a host certificate of "+fingerprint)
	if k := w.pinned(); k.Refused == nil || k.Refused.Fingerprint != ssh.FingerprintSHA256(key()) {
		t.Errorf("refused %+v", k)
	}
	if err := gateway.AcceptHostKey(w.dir, netA, at(portSSH), ssh.FingerprintSHA256(key())); err != nil {
		t.Fatal(err)
	}
	w.wantLogin("after it was accepted")
	if k := w.pinned(); k.Authority != "" || k.Refused != nil {
		t.Errorf("pinned %+v", k)
	}
}

// A certificate of a trusted authority that is not good is refused, and never becomes a first key.
func TestHostCertificate_BadOnesAreRefused(t *testing.T) {
	w := newWorld(t)
	ca := newSigner(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	w.trustHosts(ca.PublicKey(), nil)
	key := target.hostKey.Load().(ssh.Signer).PublicKey()
	past, future := uint64(time.Now().Add(-time.Minute).Unix()), uint64(time.Now().Add(time.Minute).Unix())
	for _, tc := range []struct {
		name   string
		change func(*ssh.Certificate)
		says   string
	}{
		{"expired", func(c *ssh.Certificate) { c.ValidBefore = past }, "expired"},
		{"not yet valid", func(c *ssh.Certificate) { c.ValidAfter = future }, "not yet valid"},
		{"for another name", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"host-b"} }, "host-b"},
		{"for another address", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"10.20.0.6"} }, "10.20.0.6"},
		{"for a name that contains it", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"host-a.example"} }, "host-a.example"},
		{"for a pattern", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"host-*"} }, "host-*"},
		{"for every host", func(c *ssh.Certificate) { c.ValidPrincipals = nil }, "not for host-a"},
		{"for users", func(c *ssh.Certificate) { c.CertType = ssh.UserCert }, "not that of a host"},
		{"with a critical option", func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"x": ""} }, "critical option"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target.show(t, hostCertificate(t, ca, key, tc.change))
			w.wantLogin(tc.name, "host certificate", "is not good", tc.says)
			if e := w.lastAudit(audit.HostKeyBad); e.Reason != "host_certificate_invalid" {
				t.Errorf("alarm %+v", e)
			}
		})
	}
	if keys, err := gateway.HostKeys(w.dir); err != nil || len(keys) != 0 {
		t.Errorf("pinned %+v, %v", keys, err)
	}
	for name, principals := range map[string][]string{"its address": {"10.20.0.5"}, "among others, in capitals": {"x", "HOST-A"}} {
		target.show(t, hostCertificate(t, ca, key, func(c *ssh.Certificate) { c.ValidPrincipals = principals }))
		w.wantLogin(name)
	}
	if n := target.logins.Load(); n != 2 {
		t.Errorf("%d logins reached the target", n)
	}
}

func TestHostCertificate_WhoMayVouchForWhom(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*api.GatewayTargetCA)
		says   string // "": the certificate counts
		plain  bool   // it does not, and the key is pinned
	}{
		{"for its hostname", func(c *api.GatewayTargetCA) { c.Hostnames = []string{"HOST-a"} }, "", false},
		{"for its address", func(c *api.GatewayTargetCA) { c.Hostnames = []string{"10.20.*"} }, "", false},
		{"for its network", func(c *api.GatewayTargetCA) { c.VNET = string(netA) }, "", false},
		{"for another network", func(c *api.GatewayTargetCA) { c.VNET = string(netB) }, "", true},
		{"for another hostname", func(c *api.GatewayTargetCA) { c.Hostnames = []string{"host-b", "host-a?"} }, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			ca := newSigner(t)
			target := serveSSH(t, w.control.ca.PublicKey())
			w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
			target.show(t, hostCertificate(t, ca, target.hostKey.Load().(ssh.Signer).PublicKey(), nil))
			w.trustHosts(ca.PublicKey(), tc.change)
			w.wantLogin(tc.name)
			if k := w.pinned(); (k.Authority == "") != tc.plain {
				t.Errorf("pinned %+v", k)
			}
		})
	}
	t.Run("required, and none is shown", func(t *testing.T) {
		w := newWorld(t)
		target := serveSSH(t, w.control.ca.PublicKey())
		w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
		w.trustHosts(newSigner(t).PublicKey(), func(c *api.GatewayTargetCA) { c.Required = true })
		w.wantLogin("a plain key", "must show a host certificate")
		target.show(t, hostCertificate(t, newSigner(t), target.hostKey.Load().(ssh.Signer).PublicKey(), nil))
		w.wantLogin("a certificate of a stranger", "must show a host certificate")
		if keys, err := gateway.HostKeys(w.dir); err != nil || len(keys) != 0 {
			t.Errorf("pinned %+v, %v", keys, err)
		}
	})
}

// The same with the real sshd, which also judges the address that the login's certificate is bound to.
func TestHostCertificate_OfARealServer(t *testing.T) {
	w := newWorld(t)
	w.withUserCAs()
	ca := newSigner(t)
	sshd := sshdtest.Start(t)
	userCA := sshd.Write("user_ca.pub", ssh.MarshalAuthorizedKey(w.control.ca.PublicKey()))
	present := func(change func(*ssh.Certificate)) {
		t.Helper()
		cert := sshd.Write("hostkey-cert.pub", ssh.MarshalAuthorizedKey(hostCertificate(t, ca, sshd.HostKey.PublicKey(), change)))
		sshd.Configure("TrustedUserCAKeys "+userCA, "HostCertificate "+cert)
	}
	w.update(func(st *api.GatewayState) {
		app := st.Applications["app"]
		app.Policies[0].SSH.Usernames = []string{sshd.User}
		st.Applications["app"] = app
	})
	w.trustHosts(ca.PublicKey(), func(c *api.GatewayTargetCA) { c.Required = true })
	stop := w.vouching(sshd.Addr)
	login := func() (banner string, err error) {
		t.Helper()
		client, banner, err := w.login(sshd.User)
		if err != nil {
			return banner, err
		}
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, err := session.Output("echo hello")
		if string(out) != "hello\n" {
			t.Errorf("got %q, %v", out, err)
		}
		return banner, client.Close()
	}
	present(nil)
	if banner, err := login(); err != nil {
		t.Fatalf("%v (%s)", err, banner)
	}
	if k := w.pinned(); k.Authority != ssh.FingerprintSHA256(ca.PublicKey()) {
		t.Errorf("pinned %+v", k)
	}
	present(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"host-b"} })
	if banner, err := login(); err == nil || !strings.Contains(banner, "not for host-a") {
		t.Errorf("for another host: %v (%s)", err, banner)
	}
	present(func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Add(-time.Minute).Unix()) })
	if banner, err := login(); err == nil || !strings.Contains(banner, "expired") {
		t.Errorf("expired: %v (%s)", err, banner)
	}
	sshd.Configure("TrustedUserCAKeys " + userCA)
	if banner, err := login(); err == nil || !strings.Contains(banner, "must show a host certificate") {
		t.Errorf("without one: %v (%s)", err, banner)
	}
	// sshd holds the login to the address: through a relay it comes from another one than the connector's.
	present(nil)
	stop()
	w.vouching(relayFrom(t, "127.0.0.77", sshd.Addr))
	banner, err := login()
	if err == nil || !strings.Contains(banner, "--source-address never") {
		t.Errorf("from another address: %v (%s)", err, banner)
	}
	w.eventually("sshd says why", 30*time.Second, func() bool { return strings.Contains(sshd.Log(), "not from a permitted source address") })
}

// relayFrom listens and goes on to another address from an address of this host, as NAT does.
func relayFrom(t *testing.T, from string, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if c, err := d.DialContext(t.Context(), "tcp", to.String()); err != nil {
		t.Skipf("no connection from %s: %v", from, err) // only Linux has all of 127/8
	} else if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return listen(t, func(c *net.TCPConn) {
		up, err := d.DialContext(context.Background(), "tcp", to.String())
		if err != nil {
			return
		}
		var counts connwire.Counts
		_ = connwire.Relay(&connwire.SocketConn{TCPConn: c}, &connwire.SocketConn{TCPConn: up.(*net.TCPConn)}, &counts)
	})
}
