package sshca_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/control/sshca"
)

func sign(tb testing.TB, ca sshca.Signer, key ssh.PublicKey) *ssh.Certificate {
	tb.Helper()
	cert, err := sshca.Sign(ca, sshca.Request{Key: key, Principal: "root", KeyID: "id"}, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func render(tb testing.TB, k *sshca.KRL) []byte {
	tb.Helper()
	b, err := k.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestKRL_ReadsWhatItWrites(t *testing.T) {
	one, two := authority(t, sshca.Software{}, sshca.ECDSAP256), authority(t, sshca.Software{}, sshca.ED25519)
	k := &sshca.KRL{
		Version: 7, Generated: time.Unix(1_800_000_000, 0), Comment: "weft", Keys: []ssh.PublicKey{two.PublicKey(), two.PublicKey()},
		Serials: []sshca.RevokedSerials{{CA: one.PublicKey(), Serials: []uint64{1 << 62, 3, 3, 1}}, {CA: two.PublicKey()}},
	}
	b := render(t, k)
	got, err := sshca.ParseKRL(b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != 7 || !got.Generated.Equal(k.Generated) || got.Comment != "weft" || len(got.Keys) != 1 || len(got.Serials) != 1 ||
		!slices.Equal(got.Serials[0].Serials, []uint64{1, 3, 1 << 62}) {
		t.Errorf("read %+v", got)
	}
	if again := render(t, got); !bytes.Equal(b, again) {
		t.Errorf("written again it is another:\n%x\n%x", b, again)
	}
	for cut := range b {
		if _, err := sshca.ParseKRL(b[:cut]); err == nil && cut > 0 {
			// A cut between sections leaves a shorter list that is whole; only the header must be.
			if whole, err := sshca.ParseKRL(b[:cut]); err != nil || len(whole.Keys)+len(whole.Serials) == len(got.Keys)+len(got.Serials) {
				t.Errorf("cut at %d of %d it is read as %+v", cut, len(b), whole)
			}
		}
	}
	if _, err := (&sshca.KRL{Serials: []sshca.RevokedSerials{{CA: one.PublicKey(), Serials: []uint64{0}}}}).Marshal(); err == nil {
		t.Error("serial number 0 was rendered, which ssh-keygen refuses")
	}
}

// The judge is ssh-keygen: it answers for each certificate whether the list revokes it.
func TestKRL_SSHKeygenAgrees(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, retired := authority(t, sshca.Software{}, sshca.ECDSAP256), authority(t, sshca.Software{}, sshca.ED25519), authority(t, sshca.Software{}, sshca.ECDSAP256)
	good, revoked, second, old := sign(t, one, ephemeral(t)), sign(t, one, ephemeral(t)), sign(t, two, ephemeral(t)), sign(t, retired, ephemeral(t))
	full := &sshca.KRL{
		Version: 1, Generated: time.Now(), Comment: "weft", Keys: []ssh.PublicKey{retired.PublicKey()},
		// The serial of the second authority's certificate stands under the first as well, where it means nothing.
		Serials: []sshca.RevokedSerials{{CA: one.PublicKey(), Serials: []uint64{revoked.Serial, 5}}, {CA: two.PublicKey(), Serials: []uint64{5}}},
	}
	for _, tc := range []struct {
		name    string
		krl     *sshca.KRL
		cert    *ssh.Certificate
		revoked bool
	}{
		{"one that is not on it", full, good, false},
		{"one by its serial number", full, revoked, true},
		{"one of another authority", full, second, false},
		{"one of a retired authority", full, old, true},
		{"an empty list", &sshca.KRL{Version: 1, Generated: time.Now()}, revoked, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			krl := write("krl", render(t, tc.krl))
			cert := write("id-cert.pub", ssh.MarshalAuthorizedKey(tc.cert))
			out, err := exec.CommandContext(t.Context(), keygen, "-Q", "-f", krl, cert).CombinedOutput()
			if says := strings.Contains(string(out), "REVOKED"); says != tc.revoked || (err != nil) != tc.revoked {
				t.Errorf("ssh-keygen says %q, %v", out, err)
			}
		})
	}
	out, err := exec.CommandContext(t.Context(), keygen, "-Q", "-l", "-f", write("krl", render(t, full))).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ssh.FingerprintSHA256(retired.PublicKey())) {
		t.Errorf("ssh-keygen lists %q, %v", out, err)
	}
}

func FuzzParseKRL(f *testing.F) {
	_, reference, err := sshca.Software{}.Generate(f.Context(), sshca.ED25519)
	if err != nil {
		f.Fatal(err)
	}
	ca, err := sshca.Software{}.Signer(f.Context(), reference)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(render(f, &sshca.KRL{}))
	f.Add(render(f, &sshca.KRL{Version: 1, Generated: time.Unix(1, 0), Comment: "weft", Keys: []ssh.PublicKey{ca.PublicKey()}}))
	f.Add(render(f, &sshca.KRL{Serials: []sshca.RevokedSerials{{CA: ca.PublicKey(), Serials: []uint64{1, 2}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := sshca.ParseKRL(b)
		if err != nil {
			return
		}
		for _, key := range k.Keys {
			if key == nil {
				t.Fatal("a key that is none")
			}
		}
		for _, ca := range k.Serials {
			if ca.CA == nil {
				t.Fatal("an authority that is none")
			}
			if slices.Contains(ca.Serials, 0) {
				return // not ours to write
			}
		}
		again, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sshca.ParseKRL(again); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}
