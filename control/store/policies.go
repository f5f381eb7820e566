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
// An element that names a reusable policy refers to it.
func (tx *Tx) embeddedPolicies(ctx context.Context, old []api.Policy, in []api.PolicyWrite) ([]api.Policy, error) {
	out := make([]api.Policy, 0, len(in))
	used := map[string]bool{}
	for i, w := range in {
		at := "/policies/" + strconv.Itoa(i)
		known, err := tx.identify(ctx, old, i, w, at)
		if err != nil {
			return nil, err
		}
		if used[known.ID] {
			if known.Reusable {
				return nil, kind.Field(at+"/id", "the reusable policy %q stands twice", clip(known.ID))
			}
			known = api.Policy{}
		}
		p, err := tx.embed(known, w, i, at)
		if err != nil {
			return nil, err
		}
		used[p.ID] = true
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b api.Policy) int { return a.Precedence - b.Precedence })
	return out, nil
}

// embed makes the policy at i of a list out of what was known of it.
func (tx *Tx) embed(known api.Policy, w api.PolicyWrite, i int, at string) (api.Policy, error) {
	mere := w.ID != "" && w.Name == "" && w.Decision == "" && w.Include == nil
	p := known
	switch {
	case known.Reusable && !mere && !sameContent(known, tx.policy(known, w)):
		return p, kind.Field(at, "policy %q is reusable and cannot be changed in an application", known.Name).
			WithHint("change it for all its applications at /access/policies/%s, or refer to it by nothing but its ID", known.ID)
	case known.Reusable:
		p.Precedence = i + 1
	case !mere:
		p = tx.policy(known, w)
		p.Precedence = i + 1
	}
	if w.Precedence != 0 {
		p.Precedence = w.Precedence
	}
	return p, nil
}

// identify finds the policy that an element of a list is to be: one of old, a reusable one, or none yet.
func (tx *Tx) identify(ctx context.Context, old []api.Policy, i int, w api.PolicyWrite, at string) (api.Policy, error) {
	if w.ID == "" {
		if i < len(old) && !old[i].Reusable {
			return old[i], nil
		}
		return api.Policy{}, nil
	}
	if k := slices.IndexFunc(old, func(p api.Policy) bool { return p.ID == w.ID }); k >= 0 {
		return old[k], nil
	}
	p, err := tx.ReusablePolicy(ctx, w.ID)
	if kind.Is(err, kind.NotFound) {
		return api.Policy{}, kind.Field(at+"/id", "there is no policy %q, neither in this application nor among the reusable ones", clip(w.ID)).
			WithHint("write the policy here in full, or make a reusable one at /access/policies")
	}
	if err != nil {
		return p.Policy, err
	}
	if why := notAttachable(&p); why != "" {
		return p.Policy, kind.Field(at+"/id", "an infrastructure application cannot have the reusable policy %q: %s", p.Name, why)
	}
	return p.Policy, nil
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
	if before.Policies[i].Reusable {
		return api.Policy{}, kind.New(kind.Invalid, "policy %q is reusable and cannot be changed in an application", before.Policies[i].Name).
			WithHint("change it for all its applications at /access/policies/%s", id)
	}
	if w.Precedence == 0 {
		w.Precedence = before.Policies[i].Precedence
	}
	a, p := before, tx.policy(before.Policies[i], w)
	a.Policies = slices.Clone(before.Policies)
	a.Policies[i] = p
	return p, tx.savePolicies(ctx, before, &a, i, "policy.update")
}

// DeletePolicy removes a policy for good; a reusable one only from this application.
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
