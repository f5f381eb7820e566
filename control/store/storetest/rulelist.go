package storetest

import (
	"errors"
	"strings"
	"testing"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// listRule is a rule that refers to a list.
func listRule(t *testing.T, selector, id string) access.Rule {
	t.Helper()
	var r access.Rule
	if err := r.UnmarshalJSON([]byte(`{"` + selector + `":{"id":"` + id + `"}}`)); err != nil {
		t.Fatal(err)
	}
	return r
}

func pointsTo(t *testing.T, err error, pointer string) {
	t.Helper()
	e, ok := errors.AsType[*kind.Error](err)
	if !ok {
		t.Fatalf("%v has no place", err)
	}
	if e.Pointer != pointer {
		t.Errorf("%v points to %q, want %q", err, e.Pointer, pointer)
	}
}

// rulesKeepLists: a list of addresses cannot go, nor be asked for as one of another type, while policies and groups refer to it.
func rulesKeepLists(t *testing.T, f *fixture, l api.List) {
	t.Helper()
	rules := []access.Rule{access.Everyone(), listRule(t, "ip_list", l.ID)}
	var (
		g api.RuleGroup
		p api.ReusablePolicy
		a api.Application
	)
	f.write(t, func(tx *store.Tx) (err error) {
		if g, err = tx.CreateRuleGroup(f.ctx, api.RuleGroupWrite{Name: "staff", Include: rules}); err != nil {
			return err
		}
		if p, err = tx.CreateReusablePolicy(f.ctx, api.ReusablePolicyWrite{PolicyWrite: api.PolicyWrite{Name: "shared", Decision: "allow", Include: rules}}); err != nil {
			return err
		}
		w := sshApp("db")
		w.Policies = &[]api.PolicyWrite{{Name: "own", Decision: "allow", Include: rules[:1], Exclude: rules[1:]}}
		a, err = tx.CreateApplication(f.ctx, w)
		return err
	})
	remove := func(tx *store.Tx) error { return tx.DeleteList(f.ctx, l.ID) }
	names(t, f.refusal(t, kind.Conflict, remove), "rule group staff", "reusable policy shared", "policy own of application db")
	for selector, id := range map[string]string{"ip_list": "gone", "email_list": l.ID} {
		e := f.refusal(t, kind.Invalid, func(tx *store.Tx) error {
			_, err := tx.ReplaceRuleGroup(f.ctx, g.ID, api.RuleGroupWrite{Name: "staff", Include: []access.Rule{access.Everyone(), listRule(t, selector, id)}})
			return err
		})
		names(t, e, "list", id)
		pointsTo(t, e, "/include/1/"+selector+"/id")
	}
	f.read(t, func(r *store.Reader) error {
		lists, err := r.DomainLists(f.ctx)
		if len(lists) != 1 || lists[0].Type != access.ListIP || strings.Join(lists[0].Items, " ") != "10.0.0.1" {
			t.Errorf("lists %+v", lists)
		}
		return err
	})
	f.write(t, func(tx *store.Tx) error { return tx.DeleteRuleGroup(f.ctx, g.ID) })
	f.write(t, func(tx *store.Tx) error { return tx.DeleteReusablePolicy(f.ctx, p.ID) })
	f.refused(t, kind.Conflict, remove)
	f.write(t, func(tx *store.Tx) error { return tx.DeleteApplication(f.ctx, a.ID) })
}

// foreignRulesStayOut: a reusable policy with a rule of other kinds of applications does not get into an infrastructure
// application, nor such a rule into a policy that is in one.
func foreignRulesStayOut(t *testing.T, f *fixture) {
	t.Helper()
	var certificate access.Rule
	if err := certificate.UnmarshalJSON([]byte(`{"certificate":{}}`)); err != nil {
		t.Fatal(err)
	}
	foreign := api.PolicyWrite{Name: "certified", Decision: "allow", Include: []access.Rule{access.Everyone()}, Require: []access.Rule{certificate}}
	plain := foreign
	plain.Require = nil
	var p api.ReusablePolicy
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.CreateReusablePolicy(f.ctx, api.ReusablePolicyWrite{PolicyWrite: foreign})
		return err
	})
	w := sshApp("web")
	w.Policies = &[]api.PolicyWrite{{ID: p.ID}}
	attach := func(tx *store.Tx) error {
		_, err := tx.CreateApplication(f.ctx, w)
		return err
	}
	replace := func(in api.PolicyWrite) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.ReplaceReusablePolicy(f.ctx, p.ID, api.ReusablePolicyWrite{PolicyWrite: in})
			return err
		}
	}
	err := f.refusal(t, kind.Invalid, attach)
	pointsTo(t, err, "/policies/0")
	names(t, err, "certificate")
	f.write(t, replace(plain))
	f.write(t, attach)
	err = f.refusal(t, kind.Invalid, replace(foreign))
	pointsTo(t, err, "/require/0/certificate")
	names(t, err, "web")
	f.read(t, func(r *store.Reader) error {
		apps, err := r.DomainApplications(f.ctx)
		if len(apps) != 1 || len(apps[0].Policies[0].Require) != 0 {
			t.Errorf("applications %+v", apps)
		}
		return err
	})
}
