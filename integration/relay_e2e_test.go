//go:build e2e && linux

package integration_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestHTTPThroughSOCKS is the kernel's TCP on both ends of ours: curl here, a kernel socket behind the connector.
func TestHTTPThroughSOCKS(t *testing.T) {
	w := theWorld(t)
	need(t, "curl")
	w.agent.selectVNET(t, "a")
	url := fmt.Sprintf("http://%s:%d", hostIPs[0], webPort)
	for network, want := range map[string]string{"": "host-a", "a:x@": "host-a", "b:x@": "host-b"} {
		out := w.inClient(t, nil, "curl", "-sS", "--fail", "-x", "socks5h://"+network+w.agent.proxy, url+"/name")
		if out != want {
			t.Errorf("through SOCKS5 %q: %q, want %q", network, out, want)
		}
	}
	// Sizes around a segment, a GSO packet and the socket buffers.
	for _, n := range []int{0, 1, 1219, 1220, 1221, 32 << 10, 65535, 65537, 1 << 20, 20 << 20} {
		out := w.inClient(t, nil, "curl", "-sS", "--fail", "-x", "socks5h://a:x@"+w.agent.proxy, fmt.Sprintf("%s/bytes?n=%d", url, n))
		if sum(out) != patternSum(t, n) {
			t.Errorf("download of %d bytes is not what was sent (%d bytes came)", n, len(out))
		}
	}
	file := filepath.Join(t.TempDir(), "upload")
	data, err := io.ReadAll(io.LimitReader(&pattern{}, 20<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := w.inClient(t, nil, "curl", "-sS", "--fail", "-x", "socks5h://b:x@"+w.agent.proxy, "-T", file, url+"/count"); out != "20971520" {
		t.Errorf("upload: the server counted %s", out)
	}
	t.Run("HTTP CONNECT", func(t *testing.T) {
		if out := w.inClient(t, nil, "curl", "-sS", "--fail", "-p", "-x", "http://"+w.agent.proxy, url+"/name"); out != "host-a" {
			t.Errorf("got %q", out)
		}
	})
}

func sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func patternSum(t *testing.T, n int) [32]byte {
	t.Helper()
	h := sha256.New()
	if _, err := io.CopyN(h, &pattern{}, int64(n)); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func TestUDPThroughSOCKS(t *testing.T) {
	w := theWorld(t)
	to := netip.AddrPortFrom(netip.MustParseAddr(hostIPs[0]), udpPort)
	for _, network := range []string{"a", "b"} {
		got, err := w.agent.datagram(t, network, to, "ping")
		if err != nil || got != "host-"+network+" ping" {
			t.Errorf("a datagram to %s in network %s: %q, %v", to, network, got, err)
		}
	}
}

// TestProbe: the synthetic client, in the client's namespace, says what a monitor must know.
func TestProbe(t *testing.T) {
	w := theWorld(t)
	file := filepath.Join(t.TempDir(), "enrolment")
	enrolment := w.inServer(t, w.bin.Weft, "enrolment", "create", "--email", userEmail, "--control", controlURL,
		"--token-file", w.path("api-token"), "--ca-file", w.caFile())
	if err := os.WriteFile(file, []byte(enrolment), 0o600); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	tests := []struct {
		name, target, vnet string
		code               int
	}{
		{"allowed", hostIPs[0] + ":7000", "a", 0},
		{"allowed in the other network", hostIPs[0] + ":7000", "b", 0},
		{"ssh", hostIPs[0] + ":22", "a", 0},
		{"denied", hostIPs[0] + ":7100", "a", 12},
		{"refused", hostIPs[0] + ":7999", "a", 13},
		{"no answer", deadIP + ":7000", "a", 14},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := w.run(t.Context(), w.net.client, w.bin.Weft, "probe", "--enrolment-file", file, "--state", state,
				"--target", tt.target, "--vnet", tt.vnet, "--timeout", "3s", "--json")
			got := exitCodeOf(err)
			if got != tt.code {
				t.Errorf("exit status %d, want %d: %s %v", got, tt.code, out, err)
			}
		})
	}
}
