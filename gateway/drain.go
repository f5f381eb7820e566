package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"weft/api"
	"weft/gateway/enforce"
	"weft/gateway/sessions"
)

// A gateway that drains takes no new flows; live ones go on. It does so while an administrator wants it, which control says,
// and before it stops (RunUntil). Associations of UDP have no end and are not waited for.

// leaving says that the gateway is being stopped.
type leaving struct {
	on    atomic.Bool
	until atomic.Pointer[time.Time] // when it stops whatever is left
	told  atomic.Bool               // the administrator's wish was told to the sessions of then
}

// drainWarnings are how long before the end of a drain those who are left are told.
var drainWarnings = []time.Duration{5 * time.Minute, time.Minute, 10 * time.Second}

const (
	drainTold    = "this gateway takes no new connections, which go to another one if there is one; this session goes on"
	drainTimeout = "this gateway is being stopped; this session ends in %s at the latest"
)

// draining reports whether the gateway takes no new flows.
func (g *Gateway) draining() bool {
	if g.leaving.on.Load() {
		return true
	}
	view := g.view.Load()
	return view != nil && view.Self().Draining
}

// noticeDrain tells sessions of an administrator's wish when there is one.
func (g *Gateway) noticeDrain(view *enforce.View) {
	on := view.Self().Draining
	if g.leaving.told.Swap(on) == on {
		return
	}
	g.log.Info("new flows", slog.Bool("refused", on), slog.Int("sessions", g.table.Busy()))
	if on {
		g.tellAll(drainTold)
	}
}

// tellDraining tells one that came to its login only now.
func (g *Gateway) tellDraining(s *sessions.Session) {
	if at := g.leaving.until.Load(); at != nil {
		s.Tell(fmt.Sprintf(drainTimeout, sessions.Duration(max(time.Until(*at).Round(time.Second), time.Second))))
	}
}

func (g *Gateway) tellAll(text string) {
	for _, s := range g.table.All() {
		s.Tell(text)
	}
}

// RunUntil is Run, but when stop is closed the gateway first drains, for Config.DrainTimeout at most. The end of ctx stops it
// at once. A nil stop never comes.
func (g *Gateway) RunUntil(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-stop:
			g.drain(ctx)
			g.cutAll(ctx)
			cancel()
		case <-ctx.Done():
		}
	})
	return g.Run(ctx)
}

// Sessions counts the live ones that a drain waits for.
func (g *Gateway) Sessions() int { return g.table.Busy() }

// drain refuses new flows and returns when no live one is left, the time is over, or ctx ends.
func (g *Gateway) drain(ctx context.Context) {
	select {
	case <-g.ready:
	default:
		return // it has not served yet
	}
	left := g.table.Busy()
	if left == 0 || g.cfg.DrainTimeout <= 0 {
		return
	}
	end := time.Now().Add(g.cfg.DrainTimeout)
	g.leaving.until.Store(&end)
	g.leaving.on.Store(true)
	g.log.InfoContext(ctx, "gateway drains", slog.Int("sessions", left), slog.Duration("timeout", g.cfg.DrainTimeout))
	ctx, cancel := context.WithDeadline(ctx, end)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { g.reportDraining(ctx) })
	for _, s := range g.table.All() {
		g.tellDraining(s)
	}
	g.awaitQuiet(ctx, end)
	g.log.InfoContext(ctx, "gateway has drained", slog.Int("sessions", g.table.Busy()))
}

// cutAll ends what is left, while the ways to users and targets are still there to say so.
func (g *Gateway) cutAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*sshCutGrace)
	defer cancel()
	g.table.Reevaluate(func(*sessions.Session) error { return errStopping })
	for g.table.Busy() > 0 {
		select {
		case <-g.table.Quiet():
		case <-ctx.Done():
			return
		}
	}
}

// awaitQuiet returns when no session is left or ctx ends, and warns those who are left.
func (g *Gateway) awaitQuiet(ctx context.Context, end time.Time) {
	warn := time.NewTimer(time.Hour)
	defer warn.Stop()
	next := 0
	for ; g.table.Busy() > 0; next++ {
		for next < len(drainWarnings) && time.Until(end) <= drainWarnings[next] {
			next++
		}
		if next < len(drainWarnings) {
			warn.Reset(time.Until(end) - drainWarnings[next])
		}
		select {
		case <-ctx.Done():
			return
		case <-g.table.Quiet():
			next--
		case <-warn.C:
			g.tellAll(fmt.Sprintf(drainTimeout, sessions.Duration(time.Until(end).Round(time.Second))))
		}
	}
}

// reportDraining has control tell the agents, until it has heard.
func (g *Gateway) reportDraining(ctx context.Context) {
	report, err := g.report()
	wait := reportMinWait
	for err == nil {
		if err = g.cfg.Control.Do(ctx, http.MethodPut, api.PathGatewaySelf, report, nil); err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			err = nil
		}
		wait = min(2*wait, reportMaxWait)
	}
	g.log.DebugContext(ctx, "control does not know that the gateway drains", slog.Any("error", err))
}
