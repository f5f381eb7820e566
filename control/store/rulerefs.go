package store

import (
	"context"
	"fmt"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// checkRuleRefs refuses rules that name a rule group or a list that is not there, or a list that holds other values than
// the rule asks for: they could never match.
func (tx *Tx) checkRuleRefs(ctx context.Context, rules []ruleList) error {
	groups, err := tx.DomainRuleGroups(ctx)
	if err != nil {
		return err
	}
	if err := checkGroupRefs(groups, rules); err != nil {
		return err
	}
	return tx.checkListRefs(ctx, rules)
}

// checkListRefs is the part of checkRuleRefs about lists.
func (tx *Tx) checkListRefs(ctx context.Context, rules []ruleList) error {
	var types map[string]string // by ID, read when a rule asks
	for _, l := range rules {
		for i, r := range l.rules {
			id, want, ok := r.ListID()
			if !ok {
				continue
			}
			if types == nil {
				all, err := tx.Lists(ctx)
				if err != nil {
					return err
				}
				types = make(map[string]string, len(all))
				for _, have := range all {
					types[have.ID] = have.Type
				}
			}
			at := fmt.Sprintf("%s/%d/%s/id", l.pointer, i, r.Selector())
			switch typ, known := types[id]; {
			case !known:
				return kind.Field(at, "there is no list %q", clip(id))
			case typ != want:
				return kind.Field(at, "selector %s needs a list of type %s; list %q is of type %s", r.Selector(), want, clip(id), typ)
			}
		}
	}
	return nil
}

// listInUse is the error of a list that cannot go, nil when it can. It names up to ten network rules, and up to ten policies and rule groups.
func (tx *Tx) listInUse(ctx context.Context, l *api.List) error {
	rules, err := tx.listUsers(ctx, l.ID)
	if err != nil {
		return err
	}
	var users []string
	for i := range rules[:min(len(rules), 10)] {
		users = append(users, fmt.Sprintf("network rule %s (%s)", rules[i].Name, rules[i].ID))
	}
	others, err := tx.ruleUsers(ctx, func(r access.Rule) bool {
		id, _, ok := r.ListID()
		return ok && id == l.ID
	})
	if err != nil {
		return err
	}
	if users = append(users, others...); len(users) == 0 {
		return nil
	}
	return kind.New(kind.Conflict, "list %q is in use by %s", l.Name, strings.Join(users, ", ")).WithHint("change or delete them first")
}

// checkAttached refuses reusable policies that hold rules of other kinds of applications: in an infrastructure
// application they would let in nobody, or, where they exclude, keep everybody out.
func checkAttached(policies []api.Policy) error {
	for i := range policies {
		if !policies[i].Reusable {
			continue
		}
		if r, _, ok := foreignRule(&policies[i]); ok {
			return kind.Field(fmt.Sprintf("/policies/%d", i), "reusable policy %q has selector %q, which an infrastructure application cannot evaluate",
				policies[i].Name, r.Selector()).WithHint("refer to a policy without it")
		}
	}
	return nil
}

// checkDetached refuses such rules in a reusable policy that infrastructure applications refer to.
func checkDetached(p *api.Policy, users []api.Application) error {
	r, at, ok := foreignRule(p)
	if !ok || len(users) == 0 {
		return nil
	}
	return kind.Field(at, "selector %q cannot be evaluated in infrastructure application %q (%s), which has this policy",
		r.Selector(), users[0].Name, users[0].ID).WithHint("take the policy out of its applications first")
}

// foreignRule finds the first rule of a policy that only other kinds of applications evaluate, and its place.
func foreignRule(p *api.Policy) (r access.Rule, at string, ok bool) {
	for _, l := range []ruleList{{"/include", p.Include}, {"/exclude", p.Exclude}, {"/require", p.Require}} {
		for i, r := range l.rules {
			if r.Foreign() {
				return r, fmt.Sprintf("%s/%d/%s", l.pointer, i, r.Selector()), true
			}
		}
	}
	return r, "", false
}
