package dev_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/dev"
	"weft/internal/kind"
)

func TestParseMap(t *testing.T) {
	ap := netip.MustParseAddrPort
	tests := []struct {
		name  string
		pairs []string
		want  map[netip.AddrPort]netip.AddrPort
		bad   bool
	}{
		{name: "none", want: map[netip.AddrPort]netip.AddrPort{}},
		{name: "two", pairs: []string{"10.0.0.1:22=127.0.0.1:2222", "[fd00::1]:22=[::1]:23"}, want: map[netip.AddrPort]netip.AddrPort{
			ap("10.0.0.1:22"): ap("127.0.0.1:2222"), ap("[fd00::1]:22"): ap("[::1]:23"),
		}},
		{name: "no right side", pairs: []string{"10.0.0.1:22"}, bad: true},
		{name: "no port", pairs: []string{"10.0.0.1=127.0.0.1:22"}, bad: true},
		{name: "a name instead of an address", pairs: []string{"10.0.0.1:22=localhost:22"}, bad: true},
		{name: "the same address twice", pairs: []string{"10.0.0.1:22=127.0.0.1:1", "10.0.0.1:22=127.0.0.1:2"}, bad: true},
		{name: "nothing", pairs: []string{""}, bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dev.ParseMap(tt.pairs)
			if tt.bad {
				if !kind.Is(err, kind.Invalid) {
					t.Fatalf("error %v, want kind.Invalid", err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); err != nil || diff != "" {
				t.Fatalf("%v %s", err, diff)
			}
		})
	}
}

func TestEnv_ShellReadsBackExactly(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("sh is not installed")
	}
	env := dev.Env{
		{Name: "PLAIN", Value: "https://127.0.0.1:1/client/v4"},
		{Name: "EMPTY", Value: ""},
		{Name: "AWKWARD", Value: "it's $HOME `id` \"quoted\" \\ back\nand a second line; exit 3"},
	}
	for _, v := range env {
		out, err := exec.CommandContext(t.Context(), sh, "-c", env.Shell()+`printf %s "$`+v.Name+`"`).Output()
		if err != nil || string(out) != v.Value {
			t.Errorf("%s reads back as %q, %v; want %q", v.Name, out, err, v.Value)
		}
		if got := env.Get(v.Name); got != v.Value {
			t.Errorf("Get(%s) = %q", v.Name, got)
		}
	}
}

var loopback = netip.MustParseAddr("127.0.0.1")

func TestChoose(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			held := hold(t, network)
			if _, err := dev.ChooseForTest("--control-port", network, loopback, held, 0); !kind.Is(err, kind.Conflict) {
				t.Errorf("a given port in use: %v, want kind.Conflict", err)
			}
			if p, err := dev.ChooseForTest("--control-port", network, loopback, 0, held); err != nil || p == held || p == 0 {
				t.Errorf("last time's port in use: %d, %v; want another", p, err)
			}
			free, err := dev.ChooseForTest("--control-port", network, loopback, 0, 0)
			if err != nil || free == 0 {
				t.Fatalf("a free port: %d, %v", free, err)
			}
			if p, err := dev.ChooseForTest("--control-port", network, loopback, 0, free); err != nil || p != free {
				t.Errorf("last time's port is free: %d, %v; want %d", p, err, free)
			}
			if p, err := dev.ChooseForTest("--control-port", network, loopback, free, held); err != nil || p != free {
				t.Errorf("a given port that is free: %d, %v; want %d", p, err, free)
			}
		})
	}
}

// hold binds a port until the test ends.
func hold(t *testing.T, network string) uint16 {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // a test's socket
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test's socket
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := dev.LockForTest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.LockForTest(dir); !kind.Is(err, kind.Conflict) {
		t.Fatalf("a second lock: %v, want kind.Conflict", err)
	}
	unlock()
	unlock, err = dev.LockForTest(dir)
	if err != nil {
		t.Fatalf("after the first was released: %v", err)
	}
	unlock()
}

func TestBundle(t *testing.T) {
	system := filepath.Join(t.TempDir(), "system.pem")
	const theirs = "-----BEGIN CERTIFICATE-----\ntheirs\n-----END CERTIFICATE-----\n"
	if err := os.WriteFile(system, []byte(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", system)
	got := string(dev.BundleForTest("ours\n\n", ""))
	if got != "ours\n"+theirs {
		t.Errorf("bundle is %q", got)
	}
	if got := string(dev.BundleForTest("ours", system)); strings.Contains(got, "theirs") {
		t.Error("a bundle of an earlier start is taken for the system's")
	}
	t.Setenv("SSL_CERT_FILE", filepath.Join(t.TempDir(), "none"))
	if got := string(dev.BundleForTest("ours", "")); !strings.HasPrefix(got, "ours\n") {
		t.Errorf("bundle without the user's file is %.40q", got)
	}
}

func TestNew_Validates(t *testing.T) {
	if _, err := dev.New(dev.Config{}); !kind.Is(err, kind.Invalid) {
		t.Errorf("without a directory: %v, want kind.Invalid", err)
	}
}

func TestEnvironment_NotRunning(t *testing.T) {
	dir := t.TempDir()
	_, err := dev.Environment(t.Context(), dir, "jdoe@company.com")
	if !kind.Is(err, kind.Unavailable) || !strings.Contains(err.Error(), "no weft dev is running") {
		t.Errorf("on an empty folder: %v, want kind.Unavailable", err)
	}
}
