package gateway_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"weft/access"
	"weft/api"
	"weft/gateway/audit"
)

// asksFor is a rule about a posture check, as policies have it.
func asksFor(t *testing.T, id string) access.Rule {
	t.Helper()
	var r access.Rule
	if err := json.Unmarshal([]byte(`{"device_posture":{"integration_uid":"`+id+`"}}`), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// A device that no longer passes loses what is open, whether a policy or a network rule asks.
func TestPosture_CutsLiveFlows(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ask    func(*testing.T, *api.GatewayState)
		reason string
	}{
		{"a policy requires it", func(t *testing.T, st *api.GatewayState) {
			t.Helper()
			app := st.Applications["app"]
			app.Policies[0].Require = []access.Rule{asksFor(t, "check")}
			st.Applications["app"] = app
		}, "require_missing"},
		{"a network rule blocks who fails", func(_ *testing.T, st *api.GatewayState) {
			st.NetworkRules = map[string]access.NetworkRule{"r": {ID: "r", Name: "r", Precedence: 1, Action: "block", DevicePosture: `any(device_posture.checks.failed[*] in {"check"})`}}
		}, "network_blocked"},
		{"a network rule blocks who does not pass", func(_ *testing.T, st *api.GatewayState) {
			st.NetworkRules = map[string]access.NetworkRule{"r": {ID: "r", Name: "r", Precedence: 1, Action: "block", DevicePosture: `not any(device_posture.checks.passed[*] in {"check"})`}}
		}, "network_blocked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
			pass := func(checks ...string) func(*api.GatewayState) {
				return func(st *api.GatewayState) {
					st.Self.PostureRules = []string{"check", "other"}
					d := st.Devices[device]
					d.PassedChecks = checks
					st.Devices[device] = d
				}
			}
			w.update(pass("check"))
			w.update(func(st *api.GatewayState) { tt.ask(t, st) })
			c := w.mustDial(slotA, portTCP)
			readName(t, c)
			w.update(pass("other"))
			expectCut(t, c)
			if e := w.lastAudit(audit.FlowClose); e.Reason != tt.reason {
				t.Errorf("reason %q, want %q", e.Reason, tt.reason)
			}
			w.update(pass("check"))
			readName(t, w.mustDial(slotA, portTCP))
		})
	}
}
