package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"

	"weft/internal/kind"
	"weft/internal/winstop"
)

// Hints to the service control manager of how long starting and stopping may take.
const (
	startHint = 20 * time.Second
	stopHint  = 15 * time.Second
)

// underManager runs serve under the service control manager when that started the process, else until ctx ends or
// warp-cli service stop --user asks for the end.
func (d *daemon) underManager(ctx context.Context, serve func(ctx context.Context, ready func()) error) error {
	service, err := svc.IsWindowsService()
	if err != nil {
		return fmt.Errorf("ask how the process was started: %w", err)
	}
	if !service {
		ctx, cancel, err := winstop.Context(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		return serve(ctx, func() {})
	}
	h := &handler{ctx: ctx, serve: serve}
	if err := svc.Run("warp-svc", h); err != nil {
		return fmt.Errorf("serve the service control manager: %w", err)
	}
	return h.err
}

// handler is the service as the control manager sees it: StartPending, Running once the agent serves, StopPending,
// Stopped. A failure ends with a service-specific code, so that the recovery actions apply (mgr.SetRecoveryActionsOnNonCrashFailures).
type handler struct {
	ctx   context.Context //nolint:containedctx // svc.Handler has no context of its own
	serve func(ctx context.Context, ready func()) error
	err   error
}

// Execute implements svc.Handler.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (specific bool, code uint32) {
	changes <- svc.Status{State: svc.StartPending, WaitHint: uint32(startHint.Milliseconds())}
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- h.serve(ctx, func() { close(ready) }) }()
	status := svc.Status{State: svc.StartPending, WaitHint: uint32(startHint.Milliseconds())}
	for {
		select {
		case <-ready:
			ready = nil
			status = svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown}
			changes <- status
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				changes <- status
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				status = svc.Status{State: svc.StopPending, WaitHint: uint32(stopHint.Milliseconds())}
				changes <- status
				cancel()
			default: // nothing else was accepted
			}
		case err := <-done:
			return h.end(err)
		}
	}
}

func (h *handler) end(err error) (bool, uint32) {
	h.err = err
	if err == nil {
		return false, uint32(windows.NO_ERROR)
	}
	code := uint32(exitFailure)
	if _, ok := errors.AsType[*kind.Error](err); ok {
		code = uint32(exitCode(err))
	}
	return true, code
}

// onReload returns what waits for ctx: Windows has no signal for it, and the log rotates by itself.
func (s *supervisor) onReload() func(ctx context.Context) {
	return func(ctx context.Context) { <-ctx.Done() }
}
