package gateway_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/api"
	"weft/connector"
	"weft/gateway/audit"
)

// withUserCAs makes the fake a control plane that knows what certificates can be narrowed to.
func (w *world) withUserCAs() {
	w.tb.Helper()
	line := string(ssh.MarshalAuthorizedKey(w.control.ca.PublicKey()))
	w.update(func(st *api.GatewayState) { st.Self.SSHUserCAs = []string{line} })
}

// vouching starts a connector that vouches for its address.
func (w *world) vouching(target netip.AddrPort) (stop func()) {
	w.tb.Helper()
	w.vouches = connector.SourceAlways
	stop, _ = w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target})
	return stop
}

func TestSSHCertificate_IsNarrowAndOnRecord(t *testing.T) {
	w := newWorld(t)
	w.withUserCAs()
	w.update(func(st *api.GatewayState) {
		app := st.Applications["app"]
		app.Policies[0].SSH = &access.SSHRules{Usernames: []string{"ubuntu"}, AgentForwarding: true}
		st.Applications["app"] = app
	})
	target := serveSSH(t, w.control.ca.PublicKey())
	w.vouching(target.addr)
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	asked := w.control.asked.Load()
	if asked.SourceAddress != netip.MustParseAddr("127.0.0.1") || !slices.Equal(asked.Extensions, []string{"permit-pty", "permit-agent-forwarding"}) {
		t.Errorf("asked for %+v", asked)
	}
	e := w.lastAudit(audit.SSHCertificate)
	if e.Detail["serial"] != "1" || e.Detail["source_address"] != "127.0.0.1/32" || e.Detail["ca"] != ssh.FingerprintSHA256(w.control.ca.PublicKey()) ||
		e.Detail["extensions"] != "permit-pty" || e.Login != "ubuntu" {
		t.Errorf("on record is %+v", e)
	}
	// It must not outlive a session that is cut.
	w.update(func(st *api.GatewayState) { st.Applications = without(st.Applications, "app") })
	if err := client.Wait(); err == nil {
		t.Error("the session ended in order")
	}
	w.eventually("the certificate is revoked", 30*time.Second, func() bool {
		r := w.control.revoked.Load()
		return r != nil && r.Serial == 1
	})
}

// A control plane of before knows neither fields nor revocation, and refuses what it does not know.
func TestSSHCertificate_OfAnOlderControl(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.vouching(target.addr)
	if _, banner, err := w.login("ubuntu"); err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	if asked := w.control.asked.Load(); asked.SourceAddress.IsValid() || asked.Extensions != nil {
		t.Errorf("asked for %+v", asked)
	}
}

// The gateway takes no certificate that is wider than what it asked for, whoever signed it.
func TestSSHCertificate_TooWideIsRefused(t *testing.T) {
	w := newWorld(t)
	w.withUserCAs()
	target := serveSSH(t, w.control.ca.PublicKey())
	w.vouching(target.addr)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := ssh.NewSignerFromKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		forge func(*ssh.Certificate)
	}{
		{"from anywhere", func(c *ssh.Certificate) { c.CriticalOptions = nil }},
		{"from a whole network", func(c *ssh.Certificate) { c.CriticalOptions["source-address"] = "127.0.0.0/8" }},
		{"from another address too", func(c *ssh.Certificate) { c.CriticalOptions["source-address"] += ",10.0.0.1/32" }},
		{"with an unknown critical option", func(c *ssh.Certificate) { c.CriticalOptions["verify-required"] = "" }},
		{"with a forced command", func(c *ssh.Certificate) { c.CriticalOptions["force-command"] = "/bin/sh" }},
		{"with port forwarding", func(c *ssh.Certificate) { c.Extensions["permit-port-forwarding"] = "" }},
		{"with an unknown extension", func(c *ssh.Certificate) { c.Extensions["permit-user-rc"] = "" }},
		{"with a value in an extension", func(c *ssh.Certificate) { c.Extensions["permit-pty"] = "x" }},
		{"for another user", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"root"} }},
		{"for another user too", func(c *ssh.Certificate) { c.ValidPrincipals = append(c.ValidPrincipals, "root") }},
		{"for every user", func(c *ssh.Certificate) { c.ValidPrincipals = nil }},
		{"for an hour", func(c *ssh.Certificate) { c.ValidBefore += 3600 }},
		{"for another key", func(c *ssh.Certificate) { c.Key = otherKey.PublicKey() }},
		{"for hosts", func(c *ssh.Certificate) { c.CertType = ssh.HostCert }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.control.forge.Store(&tc.forge)
			if _, banner, err := w.login("ubuntu"); err == nil || !strings.Contains(banner, "no certificate") {
				t.Errorf("login: %v (%s)", err, banner)
			}
		})
	}
	w.control.forge.Store(nil)
	w.update(func(st *api.GatewayState) {
		st.Self.SSHUserCAs = []string{string(ssh.MarshalAuthorizedKey(otherKey.PublicKey()))}
	})
	if _, banner, err := w.login("ubuntu"); err == nil || !strings.Contains(banner, "has not heard of") {
		t.Errorf("of an authority that is not the account's: %v (%s)", err, banner)
	}
	if n := target.bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the target", n)
	}
	if n := len(w.auditEvents()); n == 0 {
		t.Error("nothing is on record")
	}
	w.withUserCAs()
	if _, banner, err := w.login("ubuntu"); err != nil {
		t.Errorf("a good one: %v (%s)", err, banner)
	}
}

// A certificate that cannot be put on record is not used.
func TestSSHCertificate_NoLineNoLogin(t *testing.T) {
	disk := new(fullDisk)
	w := newWorld(t, withAudit(disk))
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	fill := func(*ssh.Certificate) { disk.full.Store(true) } // after the line of the login
	w.control.forge.Store(&fill)
	if _, banner, err := w.login("ubuntu"); err == nil || !strings.Contains(banner, "on record") {
		t.Errorf("login: %v (%s)", err, banner)
	}
	if n := target.bytes.Load(); n != 0 {
		t.Errorf("%d bytes reached the target", n)
	}
	disk.full.Store(false)
}
