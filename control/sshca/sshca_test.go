package sshca_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/control/sshca"
)

func ephemeral(t *testing.T) ssh.PublicKey {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority makes a key of a source and opens it again by its reference.
func authority(t *testing.T, keys sshca.KeySource, a sshca.Algorithm) sshca.Signer {
	t.Helper()
	public, reference, err := keys.Generate(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.Signer(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	if sshca.AlgorithmOf(public) != a || string(signer.PublicKey().Marshal()) != string(public.Marshal()) {
		t.Fatalf("made a %s key, asked for %s", public.Type(), a)
	}
	return signer
}

// sources are the two kinds of homes of a key: the reference itself, and a process behind a socket that never gives it away.
func sources(t *testing.T) map[string]sshca.KeySource {
	t.Helper()
	return map[string]sshca.KeySource{"software": sshca.Software{}, "an agent": newAgentKeys(t)}
}

func TestSign_IsWorthOneLoginForThreeMinutes(t *testing.T) {
	for name, keys := range sources(t) {
		for _, algorithm := range sshca.Algorithms() {
			t.Run(name+" "+string(algorithm), func(t *testing.T) { signIsWorthOneLogin(t, authority(t, keys, algorithm)) })
		}
	}
}

func signIsWorthOneLogin(t *testing.T, ca sshca.Signer) {
	t.Helper()
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	cert, err := sshca.Sign(ca, sshca.Request{
		Key: ephemeral(t), Principal: "root", KeyID: "a@b.c s t", Extensions: []string{sshca.PermitPTY, sshca.PermitAgentForwarding},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		at        time.Duration
		principal string
		good      bool
	}{
		{"at once", 0, "root", true},
		{"by a clock that is a minute behind", -time.Minute, "root", true},
		{"by a clock that is further behind", -61 * time.Second, "root", false},
		{"nearly two minutes later", 119 * time.Second, "root", true},
		{"two minutes later", 2 * time.Minute, "root", false},
		{"as somebody else", 0, "admin", false},
		{"as nobody", 0, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checker := ssh.CertChecker{
				IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(ca.PublicKey().Marshal()) },
				Clock:           func() time.Time { return now.Add(tc.at) },
			}
			if !checker.IsUserAuthority(cert.SignatureKey) {
				t.Fatal("another key signed")
			}
			if err := checker.CheckCert(tc.principal, cert); tc.good != (err == nil) {
				t.Errorf("check: %v", err)
			}
		})
	}
	if life := time.Duration(cert.ValidBefore-cert.ValidAfter) * time.Second; life > 3*time.Minute {
		t.Errorf("it lives %v", life)
	}
	if cert.CertType != ssh.UserCert || len(cert.ValidPrincipals) != 1 || cert.KeyId != "a@b.c s t" || cert.Serial == 0 || len(cert.CriticalOptions) != 0 {
		t.Errorf("certificate %+v", cert)
	}
	if got := slices.Sorted(maps.Keys(cert.Extensions)); !slices.Equal(got, []string{"permit-agent-forwarding", "permit-pty"}) {
		t.Errorf("extensions %v", got)
	}
}

func TestSign_Narrows(t *testing.T) {
	ca := authority(t, sshca.Software{}, sshca.ECDSAP256)
	for _, tc := range []struct{ name, addr, want string }{
		{"IPv4", "10.0.0.7", "10.0.0.7/32"},
		{"IPv6", "fd00::7", "fd00::7/128"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, err := sshca.Sign(ca, sshca.Request{
				Key: ephemeral(t), Principal: "root", SourceAddress: netip.MustParseAddr(tc.addr), ForceCommand: "/bin/false",
			}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"source-address": tc.want, "force-command": "/bin/false"}
			if !maps.Equal(cert.CriticalOptions, want) || len(cert.Extensions) != 0 {
				t.Errorf("options %v, extensions %v", cert.CriticalOptions, cert.Extensions)
			}
		})
	}
}

func TestSign_Refuses(t *testing.T) {
	ca := authority(t, sshca.Software{}, sshca.ED25519)
	good := ephemeral(t)
	cert, err := sshca.Sign(ca, sshca.Request{Key: good, Principal: "root"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]sshca.Request{
		"no principal":              {Key: good},
		"no key":                    {Principal: "root"},
		"a certificate as a key":    {Key: cert, Principal: "root"},
		"an unknown extension":      {Key: good, Principal: "root", Extensions: []string{"permit-user-rc"}},
		"an address for everything": {Key: good, Principal: "root", SourceAddress: netip.IPv4Unspecified()},
		"an address with a zone":    {Key: good, Principal: "root", SourceAddress: netip.MustParseAddr("fe80::1%eth0")},
		"a mapped address":          {Key: good, Principal: "root", SourceAddress: netip.MustParseAddr("::ffff:10.0.0.1")},
	} {
		if c, err := sshca.Sign(ca, r, time.Now()); err == nil {
			t.Errorf("%s: signed %+v", name, c)
		}
	}
	r := sshca.Request{Key: good, Principal: "root"}
	if c, err := sshca.Sign(nil, r, time.Now()); err == nil {
		t.Errorf("signed by nobody: %+v", c)
	}
	// A device that signs with another key, or not at all what it was given, makes no certificate.
	other := authority(t, sshca.Software{}, sshca.ED25519)
	if c, err := sshca.Sign(lyingSigner{Signer: other, says: ca.PublicKey()}, r, time.Now()); err == nil {
		t.Errorf("signed by another key: %+v", c)
	}
}

// lyingSigner says that it has another key than it signs with.
type lyingSigner struct {
	ssh.Signer
	says ssh.PublicKey
}

func (l lyingSigner) PublicKey() ssh.PublicKey { return l.says }

func TestSoftware_DoesNotQuoteItsKey(t *testing.T) {
	if _, err := (sshca.Software{}).Signer(t.Context(), []byte("nonsense")); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a key that is none: %v", err)
	}
	if _, _, err := (sshca.Software{}).Generate(t.Context(), "rsa"); err == nil {
		t.Error("made an RSA key")
	}
}

func TestParseAlgorithm(t *testing.T) {
	for in, want := range map[string]sshca.Algorithm{"": sshca.ECDSAP256, "ecdsa-p256": sshca.ECDSAP256, "ed25519": sshca.ED25519, "rsa": "", "ED25519": ""} {
		if got, err := sshca.ParseAlgorithm(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", in, got, err)
		}
	}
}
