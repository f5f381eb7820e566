//go:build e2e && linux

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRotateKeysUnderLoad holds streams open while the device changes its WireGuard key ten times: no stream breaks, and
// each checks every byte that comes back.
func TestRotateKeysUnderLoad(t *testing.T) {
	w := theWorld(t)
	const streams, rotations = 50, 10
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var open []*echoStream
	defer func() {
		for _, s := range open {
			_ = s.Close()
		}
	}()
	for range streams {
		s, err := w.agent.openEcho(ctx, "a", hostIPs[0]+":7000", "host-a")
		if err != nil {
			t.Fatalf("open stream %d: %v", len(open)+1, err)
		}
		open = append(open, s)
	}
	var (
		wg        sync.WaitGroup
		exchanges atomic.Int64
		stop      atomic.Bool
		errs      = make([]error, len(open))
	)
	for i, s := range open {
		wg.Go(func() {
			for !stop.Load() {
				if errs[i] = s.exchange(20 * time.Second); errs[i] != nil {
					errs[i] = fmt.Errorf("stream %d after %d exchanges: %w", i, s.n-1, errs[i])
					return
				}
				exchanges.Add(1)
			}
			errs[i] = s.exchange(20 * time.Second) // one more with the last key
		})
	}
	var slowest float64
	keys := map[string]bool{}
	for range rotations {
		var r struct {
			New  string  `json:"new_public_key"`
			Kept int     `json:"flows_kept"`
			Took float64 `json:"took_ms"`
		}
		if err := json.Unmarshal([]byte(w.agent.mustCLI(t, "tunnel", "rotate-keys", "--json")), &r); err != nil {
			t.Fatal(err)
		}
		if r.Kept < streams || keys[r.New] {
			t.Errorf("rotation %+v", r)
		}
		keys[r.New], slowest = true, max(slowest, r.Took)
	}
	stop.Store(true)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	list := w.agent.mustCLI(t, "flow", "list", "--json")
	if n := strings.Count(list, `"entrance": "socks"`); n < streams {
		t.Errorf("flow list shows %d flows of the proxy, want at least %d", n, streams)
	}
	t.Logf("%d rotations, the slowest in %.1f ms, %d exchanges on %d streams, none broken", rotations, slowest, exchanges.Load(), streams)
}
