package netwatch_test

import (
	"context"
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
		calls := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			netwatch.CoalesceForTest(ctx, 300*time.Millisecond, events, func() { calls++ })
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
		if calls != 1 {
			t.Errorf("%d calls for one change", calls)
		}
		events <- struct{}{}
		<-time.After(time.Second)
		synctest.Wait()
		if calls != 2 {
			t.Errorf("%d calls for two changes", calls)
		}
		cancel()
		<-done
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		now, calls := "a", 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			netwatch.PollForTest(ctx, 5*time.Second, func() string { return now }, func() { calls++ })
		}()
		<-time.After(21 * time.Second)
		synctest.Wait()
		if calls != 0 {
			t.Errorf("%d calls for no change", calls)
		}
		now = "b"
		<-time.After(21 * time.Second)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("%d calls for one change", calls)
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
