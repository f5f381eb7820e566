package access_test

import (
	"testing"

	"weft/access"
)

// TestEvaluate_AllocatesNothing holds for every answer, in every shape of 1,000
// rules; allocation counts are deterministic.
func TestEvaluate_AllocatesNothing(t *testing.T) {
	const n = 1000
	for _, shape := range shapes {
		s := compile(t, benchInput(shape, n))
		for _, q := range benchQueries(n) {
			t.Run(shape+"/"+q.name, func(t *testing.T) {
				var d access.Decision
				if got := testing.AllocsPerRun(100, func() { d = access.Evaluate(s, q.query) }); got != 0 {
					t.Errorf("%v allocations", got)
				}
				if d.Reason != q.want {
					t.Errorf("got %q; want %q", d.Reason, q.want)
				}
				if got := testing.AllocsPerRun(100, func() { _, _ = access.Recheck(s, q.query, d) }); got != 0 {
					t.Errorf("recheck: %v allocations", got)
				}
			})
		}
	}
}

// TestEvaluate_AllocatesNothingWithEveryKindOfRule is about rules that are not
// found by key: groups, networks, requirements and exclusions.
func TestEvaluate_AllocatesNothingWithEveryKindOfRule(t *testing.T) {
	in := demo()
	in.Groups = []access.RuleGroup{{
		ID: "rg", Name: "group", Include: []access.Rule{mustRule(`{"email_domain":{"domain":"company.com"}}`)},
		Require: []access.Rule{mustRule(`{"ip":{"ip":"192.0.2.0/24"}}`)}, Exclude: []access.Rule{mustRule(`{"geo":{"country_code":"RU"}}`)},
	}}
	p := &in.Applications[0].Policies[0]
	p.Include = []access.Rule{access.GroupRule("rg")}
	p.Require = []access.Rule{mustRule(`{"saml":{"attribute_name":"role","attribute_value":"other"}}`), mustRule(`{"auth_method":{"auth_method":"mfa"}}`)}
	p.Exclude = []access.Rule{access.EmailRule("eve@company.com"), mustRule(`{"gsuite":{"email":"bad@company.com"}}`)}
	p.SSH = &access.SSHRules{AllowEmailAlias: true}
	s := compile(t, in)
	q := benchQuery(1)
	q = access.Query{Identity: q.Identity, Device: q.Device, VNET: netA, Destination: seedDestination, Transport: q.Transport, Login: "jdoe"}
	if d := access.Evaluate(s, q); !d.Allow {
		t.Fatalf("denied: %q", d.Reason)
	}
	if got := testing.AllocsPerRun(100, func() { access.Evaluate(s, q) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
