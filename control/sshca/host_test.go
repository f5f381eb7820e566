package sshca_test

import (
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/control/sshca"
)

func TestSignHost_IsWorthADay(t *testing.T) {
	private := authority(t, sshca.Software{}, sshca.ECDSAP256)
	ca, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(sshca.PublicLine(private.PublicKey(), sshca.HostComment)))
	if err != nil || comment != sshca.HostComment {
		t.Fatalf("CA line: %q, %v", comment, err)
	}
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	cert, err := sshca.SignHost(private, sshca.HostRequest{Key: ephemeral(t), Principal: "weft-gateway", KeyID: "id"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, host string
		at         time.Duration
		good       bool
	}{
		{"at once", "weft-gateway:22", 0, true},
		{"by a clock that is an hour behind", "weft-gateway:22", -time.Hour, true},
		{"by a clock that is further behind", "weft-gateway:22", -time.Hour - time.Second, false},
		{"nearly a day later", "weft-gateway:22", 24*time.Hour - time.Second, true},
		{"a day later", "weft-gateway:22", 24 * time.Hour, false},
		{"for another name", "web-1:22", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checker := ssh.CertChecker{
				IsHostAuthority: func(k ssh.PublicKey, _ string) bool { return string(k.Marshal()) == string(ca.Marshal()) },
				Clock:           func() time.Time { return now.Add(tc.at) },
			}
			if err := checker.CheckHostKey(tc.host, nil, cert); tc.good != (err == nil) {
				t.Errorf("check: %v", err)
			}
		})
	}
	if checker := (ssh.CertChecker{Clock: func() time.Time { return now }}); cert.CertType != ssh.HostCert || checker.CheckCert("weft-gateway", cert) != nil {
		t.Errorf("certificate %+v", cert)
	}
	for name, r := range map[string]sshca.HostRequest{
		"no principal":           {Key: ephemeral(t)},
		"no key":                 {Principal: "weft-gateway"},
		"a certificate as a key": {Key: cert, Principal: "weft-gateway"},
	} {
		if c, err := sshca.SignHost(private, r, now); err == nil {
			t.Errorf("%s: signed %+v", name, c)
		}
	}
}
