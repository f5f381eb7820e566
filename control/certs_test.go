package control_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"weft/control"
	"weft/control/controltest"
	"weft/internal/kind"
)

func TestBuiltinCA_StaysAndRenewsTheServersCertificate(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	open := func() *control.Control {
		c, err := control.New(control.Config{
			Dir: dir, Listen: "127.0.0.1:0", Hostnames: []string{"control.example"}, Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	leaf := func() *x509.Certificate {
		pair, err := c.CertificateForTest()
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	first := leaf()
	for _, name := range []string{"127.0.0.1", "::1", "localhost", "control.example"} {
		if err := first.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if !leaf().Equal(first) {
		t.Error("a new certificate for every connection")
	}
	now = now.Add(61 * 24 * time.Hour)
	if second := leaf(); second.Equal(first) || !second.NotAfter.After(now.Add(30*24*time.Hour)) {
		t.Errorf("near its end it is still %v", second.NotAfter)
	}
	ca := c.CAPEM()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c = open()
	if !bytes.Equal(ca, c.CAPEM()) {
		t.Error("a restart made another CA")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, name := range []string{"store.key", "ca-key.pem"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "store.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := control.New(control.Config{Dir: dir, Listen: "127.0.0.1:0"}); !kind.Is(err, kind.Denied) {
		t.Errorf("with a key that others can read: %v", err)
	}
}

func TestNew_Refuses(t *testing.T) {
	taken := idle(t)
	port := taken.URL()[len("https://"):]
	for _, tc := range []struct {
		name string
		cfg  control.Config
		want kind.Kind
	}{
		{"no directory", control.Config{Listen: "127.0.0.1:0"}, kind.Invalid},
		{"no address", control.Config{Dir: t.TempDir()}, kind.Invalid},
		{"half a certificate", control.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", TLSCertFile: "x"}, kind.Invalid},
		{"plain http", control.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", PublicURL: "http://c"}, kind.Invalid},
		{"a port in use", control.Config{Dir: t.TempDir(), Listen: port}, kind.Unavailable},
	} {
		if _, err := control.New(tc.cfg); !kind.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestOwnCertificate(t *testing.T) {
	pair, err := idle(t).CertificateForTest()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var chain []byte
	for _, der := range pair.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	for path, data := range map[string][]byte{certPath: chain, keyPath: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := controltest.Start(t, control.Config{Dir: t.TempDir(), TLSCertFile: certPath, TLSKeyFile: keyPath})
	if s.Control.CAPEM() != nil {
		t.Error("there is a built-in CA")
	}
}
