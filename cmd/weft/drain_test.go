package main

import (
	"strings"
	"testing"
	"time"

	"weft/control/controltest"
)

func TestGatewayDrain_Commands(t *testing.T) {
	s := controltest.New(t)
	gw := s.FakeGateway("gw-1")
	s.Gateway("gw-2")
	gw.Put(sampleSession("s1", "jdoe@company.com", "web-1", time.Minute))
	weft := weftCommand(t, s)
	if out := weft(exitOK, "gateway", "list"); !strings.Contains(out, "gw-1  test") || !strings.Contains(out, "never run") || !strings.Contains(out, "away") {
		t.Errorf("listed as\n%s", out)
	}
	if out := weft(exitOK, "gateway", "drain", "gw-1"); out != "gw-1 takes no new connections; live sessions: 2\n" {
		t.Errorf("before the gateway has heard: %q", out) // it may still take one
	}
	gw.Drain(true)
	if out := weft(exitOK, "gateway", "drain", gw.ID); out != "gw-1 takes no new connections; live sessions: 1\n" {
		t.Errorf("drained: %q", out)
	}
	if out := weft(exitOK, "gateway", "list", "--json"); !strings.Contains(out, `"draining": true`) {
		t.Errorf("listed as\n%s", out)
	}
	if out := weft(exitTimeout, "gateway", "drain", "gw-1", "--wait", "--timeout", "10ms"); !strings.Contains(out, "weft session list --gateway gw-1") {
		t.Errorf("sessions are left: %q", out)
	}
	time.AfterFunc(100*time.Millisecond, func() { gw.End("s1", "closed") })
	if out := weft(exitOK, "gateway", "drain", "gw-1", "--wait"); !strings.HasSuffix(out, "live sessions: 0\n") {
		t.Errorf("waited: %q", out)
	}
	if out := weft(exitOK, "gateway", "drain", "gw-1", "--off"); out != "gw-1 takes connections\n" {
		t.Errorf("taken back: %q", out)
	}
	weft(exitNotFound, "gateway", "drain", "gw-3")
	weft(exitUsage, "gateway", "drain", "gw-1", "--off", "--wait")
	weft(exitUsage, "gateway", "drain")
	gw.Silence()
	if out := weft(exitUnavailable, "gateway", "drain", "gw-1"); !strings.Contains(out, "did not answer") {
		t.Errorf("without the gateway: %q", out)
	}
}
