package control_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
	"weft/internal/kind"
)

func hostCert(t *testing.T, gw *api.Client, key string) (api.HostCertificate, *ssh.Certificate) {
	t.Helper()
	var out api.HostCertificate
	if err := gw.Do(t.Context(), http.MethodPost, api.PathGatewayHostCertificate, api.HostCertificateRequest{PublicKey: key}, &out); err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(out.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	cert, ok := parsed.(*ssh.Certificate)
	if !ok {
		t.Fatalf("signed a %T", parsed)
	}
	return out, cert
}

// trusts reports whether a client that knows the one authority takes the certificate for a gateway's.
func trusts(t *testing.T, caLine string, cert *ssh.Certificate, at time.Time) error {
	t.Helper()
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(caLine))
	if err != nil {
		t.Fatal(err)
	}
	checker := ssh.CertChecker{
		IsHostAuthority: func(k ssh.PublicKey, _ string) bool { return string(k.Marshal()) == string(ca.Marshal()) },
		Clock:           func() time.Time { return at },
	}
	return checker.CheckHostKey(api.SSHGatewayPrincipal+":22", nil, cert)
}

func listCAs(t *testing.T, s *controltest.Server) (list api.SSHCAs) {
	t.Helper()
	s.Call(http.MethodGet, api.PathSSHCAs, nil, &list)
	return list
}

func TestHostCertificates(t *testing.T) {
	s := controltest.New(t)
	if got := listCAs(t, s); len(got.Host) != 0 || got.Host == nil || got.User == nil {
		t.Errorf("a new account has %+v", got)
	}
	one, two := s.Gateway("gw-1"), s.Gateway("gw-2")
	gw1, gw2 := s.ClientWith(api.Secret(one.Token)), s.ClientWith(api.Secret(two.Token))
	line := keyLine(t)
	out, cert := hostCert(t, gw1, line)
	_, other := hostCert(t, gw2, keyLine(t))
	cas := listCAs(t, s)
	if len(cas.Host) != 1 || !cas.Host[0].Signs || cas.Host[0].ID != out.CAID || cas.Host[0].Fingerprint != ssh.FingerprintSHA256(cert.SignatureKey) {
		t.Fatalf("authorities %+v", cas)
	}
	for name, c := range map[string]*ssh.Certificate{"the first gateway": cert, "the second gateway": other} {
		if err := trusts(t, cas.Host[0].PublicKey, c, time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if trusts(t, cas.Host[0].PublicKey, c, time.Now().Add(25*time.Hour)) == nil {
			t.Errorf("%s is trusted a day later", name)
		}
	}
	if cert.CertType != ssh.HostCert || !slices.Equal(cert.ValidPrincipals, []string{"weft-gateway"}) || cert.KeyId != "weft-gateway "+one.ID ||
		len(cert.Extensions)+len(cert.CriticalOptions) != 0 || strings.TrimSpace(line) != strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert.Key))) {
		t.Errorf("certificate %+v", cert)
	}

	for _, tc := range []struct{ name, key string }{
		{"no key", ""},
		{"a certificate as a key", out.Certificate},
		{"a key with options", "no-pty " + line},
		{"two keys", line + line},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := gw1.Do(t.Context(), http.MethodPost, api.PathGatewayHostCertificate, api.HostCertificateRequest{PublicKey: tc.key}, nil)
			if !kind.Is(err, kind.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, c := range map[string]*api.Client{"an API token": s.Client, "nobody": s.ClientWith("")} {
		if err := c.Do(t.Context(), http.MethodPost, api.PathGatewayHostCertificate, api.HostCertificateRequest{PublicKey: line}, nil); err == nil {
			t.Errorf("signed for %s", name)
		}
	}
}

func TestHostCertificates_AreLimited(t *testing.T) {
	s := controltest.New(t)
	gw := s.ClientWith(api.Secret(s.Gateway("gw").Token))
	line := keyLine(t)
	var err error
	n := 0
	for ; n < 200 && err == nil; n++ {
		err = gw.Do(t.Context(), http.MethodPost, api.PathGatewayHostCertificate, api.HostCertificateRequest{PublicKey: line}, nil)
	}
	if !kind.Is(err, kind.Limit) || n != 121 {
		t.Errorf("request %d: %v", n, err)
	}
	hostCert(t, s.ClientWith(api.Secret(s.Gateway("other").Token)), line)
}

func TestSSHHostCA_RotationOverlaps(t *testing.T) {
	s := controltest.New(t)
	gw := s.ClientWith(api.Secret(s.Gateway("gw").Token))
	line := keyLine(t)
	first, _ := hostCert(t, gw, line)
	remove := func(id, query string) error {
		return s.Client.Do(t.Context(), http.MethodDelete, api.PathSSHHostCAs+"/"+id+query, nil, nil)
	}
	if err := remove(first.CAID, ""); !kind.Is(err, kind.Conflict) {
		t.Errorf("the one that signs was removed: %v", err)
	}
	var ca api.SSHHostCA
	s.Call(http.MethodPost, api.PathSSHHostCAs, nil, &ca)
	cas := listCAs(t, s).Host
	if len(cas) != 2 || cas[0].ID != ca.ID || !cas[0].Signs || cas[1].ID != first.CAID || cas[1].Signs {
		t.Fatalf("authorities %+v", cas)
	}
	if err := remove(first.CAID, ""); !kind.Is(err, kind.Conflict) || !strings.Contains(err.Error(), "gw") {
		t.Errorf("removed under a gateway that presents it: %v", err)
	}
	if err := remove("none", ""); !kind.Is(err, kind.NotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	second, cert := hostCert(t, gw, line)
	if second.CAID != ca.ID {
		t.Errorf("signed by %s", second.CAID)
	}
	if err := trusts(t, ca.PublicKey, cert, time.Now()); err != nil {
		t.Error(err)
	}
	if err := remove(first.CAID, ""); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	if err := remove(ca.ID, "?force=true"); err != nil {
		t.Errorf("by force: %v", err)
	}
	if third, _ := hostCert(t, gw, line); third.CAID == ca.ID || third.CAID == first.CAID {
		t.Errorf("signed by one that is gone: %s", third.CAID)
	}
	for range 7 {
		s.Call(http.MethodPost, api.PathSSHHostCAs, nil, nil)
	}
	if err := s.Client.Do(t.Context(), http.MethodPost, api.PathSSHHostCAs, nil, nil); !kind.Is(err, kind.Limit) {
		t.Errorf("the ninth: %v", err)
	}
}

func TestSSHHostCA_ReachesAgentsAndGateways(t *testing.T) {
	s := controltest.New(t)
	dev := s.Enrol("a@b.c", "laptop")
	gateway := s.Gateway("gw")
	gw := s.ClientWith(api.Secret(gateway.Token))
	agents := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	gateways := watch[api.GatewayState](t, s.ClientWith(api.Secret(gateway.Token)), api.PathGatewaySync)
	agents.until(t, "no authority", func(a *api.AgentState) bool { return len(a.Self.SSHHostCAs) == 0 })
	gateways.until(t, "no authority", func(g *api.GatewayState) bool { return len(g.Self.SSHHostCAs) == 0 })
	hostCert(t, gw, keyLine(t))
	var ca api.SSHHostCA
	s.Call(http.MethodPost, api.PathSSHHostCAs, nil, &ca)
	both := func(cas []string) bool { return len(cas) == 2 && cas[0] == ca.PublicKey }
	agents.until(t, "both, the newest first", func(a *api.AgentState) bool { return both(a.Self.SSHHostCAs) })
	gateways.until(t, "both, the newest first", func(g *api.GatewayState) bool { return both(g.Self.SSHHostCAs) })
}

func TestSSHHostCA_Permissions(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	for _, permission := range control.Permissions() {
		token := newToken(t, s, store.TokenFields{Permissions: []string{permission}})
		reads := permission == "All" || strings.HasPrefix(permission, "Access: SSH Auditing ")
		writes := permission == "All" || permission == "Access: SSH Auditing Write"
		for _, tc := range []struct {
			method, path string
			want         bool
		}{
			{http.MethodGet, api.PathSSHCAs, reads},
			{http.MethodPost, api.PathSSHHostCAs, writes},
			{http.MethodDelete, api.PathSSHHostCAs + "/none", writes},
		} {
			r := c.do(t, tc.method, tc.path, token, "")
			if got := r.status != http.StatusForbidden; got != tc.want {
				t.Errorf("%s %s with %q: status %d", tc.method, tc.path, permission, r.status)
			}
			if strings.Contains(string(r.raw), "PRIVATE") || strings.Contains(string(r.raw), "private") {
				t.Errorf("%s %s tells %s", tc.method, tc.path, r.raw)
			}
		}
	}
}
