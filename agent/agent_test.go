package agent_test

import (
	"testing"

	"weft/agent/localapi"
)

func TestAgent_RegisterConnectDial(t *testing.T) {
	w := newWorld(t)
	st := w.agent.Status()
	if st.State != localapi.Connected || st.Reason != localapi.ReasonHealthy || st.Gateway != "gw" || st.LatencyMS <= 0 {
		t.Errorf("status %+v", st)
	}
	if st.VNET == nil || st.VNET.Name != "a1net" {
		t.Errorf("selected %+v; want the default network", st.VNET)
	}
	for _, tt := range []struct{ name, host, vnet, want string }{
		{"address in the selected network", target4.String(), "", string(netA)},
		{"address in a named network", target4.String(), "b1net", string(netB)},
		{"address in a network by ID", target4.String(), string(netB), string(netB)},
		{"hostname of the selected network", "do-target", "", string(netA)},
		{"hostname elsewhere", "AZ-target", "", string(netB)},
		{"hostname and network", "az-target.b1net", "", string(netB)},
		{"target ID", "t-b", "", string(netB)},
		{"IPv6 address", target6.String(), "b1net", string(netB)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := whichNetwork(t, w.agent.Agent, tt.host, tt.vnet)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
