package agent_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"weft/agent"
	"weft/agent/localapi/client"
	"weft/internal/localsock"
)

func alive(t *testing.T, a *agent.Agent) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return a.Alive(ctx)
}

// The main loop answers in every state: a watchdog must not end an agent that only waits.
func TestAgent_Alive(t *testing.T) {
	r := startAgent(t, testConfig(t))
	if err := alive(t, r.Agent); err != nil {
		t.Errorf("unregistered: %v", err)
	}
	w := newWorld(t)
	if err := alive(t, w.agent.Agent); err != nil {
		t.Errorf("connected: %v", err)
	}
	_, err := w.agent.Disconnect(t.Context())
	must(t, err)
	if err := alive(t, w.agent.Agent); err != nil {
		t.Errorf("disconnected: %v", err)
	}
	a := w.agent.Agent
	w.agent.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended: %v, want that it does not answer", err)
	}
}

// A socket of the service manager serves, and is still there when the agent has ended.
func TestAgent_InheritedSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	must(t, err)
	cfg := testConfig(t)
	cfg.Listener, err = localsock.Inherited(ln, path)
	must(t, err)
	r := startAgent(t, cfg)
	if r.ready.Socket != path {
		t.Errorf("ready at %s, want %s", r.ready.Socket, path)
	}
	if _, err := client.New(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
	r.stop()
	if _, err := client.New(path).Status(t.Context()); err == nil {
		t.Error("an agent that has ended answers")
	} else if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != client.CodeAgentNotRunning {
		t.Errorf("after the end: %v, want the socket without a listener", err)
	}
}
