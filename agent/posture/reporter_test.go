package posture_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft/agent/posture"
	"weft/api"
)

func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wake, done := make(chan struct{}, 1), make(chan struct{})
		var mu sync.Mutex // over what both sides touch
		var checks []api.PostureCheck
		var reports []api.PostureReport
		exists, refuse := false, false
		r := &posture.Reporter{
			Logger: slog.New(slog.DiscardHandler),
			Checks: func() []api.PostureCheck { mu.Lock(); defer mu.Unlock(); return checks },
			Look: func(_ context.Context, checks []api.PostureCheck) api.PostureReport {
				mu.Lock()
				defer mu.Unlock()
				out := api.PostureReport{Observations: map[string]api.PostureObservation{}}
				for _, c := range checks {
					out.Observations[c.ID] = api.PostureObservation{Exists: exists}
				}
				return out
			},
			Send: func(_ context.Context, x api.PostureReport) error {
				mu.Lock()
				defer mu.Unlock()
				if refuse {
					return errors.New("refused")
				}
				reports = append(reports, x)
				return nil
			},
		}
		go func() { defer close(done); r.Run(ctx, wake) }()
		after := func(what string, d time.Duration, want int) {
			t.Helper()
			time.Sleep(d) //nolint:forbidigo // time is the bubble's
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(reports) != want {
				t.Errorf("%s: %d reports, want %d", what, len(reports), want)
			}
		}
		after("before anything is asked", time.Hour, 0)
		set := func(change func()) { mu.Lock(); defer mu.Unlock(); change() }
		wake <- struct{}{}
		after("the facts", time.Second, 1)
		after("nothing asked, nothing changed", 3*time.Hour, 1)
		set(func() { checks = []api.PostureCheck{{ID: "a", IntervalSeconds: 300}} })
		wake <- struct{}{}
		after("a new check", time.Second, 2)
		after("nothing changed", 4*time.Minute, 2)
		after("it is due", 61*time.Second, 3)
		set(func() { exists = true })
		after("what changed is not waited with", 61*time.Second, 4)
		set(func() { refuse = true })
		after("control refuses", 10*time.Minute, 4)
		set(func() { refuse = false })
		after("control is back", time.Minute, 5)
		cancel()
		<-done
	})
}
