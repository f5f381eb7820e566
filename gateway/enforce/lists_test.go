package enforce_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"weft/access"
	"weft/api"
	"weft/gateway/enforce"
	"weft/vnet"
)

// read decodes a part of the state as control sends it.
func read[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A gateway decides by lists that only rules of policies and groups refer to; by none of those that control did not send
// or of which it does not know what they hold.
func TestDecide_Lists(t *testing.T) {
	const (
		people = `{"ID":"people","Name":"People","Type":"EMAIL","Items":["JDoe@company.com"]}`
		places = `{"ID":"places","Name":"Places","Type":"IP","Items":["192.0.2.0/24"]}`
	)
	listed, placed := `[{"email_list":{"id":"people"}}]`, `[{"group":{"id":"placed"}}]`
	v4, _ := addrOf(t, 300, slotA, vnet.ModeNetstack)
	flow := enforce.Flow{Source: v4, Destination: netip.MustParseAddrPort("10.20.0.5:443"), Transport: "tcp"}
	for _, tt := range []struct {
		name                      string
		lists                     []string
		include, require, exclude string
		want                      access.Reason
	}{
		{"the user is on the list", []string{people, places}, listed, "[]", "[]", access.Allowed},
		{"and comes from a place of the group", []string{people, places}, listed, placed, "[]", access.Allowed},
		{"which is excluded", []string{people, places}, listed, "[]", placed, access.Excluded},
		{"the list is not there", []string{places}, listed, "[]", "[]", access.NoPolicy},
		{"the list of the group is not there", []string{people}, listed, placed, "[]", access.RequireMissing},
		{"nor where it excludes", []string{people}, listed, "[]", placed, access.Excluded},
		{"a list without a type", []string{`{"ID":"people","Name":"People","Items":["jdoe@company.com"]}`}, listed, "[]", "[]", access.NoPolicy},
		{"the list under another selector", []string{people}, `[{"ip_list":{"id":"people"}}]`, "[]", "[]", access.NoPolicy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := state(t)
			d := st.Devices["d"]
			d.SourceIP = "192.0.2.7"
			st.Devices["d"] = d
			st.Lists = map[string]access.List{}
			for _, text := range tt.lists {
				l := read[access.List](t, text)
				st.Lists[l.ID] = l
			}
			st.Groups = read[map[string]access.RuleGroup](t, `{"placed":{"ID":"placed","Name":"placed","Include":[{"certificate":{}},{"ip_list":{"id":"places"}}]}}`)
			app := st.Applications["app"]
			p := &app.Policies[0]
			p.Include, p.Require, p.Exclude = read[[]access.Rule](t, tt.include), read[[]access.Rule](t, tt.require), read[[]access.Rule](t, tt.exclude)
			// As it crosses the network.
			text, err := json.Marshal(st)
			if err != nil {
				t.Fatal(err)
			}
			sent := read[api.GatewayState](t, string(text))
			if got := compile(t, &sent).Decide(flow); got.Reason != tt.want {
				t.Errorf("got %q; want %q", got.Reason, tt.want)
			}
		})
	}
}
