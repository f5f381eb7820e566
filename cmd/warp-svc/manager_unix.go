//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weft/internal/sdnotify"
)

// underManager runs serve: on Unix a service is a process like any other.
func (d *daemon) underManager(ctx context.Context, serve func(ctx context.Context, ready func()) error) error {
	return serve(ctx, func() {})
}

// onReload takes SIGHUP from now on, before anybody is told that the service is ready: until then it ends the process. What
// it returns reloads at each until ctx ends.
func (s *supervisor) onReload() func(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return func(ctx context.Context) {
		defer signal.Stop(hup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				s.reload(ctx)
			}
		}
	}
}

// reload opens the log anew between RELOADING and READY.
func (s *supervisor) reload(ctx context.Context) {
	s.note(ctx, s.notifier.Reloading(ctx, sdnotify.Monotonic()))
	s.note(ctx, s.reopen())
	s.log.InfoContext(ctx, "log opened anew")
	s.note(ctx, s.notifier.Ready(ctx, s.host.Summary()))
}
