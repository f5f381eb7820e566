//go:build e2e && linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSwitchUnderLoad holds 200 streams open, half to each host at the same address, while the selected network changes
// 100 times. Each stream checks every byte that comes back, host's name included.
func TestSwitchUnderLoad(t *testing.T) {
	w := theWorld(t)
	const streams, switches = 200, 100
	addr := hostIPs[0] + ":7000"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var open []*echoStream
	defer func() {
		for _, s := range open {
			_ = s.Close()
		}
	}()
	for _, network := range []string{"a", "b"} {
		w.agent.selectVNET(t, network)
		for range streams / 2 {
			// The selected network, not a named one: that is what must stay with the stream.
			s, err := w.agent.openEcho(ctx, "", addr, "host-"+network)
			if err != nil {
				t.Fatalf("open stream %d: %v", len(open)+1, err)
			}
			open = append(open, s)
		}
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
					errs[i] = fmt.Errorf("stream %d to %s after %d exchanges: %w", i, s.host, s.n-1, errs[i])
					return
				}
				exchanges.Add(1)
			}
			// One more after the last switch.
			errs[i] = s.exchange(20 * time.Second)
		})
	}
	start := time.Now()
	for i := range switches {
		network := []string{"a", "b"}[i%2]
		w.agent.selectVNET(t, network)
		if i%10 == 0 {
			// New connections follow the switch at once.
			if got, err := w.agent.whichHost(ctx, "", addr); err != nil || got != "host-"+network {
				t.Errorf("after switch %d a new connection reached %q, %v", i+1, got, err)
			}
		}
	}
	took := time.Since(start)
	stop.Store(true)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, s := range open {
		if s.n < 2 {
			t.Errorf("stream %d carried nothing while the network was switched", i)
		}
	}
	t.Logf("%d switches in %v, %d exchanges on %d streams, none broken and none from the wrong host", switches, took, exchanges.Load(), streams)
	w.agent.selectVNET(t, "a")
}
