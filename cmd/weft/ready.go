package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weft/internal/readyfile"
	"weft/internal/sdnotify"
)

// service is a process that runs until its context ends.
type service interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}

// serveFlags are what every long-running command has.
type serveFlags struct {
	logFlags
	readyFile string
}

func (f *serveFlags) add(cmd *cobra.Command) {
	f.logFlags.add(cmd)
	cmd.Flags().StringVar(&f.readyFile, "ready-file", "", "file to write once the service answers; a stale one is removed at the start")
}

// serve runs s, keeps the ready file true, and tells systemd where that listens.
func (f *serveFlags) serve(ctx context.Context, s service, logger *slog.Logger) error {
	ready, err := readyfile.New(f.readyFile)
	if err != nil {
		return err
	}
	defer func() {
		if err := ready.Remove(); err != nil {
			logger.WarnContext(ctx, "remove ready file", "error", err)
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		return s.Run(gctx)
	})
	g.Go(func() error {
		select {
		case <-s.Ready():
			logger.InfoContext(gctx, "ready")
			if err := ready.Write("ready\n"); err != nil {
				return err
			}
			notify(gctx, logger, done)
			return nil
		case <-done:
			return nil
		}
	})
	return g.Wait()
}

// notify tells systemd that the service answers and, once ctx or the service ends, that it stops.
func notify(ctx context.Context, logger *slog.Logger, done <-chan struct{}) {
	n := sdnotify.FromEnv(os.Getenv, os.Getpid())
	if err := n.Ready(ctx, "ready"); err != nil {
		logger.WarnContext(ctx, "service manager", "error", err)
	}
	if !n.Enabled() {
		return
	}
	select {
	case <-ctx.Done():
	case <-done:
	}
	if err := n.Stopping(context.WithoutCancel(ctx)); err != nil {
		logger.WarnContext(ctx, "service manager", "error", err)
	}
}
