//go:build e2e && linux

package integration_test

import (
	"testing"
	"time"
)

// TestDeadReplicaIsSkipped: two connectors of one tunnel are equal; when one is killed, new connections go on.
func TestDeadReplicaIsSkipped(t *testing.T) {
	w := theWorld(t)
	ready := w.path("replica-ready")
	replica, err := w.start(t.Context(), "connector-a2", w.net.edgeA, w.bin.Weft, "connector", "--token-file", w.path("tunnel-token-a"),
		"--control", controlURL, "--ca-file", w.caFile(), "--ready-file", ready, "--source-address", "never")
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.AwaitFile(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	connect := func() error {
		s, err := w.agent.openEcho(t.Context(), "a", hostIPs[0]+":7000", "host-a")
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		return s.exchange(5 * time.Second)
	}
	for range 10 {
		if err := connect(); err != nil {
			t.Fatalf("with two replicas: %v", err)
		}
	}
	if err := replica.Kill(); err != nil {
		t.Fatal(err)
	}
	var slowest time.Duration
	for i := range 20 {
		start := time.Now()
		if err := connect(); err != nil {
			t.Errorf("connection %d after one replica was killed: %v", i+1, err)
		}
		slowest = max(slowest, time.Since(start))
	}
	if slowest > 5*time.Second {
		t.Errorf("the slowest connection took %v", slowest)
	}
	t.Logf("the slowest connection took %v", slowest)
}
