package sshca_test

import (
	"crypto/ed25519"
	"crypto/rand"
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

func TestSign_IsWorthOneLoginForThreeMinutes(t *testing.T) {
	public, private, err := sshca.Generate()
	if err != nil {
		t.Fatal(err)
	}
	ca, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	if err != nil || ca.Type() != ssh.KeyAlgoECDSA256 || comment != sshca.Comment {
		t.Fatalf("CA line %q: %v", public, err)
	}
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	cert, err := sshca.Sign(private, sshca.Request{Key: ephemeral(t), Principal: "root", KeyID: "a@b.c s t"}, now)
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
				IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(ca.Marshal()) },
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
	if cert.CertType != ssh.UserCert || len(cert.ValidPrincipals) != 1 || cert.KeyId != "a@b.c s t" || cert.Serial == 0 ||
		len(cert.Extensions) != 1 || len(cert.CriticalOptions) != 0 {
		t.Errorf("certificate %+v", cert)
	}
	if _, ok := cert.Extensions["permit-pty"]; !ok {
		t.Errorf("extensions %v", cert.Extensions)
	}
}

func TestSign_Refuses(t *testing.T) {
	_, private, err := sshca.Generate()
	if err != nil {
		t.Fatal(err)
	}
	good := ephemeral(t)
	cert, err := sshca.Sign(private, sshca.Request{Key: good, Principal: "root"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]sshca.Request{
		"no principal":           {Key: good},
		"no key":                 {Principal: "root"},
		"a certificate as a key": {Key: cert, Principal: "root"},
	} {
		if c, err := sshca.Sign(private, r, time.Now()); err == nil {
			t.Errorf("%s: signed %+v", name, c)
		}
	}
	if _, err := sshca.Sign([]byte("nonsense"), sshca.Request{Key: good, Principal: "root"}, time.Now()); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a key that is none: %v", err)
	}
}
