//go:build e2e && linux

package integration_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/agent/localapi"
)

// TestGatewayKilled: SIGKILL, then a new start; the agent is connected again within 5 s and says what happened.
func TestGatewayKilled(t *testing.T) {
	w := theWorld(t)
	ctx := t.Context()
	addr := hostIPs[0] + ":7000"
	before, err := w.agent.openEcho(ctx, "a", addr, "host-a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = before.Close() }()
	if err := before.exchange(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := w.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.path("gateway-ready")); err != nil {
		t.Fatal(err)
	}
	if err := w.launchGateway(ctx); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	eventually(t, 15*time.Second, "a new connection through the restarted gateway", func() bool {
		s, err := w.agent.openEcho(ctx, "a", addr, "host-a")
		if err != nil {
			return false
		}
		defer func() { _ = s.Close() }()
		return s.exchange(time.Second) == nil
	})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("connected again after %v, not within 5 s", took)
	} else {
		t.Logf("connected again after %v", took)
	}
	eventually(t, 5*time.Second, "warp-cli status tells of the restart", func() bool {
		s, ok := w.agent.status(ctx)
		if !ok || s.State != localapi.Connected {
			return false
		}
		for _, n := range s.Notices {
			if n.Time.After(start.Add(-2*time.Second)) && strings.Contains(n.Code+" "+n.Message, "gateway") {
				return true
			}
		}
		return false
	})
	if out := w.agent.mustCLI(t, "status"); !strings.Contains(out, "gateway") {
		t.Errorf("the status for people does not say what happened:\n%s", out)
	}
	// The old stream's state died with the gateway; its end must be told, not left hanging.
	if err := before.exchange(5 * time.Second); err == nil {
		t.Error("a stream of the killed gateway goes on")
	} else if strings.Contains(err.Error(), "timeout") {
		t.Errorf("a stream of the killed gateway hangs instead of ending: %v", err)
	}
	eventually(t, 10*time.Second, "the gateway says that it is ready", func() bool {
		_, err := os.Stat(w.path("gateway-ready"))
		return err == nil
	})
}

// TestGatewayOutage: the gateway is away long enough for everybody to notice, then comes back.
func TestGatewayOutage(t *testing.T) {
	w := theWorld(t)
	ctx := t.Context()
	if err := w.gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.path("gateway-ready")); err != nil {
		t.Fatal(err)
	}
	addr := hostIPs[0] + ":7000"
	eventually(t, 30*time.Second, "the agent says that the gateway does not answer", func() bool {
		s, ok := w.agent.status(ctx)
		return ok && s.State == localapi.Connecting && s.Reason == localapi.ReasonGatewayUnreachable
	})
	if err := w.launchGateway(ctx); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	eventually(t, 15*time.Second, "connected again", func() bool {
		s, ok := w.agent.status(ctx)
		return ok && s.State == localapi.Connected
	})
	connected := time.Since(start)
	for _, network := range []string{"a", "b"} {
		eventually(t, 15*time.Second, "a new connection in network "+network, func() bool {
			got, err := w.agent.whichHost(ctx, network, addr)
			return err == nil && got == "host-"+network
		})
	}
	usable := time.Since(start)
	if usable > 5*time.Second {
		t.Errorf("connected after %v, and both networks usable after %v; want 5 s", connected, usable)
	}
	t.Logf("connected after %v, both networks usable after %v", connected, usable)
	eventually(t, 10*time.Second, "the gateway says that it is ready", func() bool {
		_, err := os.Stat(w.path("gateway-ready"))
		return err == nil
	})
}

// TestGatewayUnreachable: while it stands still the agent says so, and afterwards it recovers by itself.
func TestGatewayUnreachable(t *testing.T) {
	w := theWorld(t)
	a := freshAgent(t, userEmail)
	pid := w.gateway.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(pid, syscall.SIGCONT) } // a gateway that has gone fails the tests that follow
	t.Cleanup(resume)
	// Traffic makes it notice.
	if c, err := a.cli(t.Context(), "nc", "--vnet", "a", hostIPs[0], "7000"); err == nil {
		t.Errorf("a connection through a gateway that stands still: %q", c)
	}
	eventually(t, 15*time.Second, "status says that the gateway does not answer", func() bool {
		s, ok := a.status(t.Context())
		return ok && s.State == localapi.Connecting && s.Reason == localapi.ReasonGatewayUnreachable
	})
	resume()
	start := time.Now()
	eventually(t, 10*time.Second, "connected again", func() bool {
		s, ok := a.status(t.Context())
		return ok && s.State == localapi.Connected
	})
	t.Logf("connected again %v after the gateway went on", time.Since(start))
}

// TestControlDown: with the control plane away an agent that restarts works from what it kept.
func TestControlDown(t *testing.T) {
	w := theWorld(t)
	a := freshAgent(t, userEmail)
	if err := w.control.Stop(10 * time.Second); err != nil {
		t.Fatalf("SIGTERM must end the control plane cleanly: %v", err)
	}
	restored := false
	restore := func() {
		if restored {
			return
		}
		restored = true
		if err := w.runControl(cleanupContext(t)); err != nil {
			t.Fatalf("start the control plane again: %v", err)
		}
	}
	t.Cleanup(restore)
	if err := a.svc.Stop(10 * time.Second); err != nil {
		t.Fatalf("SIGTERM must end the agent cleanly: %v", err)
	}
	if err := a.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the restarted agent connects from its cache", func() bool {
		s, ok := a.status(t.Context())
		return ok && s.State == localapi.Connected && !s.ControlConnected
	})
	if got, err := a.whichHost(t.Context(), "b", hostIPs[0]+":7000"); err != nil || got != "host-b" {
		t.Errorf("a connection without the control plane: %q, %v", got, err)
	}
	if out := a.mustCLI(t, "target", "list"); !strings.Contains(out, "host-a") {
		t.Errorf("the target list without the control plane:\n%s", out)
	}
	restore()
	eventually(t, 30*time.Second, "agents hear the control plane again", func() bool {
		s, ok := a.status(t.Context())
		return ok && s.ControlConnected
	})
}
