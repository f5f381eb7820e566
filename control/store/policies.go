package store

import (
	"context"
	"slices"
	"strconv"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// embeddedPolicies makes the policies of an application from an embedded list. An element that names a policy of
// old by ID or, without an ID, stands at its place, keeps its identity; an element with nothing but an ID keeps the policy whole.
func (tx *Tx) embeddedPolicies(old []api.Policy, in []api.PolicyWrite) ([]api.Policy, error) {
	out := make([]api.Policy, 0, len(in))
	used := map[string]bool{}
	for i, w := range in {
		at := "/policies/" + strconv.Itoa(i)
		known, err := identify(old, i, w, at)
		if err != nil {
			return nil, err
		}
		if used[known.ID] {
			known = api.Policy{}
		}
		var p api.Policy
		if w.ID != "" && w.Name == "" && w.Decision == "" && w.Include == nil {
			p = known // a mere reference
			if w.Precedence != 0 {
				p.Precedence = w.Precedence
			}
		} else {
			p = tx.policy(known, w)
			if w.Precedence == 0 {
				p.Precedence = i + 1
			}
		}
		used[p.ID] = true
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b api.Policy) int { return a.Precedence - b.Precedence })
	return out, nil
}

func identify(old []api.Policy, i int, w api.PolicyWrite, at string) (api.Policy, error) {
	if w.ID == "" {
		if i < len(old) {
			return old[i], nil
		}
		return api.Policy{}, nil
	}
	k := slices.IndexFunc(old, func(p api.Policy) bool { return p.ID == w.ID })
	if k < 0 {
		return api.Policy{}, kind.Field(at+"/id", "this application has no policy %q", w.ID).
			WithHint("reusable policies are not supported; write the policy here in full")
	}
	return old[k], nil
}

// policy makes a policy from what was written; it keeps the identity of known, if that has one.
func (tx *Tx) policy(known api.Policy, w api.PolicyWrite) api.Policy {
	p := api.Policy{
		ID: known.ID, Name: w.Name, Decision: w.Decision, Precedence: w.Precedence,
		Include: orNone(w.Include), Exclude: orNone(w.Exclude), Require: orNone(w.Require), Connection: w.Connection,
		CreatedAt: known.CreatedAt, UpdatedAt: tx.at,
	}
	if p.ID == "" {
		p.ID, p.CreatedAt = newID(), tx.at
	}
	if p.Connection != nil && p.Connection.SSH != nil && p.Connection.SSH.Usernames == nil {
		p.Connection.SSH.Usernames = []string{}
	}
	return p
}

func orNone(rules []access.Rule) []access.Rule {
	if rules == nil {
		return []access.Rule{}
	}
	return rules
}

// Policy finds one of an application.
func (r *Reader) Policy(ctx context.Context, application, id string) (api.Policy, error) {
	a, err := r.Application(ctx, application)
	if err != nil {
		return api.Policy{}, err
	}
	i, err := policyIndex(&a, id)
	if err != nil {
		return api.Policy{}, err
	}
	return a.Policies[i], nil
}

func policyIndex(a *api.Application, id string) (int, error) {
	i := slices.IndexFunc(a.Policies, func(p api.Policy) bool { return p.ID == id })
	if i < 0 {
		return 0, kind.New(kind.NotFound, "application %q has no policy %q", a.Name, id)
	}
	return i, nil
}

// CreatePolicy adds a policy to an application; precedence 0 puts it last.
func (tx *Tx) CreatePolicy(ctx context.Context, application string, w api.PolicyWrite) (api.Policy, error) {
	before, err := tx.Application(ctx, application)
	if err != nil {
		return api.Policy{}, err
	}
	w.ID = ""
	if w.Precedence == 0 {
		w.Precedence = 1
		for _, p := range before.Policies {
			w.Precedence = max(w.Precedence, p.Precedence+1)
		}
	}
	a, p := before, tx.policy(api.Policy{}, w)
	a.Policies = append(slices.Clone(before.Policies), p)
	return p, tx.savePolicies(ctx, before, &a, len(a.Policies)-1, "policy.create")
}

// ReplacePolicy replaces all but ID and creation time; precedence 0 keeps it.
func (tx *Tx) ReplacePolicy(ctx context.Context, application, id string, w api.PolicyWrite) (api.Policy, error) {
	before, err := tx.Application(ctx, application)
	if err != nil {
		return api.Policy{}, err
	}
	i, err := policyIndex(&before, id)
	if err != nil {
		return api.Policy{}, err
	}
	if w.Precedence == 0 {
		w.Precedence = before.Policies[i].Precedence
	}
	a, p := before, tx.policy(before.Policies[i], w)
	a.Policies = slices.Clone(before.Policies)
	a.Policies[i] = p
	return p, tx.savePolicies(ctx, before, &a, i, "policy.update")
}

// DeletePolicy removes a policy for good.
func (tx *Tx) DeletePolicy(ctx context.Context, application, id string) error {
	before, err := tx.Application(ctx, application)
	if err != nil {
		return err
	}
	i, err := policyIndex(&before, id)
	if err != nil {
		return err
	}
	a := before
	a.Policies = slices.Delete(slices.Clone(before.Policies), i, i+1)
	return tx.saveApplication(ctx, before, &a, "policy.delete")
}

// savePolicies saves an application of which the policy at i was written; errors point into that policy.
func (tx *Tx) savePolicies(ctx context.Context, before api.Application, a *api.Application, i int, action string) error {
	err := tx.saveApplication(ctx, before, a, action)
	if k, ok := asKind(err); ok {
		c := *k
		if rest, within := cutPointer(c.Pointer, i); within {
			c.Pointer = rest
		}
		return &c
	}
	return err
}

func cutPointer(pointer string, i int) (string, bool) {
	prefix := "/policies/" + strconv.Itoa(i)
	if len(pointer) > len(prefix) && pointer[:len(prefix)] == prefix && pointer[len(prefix)] == '/' {
		return pointer[len(prefix):], true
	}
	return pointer, false
}
