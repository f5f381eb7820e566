package probe_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestProbeSharesNoPacketCode: what checks the data path must not repeat its faults.
func TestProbeSharesNoPacketCode(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "weft/probe").Output()
	if err != nil {
		t.Fatalf("list the dependencies: %v", err)
	}
	deps := trim(string(out))
	if !deps["golang.zx2c4.com/wireguard/tun/netstack"] {
		t.Error("weft/probe does not use upstream's netstack: is this listing right?")
	}
	for dep := range deps {
		for _, forbidden := range []string{"weft/tunnel", "weft/agent", "weft/gateway"} {
			if dep == forbidden || strings.HasPrefix(dep, forbidden+"/") {
				t.Errorf("weft/probe depends on %s", dep)
			}
		}
	}
}
