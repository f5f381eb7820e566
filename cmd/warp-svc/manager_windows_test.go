package main

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/windows/svc"

	"weft/internal/kind"
	"weft/internal/winstop"
)

// states are what the control manager would see.
func next(t *testing.T, changes <-chan svc.Status, want svc.State) svc.Status {
	t.Helper()
	select {
	case s := <-changes:
		if s.State != want {
			t.Fatalf("state %d, want %d", s.State, want)
		}
		return s
	case <-time.After(10 * time.Second):
		t.Fatalf("no state %d", want)
		return svc.Status{}
	}
}

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cmd      svc.Cmd
		err      error
		specific bool
		code     uint32
	}{
		{"stop", svc.Stop, nil, false, 0},
		{"shutdown", svc.Shutdown, nil, false, 0},
		{"before shutdown", svc.PreShutdown, nil, false, 0},
		{"a failure", svc.Stop, context.DeadlineExceeded, true, exitFailure},
		{"something in use", svc.Stop, kind.New(kind.Conflict, "in use"), true, exitInUse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests, changes := make(chan svc.ChangeRequest), make(chan svc.Status, 8)
			serve := make(chan struct{})
			h := &handler{ctx: t.Context(), serve: func(ctx context.Context, ready func()) error {
				<-serve
				ready()
				<-ctx.Done()
				return tt.err
			}}
			type end struct {
				specific bool
				code     uint32
			}
			done := make(chan end, 1)
			go func() {
				specific, code := h.Execute(nil, requests, changes)
				done <- end{specific, code}
			}()
			if s := next(t, changes, svc.StartPending); s.WaitHint == 0 || s.Accepts != 0 {
				t.Errorf("start pending: %+v", s)
			}
			close(serve)
			running := next(t, changes, svc.Running)
			if running.Accepts&svc.AcceptStop == 0 || running.Accepts&svc.AcceptPreShutdown == 0 {
				t.Errorf("running accepts %b", running.Accepts)
			}
			requests <- svc.ChangeRequest{Cmd: svc.Interrogate}
			next(t, changes, svc.Running)
			requests <- svc.ChangeRequest{Cmd: tt.cmd}
			next(t, changes, svc.StopPending)
			if got := <-done; got != (end{tt.specific, tt.code}) {
				t.Errorf("ended with %+v", got)
			}
		})
	}
}

// Another process of the same user asks the agent to stop.
func TestStopEvent(t *testing.T) {
	if asked, err := winstop.Request(); err != nil || asked {
		t.Skipf("an agent of this user runs: %v, %v", asked, err)
	}
	ctx, cancel, err := winstop.Context(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	if asked, err := winstop.Request(); err != nil || !asked {
		t.Fatalf("request: %v, %v", asked, err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the context did not end")
	}
	cancel()
	if asked, err := winstop.Request(); err != nil || asked {
		t.Errorf("after the end: %v, %v; want that nobody waits", asked, err)
	}
}
