package netwatch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weft/agent/netwatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan struct{}, 1)
		var calls atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			netwatch.CoalesceForTest(ctx, 300*time.Millisecond, events, func() { calls.Add(1) })
		}()
		for range 12 { // one roaming
			select {
			case events <- struct{}{}:
			default:
			}
			<-time.After(10 * time.Millisecond)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls for one change", n)
		}
		events <- struct{}{}
		<-time.After(time.Second)
		synctest.Wait()
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls for two changes", n)
		}
		cancel()
		<-done
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var now atomic.Value
		now.Store("a")
		var calls atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			netwatch.PollForTest(ctx, 5*time.Second, func() string { return now.Load().(string) }, func() { calls.Add(1) })
		}()
		<-time.After(21 * time.Second)
		synctest.Wait()
		if n := calls.Load(); n != 0 {
			t.Errorf("%d calls for no change", n)
		}
		now.Store("b")
		<-time.After(21 * time.Second)
		synctest.Wait()
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls for one change", n)
		}
		cancel()
		<-done
	})
}

// TestWatch_Ends: on every system the watch ends with its context.
func TestWatch_Ends(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		netwatch.Watch(ctx, nil, func() {})
	}()
	cancel()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("Watch goes on")
	}
}
