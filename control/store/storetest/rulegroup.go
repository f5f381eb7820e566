package storetest

import (
	"testing"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// ruleGroupsInUseStay: a group that a policy or a group names cannot go, none can name itself, and none what is not there.
func ruleGroupsInUseStay(t *testing.T, f *fixture) {
	t.Helper()
	create := func(name string, include ...access.Rule) (g api.RuleGroup) {
		f.write(t, func(tx *store.Tx) (err error) {
			g, err = tx.CreateRuleGroup(f.ctx, api.RuleGroupWrite{Name: name, Include: include})
			return err
		})
		return g
	}
	people := create("people", access.EmailRule("a@b.c"))
	staff := create("staff", access.GroupRule(people.ID))
	remove := func(g api.RuleGroup) func(*store.Tx) error {
		return func(tx *store.Tx) error { return tx.DeleteRuleGroup(f.ctx, g.ID) }
	}
	names(t, f.refusal(t, kind.Conflict, remove(people)), "people", "rule group staff")
	var a api.Application
	f.write(t, func(tx *store.Tx) (err error) {
		a, err = tx.CreateApplication(f.ctx, api.ApplicationWrite{
			Name: "db", Type: api.ApplicationType,
			Criteria: []api.Criteria{{Attributes: map[string][]string{"hostname": {"db"}}, Port: 5432, Protocol: "POSTGRES"}},
			Policies: &[]api.PolicyWrite{{Name: "p", Decision: "allow", Include: []access.Rule{access.GroupRule(staff.ID)}}},
		})
		return err
	})
	names(t, f.refusal(t, kind.Conflict, remove(staff)), "policy p of application db")
	names(t, f.refusal(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.ReplaceRuleGroup(f.ctx, people.ID, api.RuleGroupWrite{Name: "people", Include: []access.Rule{access.GroupRule(staff.ID)}})
		return err
	}), "circle")
	names(t, f.refusal(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreatePolicy(f.ctx, a.ID, api.PolicyWrite{Name: "q", Decision: "allow", Include: []access.Rule{access.GroupRule("gone")}})
		return err
	}), "no rule group", "gone")
	names(t, f.refusal(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.CreateRuleGroup(f.ctx, api.RuleGroupWrite{Name: "STAFF", Include: []access.Rule{access.EmailRule("a@b.c")}})
		return err
	}), "already belongs")
	f.write(t, func(tx *store.Tx) error { return tx.DeleteApplication(f.ctx, a.ID) })
	f.write(t, remove(staff))
	f.write(t, remove(people))
	f.refused(t, kind.NotFound, remove(people))
}
