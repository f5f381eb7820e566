//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// slowToStop is a service with a session that does not end.
type slowToStop struct {
	ready, draining chan struct{}
}

func (s *slowToStop) Ready() <-chan struct{} { return s.ready }

func (s *slowToStop) Run(ctx context.Context) error { return s.RunUntil(ctx, nil) }

func (s *slowToStop) RunUntil(ctx context.Context, stop <-chan struct{}) error {
	close(s.ready)
	<-stop
	close(s.draining)
	<-ctx.Done()
	return nil
}

func TestServeDraining_SecondSignalEndsIt(t *testing.T) {
	mine := make(chan os.Signal, 1) // so that no signal ends the test
	signal.Notify(mine, syscall.SIGTERM)
	defer signal.Stop(mine)
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	s := &slowToStop{ready: make(chan struct{}), draining: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- new(serveFlags).serveDraining(ctx, s, slog.New(slog.DiscardHandler)) }()
	<-s.ready
	raise := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-mine
	}
	raise()
	<-s.draining
	select {
	case err := <-done:
		t.Fatalf("the first signal ended it: %v", err)
	default:
	}
	raise()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the second signal did not end it")
	}
}
