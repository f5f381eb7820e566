package posture

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"weft/api"
)

// When the reporter looks and reports.
const (
	maxLook    = time.Minute // between looks: what changed is told before it is due
	minLook    = 10 * time.Second
	retryAfter = 30 * time.Second // after a report that did not get through, and as much again at random
)

// Reporter tells control what a device looks like: at once when control asks for something else, when what it sees has
// changed, and as often as the rules want to hear it.
type Reporter struct {
	// Checks is what control asks for now.
	Checks func() []api.PostureCheck
	// Look makes a report.
	Look func(ctx context.Context, checks []api.PostureCheck) api.PostureReport
	// Send delivers one.
	Send   func(ctx context.Context, r api.PostureReport) error
	Logger *slog.Logger

	last   *api.PostureReport // as it was delivered
	sent   time.Time
	failed bool
}

// Run reports until ctx ends. Every value of wake is a reason to look now: the checks may be others, or control is heard again.
func (r *Reporter) Run(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if !timer.Stop() {
		<-timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		timer.Reset(r.step(ctx))
	}
}

// step looks, reports if there is something to say, and returns when to look again.
func (r *Reporter) step(ctx context.Context) time.Duration {
	checks := r.Checks()
	interval := intervalOf(checks)
	report := r.Look(ctx, checks)
	if ctx.Err() != nil {
		return maxLook
	}
	due := len(checks) > 0 && time.Since(r.sent) >= interval
	if r.last == nil || r.failed || due || !same(r.last, &report) {
		if err := r.Send(ctx, report); err != nil {
			r.failed = true
			r.Logger.DebugContext(ctx, "report posture", "error", err)
			return retryAfter + rand.N(retryAfter)
		}
		r.last, r.sent, r.failed = &report, time.Now(), false
	}
	return min(max(interval/5, minLook), maxLook, max(time.Second, interval-time.Since(r.sent)))
}

// intervalOf is how often control wants to hear of the most urgent check; without any it need not.
func intervalOf(checks []api.PostureCheck) time.Duration {
	least := time.Hour
	for _, c := range checks {
		if c.IntervalSeconds > 0 {
			least = min(least, time.Duration(c.IntervalSeconds)*time.Second)
		}
	}
	return max(least, minLook)
}

func same(a, b *api.PostureReport) bool {
	return a.Facts == b.Facts && maps.EqualFunc(a.Observations, b.Observations, func(x, y api.PostureObservation) bool {
		return x.Error == y.Error && x.Exists == y.Exists && x.Running == y.Running && x.SHA256 == y.SHA256 && slices.Equal(x.Disks, y.Disks)
	})
}
