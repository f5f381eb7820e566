//go:build e2e && linux

package integration_test

import (
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"
)

// TestSourceAddress: a connector that is a neighbour of a target vouches for its address, without being told to, and sshd takes
// the certificate that is bound to it. The other connectors of these tests are told not to, because relays are among their targets.
func TestSourceAddress(t *testing.T) {
	w := theWorld(t)
	tunnel, token, err := w.api.CreateTunnel(t.Context(), "neighbour")
	if err != nil {
		t.Fatal(err)
	}
	file, ready := w.path("tunnel-token-neighbour"), w.path("neighbour-ready")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	neighbour, err := w.start(t.Context(), "connector-neighbour", w.net.edgeA, w.bin.Weft, "connector", "--token-file", file,
		"--control", controlURL, "--ca-file", w.caFile(), "--ready-file", ready)
	if err != nil {
		t.Fatal(err)
	}
	if err := neighbour.AwaitFile(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	// The longer prefix wins, for host A alone.
	route, err := w.api.CreateRoute(t.Context(), netip.PrefixFrom(netip.MustParseAddr(hostIPs[0]), 32), tunnel, w.networks["a"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.api.Do(cleanupContext(t), http.MethodDelete, "/teamnet/routes/"+route, nil, nil); err != nil {
			t.Error(err)
		}
		if err := neighbour.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	config := w.agent.sshConfig(t)
	w.agent.selectVNET(t, "a")
	eventually(t, 60*time.Second, "a login by a certificate that is bound to the connector's address", func() bool {
		out, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, "host-a", "hostname")
		return err == nil && out == "host-a" && w.auditHas(t, "ssh_certificate", "host-a", `"source_address":"10.20.0.1/32"`, `"serial":"`)
	})
}
