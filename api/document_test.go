package api_test

import (
	"encoding/json"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"weft/api"
	"weft/vnet"
)

var equateAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// drawState draws a connector's state from few keys, so that two of them overlap.
func drawState(t *rapid.T) *api.ConnectorState {
	keys := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.ID[string])
	s := &api.ConnectorState{
		Self:     api.ConnectorSyncSelf{TunnelID: "t", Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")},
		Gateways: map[string]api.ConnectorGateway{}, Routes: map[string]api.WireRoute{},
	}
	for _, k := range keys.Draw(t, "gateways") {
		s.Gateways[k] = api.ConnectorGateway{ID: k, Endpoints: []string{rapid.SampledFrom([]string{"h:1", "h:2"}).Draw(t, "endpoint")}}
	}
	for _, k := range keys.Draw(t, "routes") {
		s.Routes[k] = api.WireRoute{ID: k, Prefix: netip.MustParsePrefix("10.0.0.0/8"), VNET: vnet.ID(rapid.SampledFrom([]string{"v", "w"}).Draw(t, "vnet"))}
	}
	return s
}

// overTheWire is e as the receiver decodes it.
func overTheWire(t rapid.TB, e api.Event) api.Event {
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var out api.Event
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDelta_TurnsOneStateIntoTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawState(t), drawState(t)
		before := &api.ConnectorState{Self: from.Self, Gateways: maps.Clone(from.Gateways), Routes: maps.Clone(from.Routes)}
		old, err := api.DocumentOf(from)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := api.DocumentOf(to)
		if err != nil {
			t.Fatal(err)
		}
		e, changed := doc.Delta(old, 1, 2)
		if same := cmp.Equal(from, to, equateAddrs); same == changed {
			t.Errorf("states are equal: %v, but changed is %v", same, changed)
		}
		got, err := api.Apply(from, overTheWire(t, e))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(to, got, equateAddrs); diff != "" {
			t.Errorf("after the delta (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, from, equateAddrs); diff != "" {
			t.Errorf("the old state was modified (-before +after):\n%s", diff)
		}
		snapshot, err := doc.Snapshot(2)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := api.Apply[api.ConnectorState](nil, overTheWire(t, snapshot))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(to, whole, equateAddrs); diff != "" {
			t.Errorf("after the snapshot (-want +got):\n%s", diff)
		}
	})
}

func TestApply_Refuses(t *testing.T) {
	for _, tc := range []struct{ name, event string }{
		{"a heartbeat", `{"type":"heartbeat"}`},
		{"an unknown type", `{"type":"x"}`},
		{"a snapshot without a state", `{"type":"snapshot"}`},
		{"an unknown collection to put", `{"type":"delta","put":{"nonsense":{"a":1}}}`},
		{"an unknown collection to remove from", `{"type":"delta","remove":{"nonsense":["a"]}}`},
		{"a value of the wrong form", `{"type":"delta","put":{"routes":{"a":[]}}}`},
		{"self under another key", `{"type":"delta","put":{"self":{"a":{}}}}`},
		{"self twice", `{"type":"delta","put":{"self":{"":{},"a":{}}}}`},
		{"self to remove", `{"type":"delta","remove":{"self":[""]}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var e api.Event
			if err := json.Unmarshal([]byte(tc.event), &e); err != nil {
				t.Fatal(err)
			}
			if s, err := api.Apply(&api.ConnectorState{}, e); err == nil {
				t.Errorf("accepted: %+v", s)
			}
		})
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(`{"type":"snapshot","revision":1,"state":{"self":{},"gateways":{},"routes":{}}}`))
	f.Add([]byte(`{"type":"delta","put":{"self":{"":{"tunnel_id":"t"}},"routes":{"r":{"prefix":"10.0.0.0/8"}}},"remove":{"gateways":["g"]}}`))
	f.Add([]byte(`{"type":"delta","put":{"entries":{"t/22/SSH":{"port":22}}},"remove":{"networks":[""]}}`))
	f.Add([]byte(`{"type":"delta","put":{"applications":{"a":{"Policies":[{"Include":[{"everyone":{}}]}]}}}}`))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		var e api.Event
		if json.Unmarshal(raw, &e) != nil {
			return
		}
		// Whatever a server sends must end in a state or an error.
		_, _ = api.Apply(&api.ConnectorState{}, e)
		_, _ = api.Apply(&api.AgentState{}, e)
		_, _ = api.Apply(&api.GatewayState{}, e)
	})
}
