package control_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/api"
	"weft/control/controltest"
	"weft/internal/kind"
	"weft/vnet"
)

func keyLine(t *testing.T) string {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

// TestCertificates_PermitWhatThePolicyAllows: without these extensions sshd refuses, and with one too many it would not.
func TestCertificates_PermitWhatThePolicyAllows(t *testing.T) {
	s := controltest.New(t)
	v := s.DefaultVNET()
	s.Target("web-1", "10.0.0.9", v)
	var ca api.GatewayCA
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, &ca)
	s.Call(http.MethodPost, s.Account("/access/apps"), json.RawMessage(`{"name":"ssh","type":"infrastructure",
		"target_criteria":[{"target_attributes":{"hostname":["web-1"]},"port":22,"protocol":"SSH"}],
		"policies":[
		{"name":"plain","decision":"allow","include":[{"everyone":{}}],"connection_rules":{"ssh":{"usernames":["plain"]}}},
		{"name":"all","decision":"allow","include":[{"everyone":{}}],"connection_rules":{"ssh":{"usernames":["plain","all"],
			"local_forwarding":{"destinations":["db:5432"]},"agent_forwarding":true,"x11_forwarding":true}}},
		{"name":"remote","decision":"allow","include":[{"everyone":{}}],"connection_rules":{"ssh":{"usernames":["remote"],
			"remote_forwarding":{"listen":["localhost:0"]}}}}]}`), nil)
	gw := s.ClientWith(api.Secret(s.Gateway("gw").Token))
	dev := s.Enrol("a@b.c", "laptop")
	for login, want := range map[string][]string{
		"plain": {"permit-pty"}, "remote": {"permit-port-forwarding", "permit-pty"},
		"all": {"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty"},
	} {
		var out api.Certificate
		if err := gw.Do(t.Context(), http.MethodPost, api.PathGatewayCertificate, api.CertificateRequest{
			PublicKey: keyLine(t), SessionID: "session-1", DeviceID: dev.DeviceID, VNET: vnet.ID(v),
			Destination: netip.MustParseAddrPort("10.0.0.9:22"), Login: login,
		}, &out); err != nil {
			t.Fatal(err)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(out.Certificate))
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(key.(*ssh.Certificate).Extensions)); !slices.Equal(got, want) {
			t.Errorf("%s: %v; want %v", login, got, want)
		}
	}
}

func TestCertificates(t *testing.T) {
	s := controltest.New(t)
	v := s.DefaultVNET()
	target := s.Target("web-1", "10.0.0.9", v)
	s.App("ssh", "web-1", "SSH", 22, "a@b.c", "root")
	s.App("db", "web-1", "POSTGRES", 5432, "a@b.c")
	gw := s.ClientWith(api.Secret(s.Gateway("gw").Token))
	dev, stranger := s.Enrol("a@b.c", "laptop"), s.Enrol("x@b.c", "laptop")
	request := func(change func(*api.CertificateRequest)) (api.Certificate, error) {
		r := api.CertificateRequest{
			PublicKey: keyLine(t), SessionID: "session-1", DeviceID: dev.DeviceID, VNET: vnet.ID(v),
			Destination: netip.MustParseAddrPort("10.0.0.9:22"), Login: "root",
		}
		change(&r)
		var out api.Certificate
		err := gw.Do(t.Context(), http.MethodPost, api.PathGatewayCertificate, r, &out)
		return out, err
	}
	same := func(*api.CertificateRequest) {}
	if _, err := request(same); !kind.Is(err, kind.Unavailable) || !strings.Contains(err.Error(), "gateway CA") {
		t.Errorf("without a CA: %v", err)
	}
	var ca api.GatewayCA
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, &ca)

	var got api.Certificate
	r := api.CertificateRequest{
		PublicKey: keyLine(t), SessionID: "session-1", DeviceID: dev.DeviceID, VNET: vnet.ID(v),
		Destination: netip.MustParseAddrPort("10.0.0.9:22"), Login: "root",
	}
	if err := gw.Do(t.Context(), http.MethodPost, api.PathGatewayCertificate, r, &got); err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(got.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	cert, isCert := parsed.(*ssh.Certificate)
	if !isCert {
		t.Fatalf("signed a %T", parsed)
	}
	caKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	checker := ssh.CertChecker{}
	if err := checker.CheckCert("root", cert); err != nil || string(cert.SignatureKey.Marshal()) != string(caKey.Marshal()) {
		t.Errorf("check: %v", err)
	}
	if want := "a@b.c session-1 " + target; cert.KeyId != want || got.KeyID != want || got.Serial != cert.Serial || time.Until(got.ValidBefore) > 2*time.Minute {
		t.Errorf("certificate %+v, answer %+v", cert, got)
	}

	for _, tc := range []struct {
		name   string
		change func(*api.CertificateRequest)
		want   kind.Kind
		says   string
	}{
		{"another UNIX user", func(r *api.CertificateRequest) { r.Login = "admin" }, kind.Denied, string(access.LoginNotPermitted)},
		{"another user", func(r *api.CertificateRequest) { r.DeviceID = stranger.DeviceID }, kind.Denied, string(access.NoPolicy)},
		{"an unknown device", func(r *api.CertificateRequest) { r.DeviceID = "no" }, kind.Denied, ""},
		{"another network", func(r *api.CertificateRequest) { r.VNET = "no" }, kind.Denied, ""},
		{"another port", func(r *api.CertificateRequest) { r.Destination = netip.MustParseAddrPort("10.0.0.9:23") }, kind.Denied, string(access.NoApplication)},
		{"a port that is no SSH", func(r *api.CertificateRequest) { r.Destination = netip.MustParseAddrPort("10.0.0.9:5432") }, kind.Denied, ""},
		{"an address that is no target", func(r *api.CertificateRequest) { r.Destination = netip.MustParseAddrPort("10.0.0.10:22") }, kind.Denied, string(access.NoTarget)},
		{"no UNIX user", func(r *api.CertificateRequest) { r.Login = "" }, kind.Invalid, ""},
		{"two UNIX users", func(r *api.CertificateRequest) { r.Login = "root,admin" }, kind.Invalid, ""},
		{"no session", func(r *api.CertificateRequest) { r.SessionID = "" }, kind.Invalid, "session"},
		{"a session on two lines", func(r *api.CertificateRequest) { r.SessionID = "a\nb" }, kind.Invalid, "session"},
		{"no key", func(r *api.CertificateRequest) { r.PublicKey = "" }, kind.Invalid, "key"},
		{"a certificate as a key", func(r *api.CertificateRequest) { r.PublicKey = got.Certificate }, kind.Invalid, "not signed"},
		{"a key with options", func(r *api.CertificateRequest) { r.PublicKey = "no-pty " + r.PublicKey }, kind.Invalid, "one line"},
		{"two keys", func(r *api.CertificateRequest) { r.PublicKey += r.PublicKey }, kind.Invalid, "one line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if c, err := request(tc.change); !kind.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("certificate %q, error %v of kind %q", c.Certificate, err, kind.Of(err))
			}
		})
	}

	s.Call(http.MethodPost, s.Account("/access/organizations/revoke_user"), api.RevokeUser{Email: "a@b.c"}, nil)
	if _, err := request(same); !kind.Is(err, kind.Denied) {
		t.Errorf("right after the revocation: %v", err)
	}
}
