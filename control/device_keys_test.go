package control_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"weft/api"
	"weft/control/controltest"
	"weft/internal/kind"
)

// The key of a device changes in two steps, and every gateway hears of both.
func TestAgentKey(t *testing.T) {
	s := controltest.New(t)
	gw := s.Gateway("gw")
	dev := s.Enrol("jdoe@company.com", "laptop")
	client := s.ClientWith(api.Secret(dev.Token))
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(gw.Token)), api.PathGatewaySync)
	old := gateway.until(t, "the device", func(g *api.GatewayState) bool { return g.Devices[dev.DeviceID].PublicKey != "" }).
		Devices[dev.DeviceID].PublicKey
	next := controltest.PublicKey()
	for _, bad := range []string{"", "x", old[:20]} {
		if _, err := client.ChangeKey(t.Context(), api.AgentKey{PublicKey: bad}); !kind.Is(err, kind.Invalid) {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	if _, err := client.ChangeKey(t.Context(), api.AgentKey{PublicKey: next, Confirm: true}); !kind.Is(err, kind.Conflict) {
		t.Errorf("confirmed before it was offered: %v", err)
	}
	self, err := client.ChangeKey(t.Context(), api.AgentKey{PublicKey: next})
	if err != nil || self.PublicKey != old {
		t.Fatalf("offered: %+v, %v; want the old key in force", self, err)
	}
	gateway.until(t, "both keys", func(g *api.GatewayState) bool {
		d := g.Devices[dev.DeviceID]
		return d.PublicKey == old && d.NextPublicKey == next
	})
	if self, err = client.ChangeKey(t.Context(), api.AgentKey{PublicKey: next, Confirm: true}); err != nil || self.PublicKey != next {
		t.Fatalf("confirmed: %+v, %v", self, err)
	}
	gateway.until(t, "the new key alone", func(g *api.GatewayState) bool {
		d := g.Devices[dev.DeviceID]
		return d.PublicKey == next && d.NextPublicKey == ""
	})
	agent := watch[api.AgentState](t, client, api.PathAgentSync)
	agent.until(t, "its own key", func(a *api.AgentState) bool { return a.Self.PublicKey == next })
	// Nobody else may.
	if err := s.ClientWith("weft_dev_x").Do(t.Context(), http.MethodPost, api.PathAgentKey, api.AgentKey{PublicKey: next}, nil); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("an unknown device: %v", err)
	}
}

// A device hears of the devices of its own user, and of no other's.
func TestAgentDevices(t *testing.T) {
	s := controltest.New(t)
	one, two := s.Enrol("jdoe@company.com", "laptop"), s.Enrol("jdoe@company.com", "desktop")
	s.Enrol("other@company.com", "spy")
	var list []api.AgentDevice
	if err := s.ClientWith(api.Secret(one.Token)).Do(t.Context(), http.MethodGet, api.PathAgentDevices, nil, &list); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b api.AgentDevice) int { return strings.Compare(b.Name, a.Name) })
	if len(list) != 2 || list[0].ID != one.DeviceID || list[1].ID != two.DeviceID || list[0].Name != "laptop" || list[0].CreatedAt.IsZero() {
		t.Errorf("devices %+v", list)
	}
}
