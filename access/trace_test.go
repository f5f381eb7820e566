package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/targets"
)

func TestTrace(t *testing.T) {
	in := demo()
	const me, eve, gone = `{"email":{"email":"jdoe@company.com"}}`, `{"email":{"email":"eve@company.com"}}`, `{"group":{"id":"gone"}}`
	host := in.Targets[0].Hostname
	criteria := func(host string, port uint16, p targets.Protocol) []targets.Criteria {
		return []targets.Criteria{{Attributes: map[string][]string{"hostname": {host}}, Port: port, Protocol: p}}
	}
	in.Applications[0].Policies = []access.Policy{{
		ID: "p", Name: "p", Decision: "allow", SSH: ssh("root"),
		Include: []access.Rule{mustRule(eve), mustRule(me)}, Require: []access.Rule{mustRule(gone)}, Exclude: []access.Rule{mustRule(eve)},
	}}
	in.Applications = append(
		in.Applications,
		access.Application{ID: "other-port", Name: "other-port", Criteria: criteria(host, 8080, targets.HTTP)},
		access.Application{ID: "other-target", Name: "other-target", Criteria: criteria("nobody", 22, targets.SSH)},
	)
	q := access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: seedDestination, Transport: targets.TransportTCP, Login: "root"}
	got := map[string]access.ApplicationTrace{}
	for _, a := range access.Trace(compile(t, in), in.Applications, q) {
		got[a.Application.ID] = a
	}
	if len(got) != len(in.Applications) {
		t.Errorf("%d applications, want %d", len(got), len(in.Applications))
	}
	first := got[in.Applications[0].ID]
	if first.Missed != "" || len(first.Policies) != 1 || first.Policies[0].Reason != access.RequireMissing {
		t.Fatalf("%+v", first)
	}
	var answers []string
	for _, r := range first.Policies[0].Rules {
		answers = append(answers, r.List+" "+r.Answer)
	}
	if diff := cmp.Diff([]string{"include no", "include yes", "require unknown", "exclude no"}, answers); diff != "" {
		t.Error(diff)
	}
	for id, want := range map[string]string{
		"other-port": "it covers the target at port 8080 (HTTP), not at port 22", "other-target": "its criteria do not select the target",
	} {
		if got[id].Missed != want || got[id].Policies != nil {
			t.Errorf("%s: %q", id, got[id].Missed)
		}
	}
	q.Transport = targets.TransportUDP
	for _, a := range access.Trace(compile(t, in), in.Applications[:1], q) {
		if a.Missed == "" {
			t.Errorf("over UDP: %+v", a)
		}
	}
	if list := access.Trace(nil, in.Applications, q); len(list) != len(in.Applications) || list[0].Missed == "" {
		t.Errorf("without a snapshot: %+v", list)
	}
	q.Identity = nil
	for _, a := range access.Trace(compile(t, in), in.Applications, q) {
		if a.Policies != nil {
			t.Errorf("nobody was evaluated: %+v", a)
		}
	}
}
