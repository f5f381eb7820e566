package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weft/internal/readyfile"
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

// serve runs s and keeps the ready file true.
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
			return ready.Write("ready\n")
		case <-done:
			return nil
		}
	})
	return g.Wait()
}
