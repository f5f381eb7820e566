package agent_test

import (
	"strings"
	"testing"

	"weft/agent/localapi"
	"weft/internal/testwait"
)

// A gateway that drains is left as soon as nothing is open, and not before.
func TestAgent_LeavesAGatewayThatDrains(t *testing.T) {
	w := newWorld(t)
	second := newFakeGateway(t)
	second.admit(w.control.devicePublicKey())
	live := w.echoFlow(t)
	st := w.gateway.state()
	first := st.Gateways["gw-1"]
	first.Draining = true
	st.Gateways["gw-1"] = first
	g := second.state().Gateways["gw-1"]
	g.ID, g.Name = "gw-2", "gw-backup"
	st.Gateways["gw-2"] = g
	w.control.set(st)
	notice := func() string {
		for _, n := range w.agent.Status().Notices {
			if n.Code == "gateway_draining" {
				return n.Message
			}
		}
		return ""
	}
	testwait.Until(t, "the notice", func() bool { return notice() != "" })
	if m := notice(); !strings.Contains(m, "when those that are open have ended (1)") {
		t.Errorf("notice %q", m)
	}
	if s := w.agent.Status(); s.Gateway == "gw-backup" {
		t.Error("the agent left while a connection was open")
	}
	must(t, live.Close())
	testwait.Until(t, "the second gateway", func() bool {
		s := w.agent.Status()
		return s.State == localapi.Connected && s.Gateway == "gw-backup"
	})
	openEcho(t, w.agent)
}

// With no other gateway there is nowhere to go.
func TestAgent_StaysWithTheOnlyGateway(t *testing.T) {
	w := newWorld(t)
	st := w.gateway.state()
	g := st.Gateways["gw-1"]
	g.Draining = true
	st.Gateways["gw-1"] = g
	w.control.set(st)
	testwait.Until(t, "the notice", func() bool {
		for _, n := range w.agent.Status().Notices {
			if n.Code == "gateway_draining" {
				return strings.Contains(n.Message, "there is no other")
			}
		}
		return false
	})
	openEcho(t, w.agent)
}
