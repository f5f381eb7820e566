package gateway_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"weft/gateway"
	"weft/internal/kind"
)

// An administrator accepts a changed key, or forgets one, while the gateway runs.
func TestHostKeys_ChangeUnderARunningGateway(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	login := func(want bool) {
		t.Helper()
		client, banner, err := w.login("ubuntu")
		if (err == nil) != want {
			t.Fatalf("login: %v (%s)", err, banner)
		}
		if err == nil {
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	fingerprint := func() string { return ssh.FingerprintSHA256(target.hostKey.Load().(ssh.Signer).PublicKey()) }
	only := func() gateway.HostKey {
		t.Helper()
		keys, err := gateway.HostKeys(w.dir)
		if err != nil || len(keys) != 1 || keys[0].Destination != at(portSSH) || keys[0].VNET != netA {
			t.Fatalf("keys %+v, %v", keys, err)
		}
		return keys[0]
	}
	login(true)
	first := fingerprint()
	if k := only(); k.Fingerprint != first || k.Refused != nil {
		t.Errorf("after the first login: %+v", k)
	}
	if err := gateway.AcceptHostKey(w.dir, netA, at(portSSH), first); !kind.Is(err, kind.Conflict) {
		t.Errorf("accepted though nothing was refused: %v", err)
	}
	target.hostKey.Store(newSigner(t))
	login(false)
	if k := only(); k.Fingerprint != first || k.Refused == nil || k.Refused.Fingerprint != fingerprint() {
		t.Errorf("after the change: %+v", k)
	}
	if err := gateway.AcceptHostKey(w.dir, netA, at(portSSH), first); !kind.Is(err, kind.Conflict) {
		t.Errorf("accepted by another fingerprint: %v", err)
	}
	login(false)
	if err := gateway.AcceptHostKey(w.dir, netA, at(portSSH), fingerprint()); err != nil {
		t.Fatal(err)
	}
	login(true)
	if k := only(); k.Fingerprint != fingerprint() || k.Refused != nil {
		t.Errorf("after it was accepted: %+v", k)
	}

	target.hostKey.Store(newSigner(t))
	login(false)
	for name, err := range map[string]error{
		"another network": gateway.ForgetHostKey(w.dir, netB, at(portSSH)), "another port": gateway.ForgetHostKey(w.dir, netA, at(portTCP)),
	} {
		if !kind.Is(err, kind.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := gateway.ForgetHostKey(w.dir, netA, at(portSSH)); err != nil {
		t.Fatal(err)
	}
	login(true)

	// A file that cannot be read refuses, and one that is gone forgets nothing.
	path := filepath.Join(w.dir, "host_keys.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	login(false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	login(true)
	target.hostKey.Store(newSigner(t))
	login(false)
}
