package access_test

import (
	"testing"

	"pgregory.net/rapid"

	"weft/access"
	"weft/targets"
)

func TestExplain(t *testing.T) {
	in := demo()
	rules := func(texts ...string) (rs []access.Rule) {
		for _, text := range texts {
			rs = append(rs, mustRule(text))
		}
		return rs
	}
	p := func(id string, include, require, exclude []access.Rule, users ...string) access.Policy {
		return access.Policy{ID: id, Name: id, Decision: "allow", Include: include, Require: require, Exclude: exclude, SSH: ssh(users...)}
	}
	const me, everyone, mfa, hwk, gone = `{"email":{"email":"jdoe@company.com"}}`, `{"everyone":{}}`, `{"auth_method":{"auth_method":"mfa"}}`, `{"auth_method":{"auth_method":"hwk"}}`, `{"group":{"id":"gone"}}`
	in.Applications[0].Policies = []access.Policy{
		p("not-included", rules(`{"email":{"email":"eve@company.com"}}`, gone), nil, nil, "root"),
		p("excluded", rules(me), nil, rules(`{"email":{"email":"eve@company.com"}}`, everyone), "root"),
		p("excluded-unknown", rules(me), nil, rules(gone), "root"),
		p("require", rules(me), rules(mfa, hwk), nil, "root"),
		p("require-unknown", rules(me), rules(mfa, gone), nil, "root"),
		p("other-user", rules(gone, everyone), rules(mfa), nil, "oracle"),
		p("grants", rules(gone, me, everyone), nil, nil, "root"),
	}
	id := user("jdoe@company.com")
	id.AuthMethods = []string{"mfa"}
	q := access.Query{Identity: id, Device: device(), VNET: netA, Destination: seedDestination, Transport: targets.TransportTCP, Login: "root"}
	d, list := access.Explain(compile(t, in), q)
	if !d.Allow || d.Policy.ID != "grants" {
		t.Errorf("decided by %v, %q", d.Policy, d.Reason)
	}
	want := []struct {
		policy  string
		reason  access.Reason
		rule    access.Rule
		unknown bool
	}{
		{"not-included", access.NoPolicy, access.Rule{}, false},
		{"excluded", access.Excluded, mustRule(everyone), false},
		{"excluded-unknown", access.Excluded, mustRule(gone), true},
		{"require", access.RequireMissing, mustRule(hwk), false},
		{"require-unknown", access.RequireMissing, mustRule(gone), true},
		{"other-user", access.LoginNotPermitted, mustRule(everyone), false},
		{"grants", access.Allowed, mustRule(me), false},
	}
	if len(list) != len(want) {
		t.Fatalf("%d policies explained; want %d", len(list), len(want))
	}
	for i, w := range want {
		if e := list[i]; e.Application.ID != "app1" || e.Policy.ID != w.policy || e.Reason != w.reason || e.Rule != w.rule || e.Unknown != w.unknown {
			t.Errorf("got %s, %q by %v (unknown %v); want %+v", e.Policy.ID, e.Reason, e.Rule, e.Unknown, w)
		}
	}
	q.VNET = "elsewhere"
	if d, list := access.Explain(compile(t, in), q); d.Reason != access.NoTarget || list != nil {
		t.Errorf("without a target: %q, %v", d.Reason, list)
	}
	if d, list := access.Explain(nil, q); d.Reason != access.NoSnapshot || list != nil {
		t.Errorf("without a snapshot: %q, %v", d.Reason, list)
	}
}

// TestExplain_AgreesWithTheDecision: the best of the explanations is the
// decision, and each names a rule that says what it is told to say.
func TestExplain_AgreesWithTheDecision(t *testing.T) {
	rank := map[access.Reason]int{access.NoPolicy: 0, access.Excluded: 1, access.RequireMissing: 2, access.LoginNotPermitted: 3, access.Allowed: 4}
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		s := compileDrawn(t, in)
		for range 10 {
			q := drawQuery(t, in)
			d, list := access.Explain(s, q)
			if len(list) == 0 {
				continue
			}
			n := naive{in: in, id: q.Identity, dev: q.Device}
			best := access.Explanation{Reason: access.NoPolicy}
			for _, e := range list {
				truth := -1
				if e.Rule != (access.Rule{}) {
					truth = n.rule(e.Rule)
				}
				ok := map[access.Reason]bool{
					access.NoPolicy: truth == -1, access.Excluded: truth >= naiveUnknown, access.RequireMissing: truth == naiveNo || truth == naiveUnknown,
					access.LoginNotPermitted: truth == naiveYes, access.Allowed: truth == naiveYes,
				}[e.Reason]
				if !ok || e.Unknown != (truth == naiveUnknown) {
					t.Fatalf("policy %s, %q is explained by %v, which says %d", e.Policy.ID, e.Reason, e.Rule, truth)
				}
				if rank[e.Reason] > rank[best.Reason] {
					best = e
				}
			}
			if best.Reason != d.Reason || best.Policy != d.Policy {
				t.Fatalf("the best explanation is %q by %v, the decision %q by %v", best.Reason, best.Policy, d.Reason, d.Policy)
			}
		}
	})
}
