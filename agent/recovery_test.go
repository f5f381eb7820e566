package agent_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/internal/testwait"
)

// openEcho opens a flow and proves that it carries data.
func openEcho(t *testing.T, a *running) io.ReadWriteCloser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	f, err := a.DialFlow(ctx, localapi.Dial{Name: "do-target", Port: echoPort})
	must(t, err)
	t.Cleanup(f.Abort)
	echo(t, f)
	return f
}

func echo(t *testing.T, f io.ReadWriter) {
	t.Helper()
	_, err := f.Write([]byte("ping"))
	must(t, err)
	var b [4]byte
	_, err = io.ReadFull(f, b[:])
	must(t, err)
}

func (r *running) notice(code string) (localapi.Notice, bool) {
	for _, n := range r.Status().Notices {
		if n.Code == code {
			return n, true
		}
	}
	return localapi.Notice{}, false
}

// TestAgent_GatewayRestart is the case in which control tells of the restart.
func TestAgent_GatewayRestart(t *testing.T) {
	w := newWorld(t)
	old := openEcho(t, w.agent)
	w.gateway.stop()
	w.gateway.start(w.gateway.addr)
	w.gateway.admit(w.control.devicePublicKey())
	back := time.Now()
	w.control.set(w.gateway.state())
	testwait.Until(t, "a flow through the restarted gateway", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f, err := w.agent.DialFlow(ctx, localapi.Dial{Name: "do-target", Port: echoPort})
		if err != nil {
			return false
		}
		f.Abort()
		return true
	})
	took := time.Since(back)
	t.Logf("new flow %s after the gateway was back", took)
	if took > 10*time.Second {
		t.Errorf("recovery took %s; want less than 10 s, though a second is usual; WireGuard alone needs 15 s", took)
	}
	w.agent.waitState(localapi.Connected)
	n, ok := w.agent.notice("gateway_restarted")
	if !ok || !strings.Contains(n.Message, "gateway gw restarted; 1 connection was lost") {
		t.Errorf("notices %+v", w.agent.Status().Notices)
	}
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the lost flow reads %v; want a reset, not an orderly end", err)
	}
}

// TestAgent_GatewayRestartControlSilent is the case in which nobody tells.
func TestAgent_GatewayRestartControlSilent(t *testing.T) {
	w := newWorld(t)
	busy := openEcho(t, w.agent)
	w.control.stop()
	w.gateway.stop()
	testwait.Until(t, "the outage is noticed", func() bool {
		_, _ = busy.Write([]byte("anybody there?"))
		return w.agent.Status().State == localapi.Connecting
	})
	w.gateway.start(w.gateway.addr)
	w.gateway.admit(w.control.devicePublicKey())
	back := time.Now()
	w.agent.waitState(localapi.Connected)
	if took := time.Since(back); took > 10*time.Second {
		t.Errorf("connected %s after the gateway was back", took)
	} else {
		t.Logf("connected %s after the gateway was back", took)
	}
	if _, ok := w.agent.notice("outage"); !ok {
		t.Errorf("no notice of the outage: %+v", w.agent.Status().Notices)
	}
	openEcho(t, w.agent)
}

// TestAgent_RejoinsControl: what comes back together is heard together, however long
// the back-off has grown.
func TestAgent_RejoinsControl(t *testing.T) {
	w := newWorld(t)
	busy := openEcho(t, w.agent)
	w.control.stop()
	w.gateway.stop()
	gone := time.Now()
	testwait.Until(t, "7 s without control and gateway", func() bool {
		_, _ = busy.Write([]byte("anybody there?"))
		return time.Since(gone) > 7*time.Second
	})
	w.gateway.start(w.gateway.addr)
	w.gateway.admit(w.control.devicePublicKey())
	w.control.set(w.gateway.state())
	w.control.start(w.control.addr)
	back := time.Now()
	testwait.Until(t, "connected", func() bool { return w.agent.Status().State == localapi.Connected })
	testwait.Until(t, "control is heard", func() bool { return w.agent.Status().ControlConnected })
	t.Logf("all is well %s after the return", time.Since(back))
	testwait.Until(t, "the notice", func() bool {
		n, ok := w.agent.notice("gateway_restarted")
		return ok && strings.Contains(n.Message, "1 connection was lost")
	})
	openEcho(t, w.agent)
}

func TestAgent_ReconnectsFromCachedState(t *testing.T) {
	w := newWorld(t)
	stateFile := filepath.Join(w.agent.cfg.StateDir, "state.json")
	testwait.Until(t, "cached state", func() bool { _, err := os.Stat(stateFile); return err == nil })
	w.agent.stop()
	w.control.stop()
	a := startAgent(t, w.agent.cfg)
	a.waitState(localapi.Connected)
	st := a.Status()
	if st.ControlConnected || st.StateRevision == 0 || st.StateAgeSeconds <= 0 {
		t.Errorf("status %+v", st)
	}
	if n, ok := a.notice("cached_state"); !ok || !strings.Contains(n.Message, "using its state of") {
		t.Errorf("notices %+v", st.Notices)
	}
	if got, err := whichNetwork(t, a.Agent, "az-target", ""); err != nil || got != string(netB) {
		t.Errorf("got %q, %v", got, err)
	}
	w.control.start(w.control.addr)
	testwait.Until(t, "control is heard", func() bool { return a.Status().ControlConnected })
	if st := a.Status(); st.State != localapi.Connected {
		t.Errorf("hearing control again left state %s (%s)", st.State, st.Detail)
	}
	if n, ok := a.notice("gateway_restarted"); ok {
		t.Errorf("resumed state was taken for a restart: %+v", n)
	}
}

func TestAgent_DisconnectPersists(t *testing.T) {
	w := newWorld(t)
	f := openEcho(t, w.agent)
	st, err := w.agent.Disconnect(t.Context())
	must(t, err)
	if st.State != localapi.Disconnected || st.Reason != localapi.ReasonManual || st.Gateway != "" {
		t.Errorf("status %+v", st)
	}
	if _, err := f.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a flow reads %v after disconnect; want a reset", err)
	}
	a := w.agent.restart()
	testwait.Until(t, "control is heard", func() bool { return a.Status().ControlConnected })
	if st := a.Status(); st.State != localapi.Disconnected || st.Reason != localapi.ReasonManual {
		t.Errorf("after a restart: %s, %s", st.State, st.Reason)
	}
	if l, err := a.Targets(noFilter); err != nil || len(l.Targets) != 2 {
		t.Errorf("targets while disconnected: %+v, %v", l, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := a.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	a.restart().waitState(localapi.Connected)
}

func TestAgent_ConnectSaysWhyNot(t *testing.T) {
	w := newWorld(t)
	w.gateway.stop()
	w.agent.stop()
	a := startAgent(t, w.agent.cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := a.Connect(ctx)
	wantFault(t, err, localapi.CodeUnreachable, "gateway gw at "+w.gateway.addr.String()+" does not answer")
	if st := a.Status(); st.State != localapi.Connecting || st.Reason != localapi.ReasonGatewayUnreachable {
		t.Errorf("status %s, %s", st.State, st.Reason)
	}
	dctx, dcancel := context.WithTimeout(t.Context(), time.Second)
	defer dcancel()
	_, err = a.DialFlow(dctx, localapi.Dial{Name: "do-target", Port: echoPort})
	wantFault(t, err, localapi.CodeUnreachable, "the gateway does not answer")
}

func TestAgent_SecondGateway(t *testing.T) {
	w := newWorld(t)
	second := newFakeGateway(t)
	second.admit(w.control.devicePublicKey())
	st := w.gateway.state()
	g := second.state().Gateways["gw-1"]
	g.ID, g.Name = "gw-2", "gw-backup"
	st.Gateways["gw-2"] = g
	w.control.set(st)
	testwait.Until(t, "the new state", func() bool { return w.agent.Status().StateRevision == 2 })
	w.gateway.stop()
	_, _ = socksDial(t, w.agent.ready.Proxy, "", "10.1.2.3:17") // somebody notices
	testwait.Until(t, "the second gateway", func() bool {
		s := w.agent.Status()
		return s.State == localapi.Connected && s.Gateway == "gw-backup"
	})
	openEcho(t, w.agent)
}

func TestAgent_StateDirInUse(t *testing.T) {
	a := startAgent(t, testConfig(t))
	cfg := a.cfg
	cfg.Socket += "2"
	runFails(t, cfg, "another agent uses the state directory")
	cfg = testConfig(t)
	cfg.Socket = a.cfg.Socket
	runFails(t, cfg, "another agent answers at")
	cfg = testConfig(t)
	cfg.ProxyListen = a.ready.Proxy
	runFails(t, cfg, "the proxy cannot listen on")
	cfg = testConfig(t)
	cfg.ProxyListen = "0.0.0.0:0"
	runFails(t, cfg, "not a loopback address")
	cfg = testConfig(t)
	must(t, os.WriteFile(cfg.StateDir, nil, 0o600))
	runFails(t, cfg, "cannot be used")
	cfg = testConfig(t)
	must(t, os.Mkdir(cfg.StateDir, 0o755))
	b := startAgent(t, cfg)
	if fi, err := os.Stat(cfg.StateDir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("state directory %v, %v; want mode 0700", fi.Mode(), err)
	}
	b.stop()
	if _, err := os.Lstat(cfg.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}
