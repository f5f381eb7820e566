package gateway_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/gateway/audit"
	"weft/tunnel"
)

// withDrain has the gateway drain when the channel of the world is closed.
func withDrain(timeout time.Duration) option {
	return func(w *world) {
		w.cfg.DrainTimeout = timeout
		w.drain = make(chan struct{})
	}
}

// ended waits for the gateway to have ended by itself.
func (w *world) ended() {
	w.tb.Helper()
	select {
	case err := <-w.done:
		w.done <- err
		if err != nil {
			w.tb.Errorf("run: %v", err)
		}
	case <-time.After(30 * time.Second):
		w.tb.Fatal("the gateway does not end")
	}
}

func (w *world) expectRefused() {
	w.tb.Helper()
	c, err := w.dial(slotA, at(portTCP))
	if err == nil {
		c.Abort()
	}
	if !errors.Is(err, tunnel.ErrUnreachable) {
		w.tb.Errorf("a new flow: %v, want unreachable", err)
	}
}

func TestDrain_WithoutSessionsEndsAtOnce(t *testing.T) {
	w := newWorld(t, withDrain(time.Hour))
	close(w.drain)
	w.ended()
}

func TestDrain_WaitsForLiveSessions(t *testing.T) {
	w := newWorld(t, withDrain(time.Hour))
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr, at(portTCP): serveTCP(t, "a")})
	tcp := w.mustDial(slotA, portTCP)
	readName(t, tcp)
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	_, stderr := liveShell(t, client)
	close(w.drain)
	w.eventually("control knows", 30*time.Second, func() bool { return w.control.reported().Draining })
	w.eventually("the user is told", 30*time.Second, func() bool {
		return strings.Contains(stderr.String(), "this gateway is being stopped; this session ends in ")
	})
	w.expectRefused()
	if e := w.lastAudit(audit.FlowDenied); e.Reason != "gateway_draining" || e.PolicyID != "pol" {
		t.Errorf("on record: %+v", e)
	}
	expectAlive(t, tcp)
	if err := tcp.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-w.done:
		t.Fatal("the gateway ended while a session was live")
	default:
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	w.ended()
}

func TestDrain_EndsAtItsTimeout(t *testing.T) {
	w := newWorld(t, withDrain(time.Second))
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	tcp := w.mustDial(slotA, portTCP)
	readName(t, tcp)
	close(w.drain)
	w.ended()
	if e := w.lastAudit(audit.FlowClose); e.Reason != "gateway_stop" || *e.DurationMS < 1000 {
		t.Errorf("on record: %+v", e)
	}
}

func TestDrain_EndsWithItsContext(t *testing.T) {
	w := newWorld(t, withDrain(time.Hour))
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	readName(t, w.mustDial(slotA, portTCP))
	close(w.drain)
	w.eventually("it drains", 30*time.Second, func() bool { return w.control.reported().Draining })
	w.stop() // the second signal
	w.ended()
}

// What an administrator wants is in force until it is taken back.
func TestDrain_AsControlSays(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr, at(portTCP): serveTCP(t, "a")})
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	_, stderr := liveShell(t, client)
	drain := func(on bool) {
		w.update(func(st *api.GatewayState) { st.Self.Draining = on })
	}
	drain(true)
	w.expectRefused()
	w.eventually("the user is told", 30*time.Second, func() bool { return strings.Contains(stderr.String(), "takes no new connections") })
	if l := w.sessions(api.SessionsQuestion{}); !l.Draining || l.Busy != 1 {
		t.Errorf("control is told %+v", l)
	}
	a := w.gateway.ExplainForTest(t.Context(), device, api.FlowQuestion{VNET: netA, Destination: at(portTCP)})
	var code string
	for _, s := range a.Steps {
		if s.State == api.StepFailed {
			code = s.Step + " " + s.Code
		}
	}
	if code != "connector gateway_draining" {
		t.Errorf("explained by %q", code)
	}
	drain(false)
	readName(t, w.mustDial(slotA, portTCP))
	if n := strings.Count(stderr.String(), "takes no new connections"); n != 1 {
		t.Errorf("told %d times", n)
	}
}
