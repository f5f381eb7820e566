package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// embeddedPolicies makes the policies of an application from an embedded list, in its order. An element that names a policy of
// old by ID or, without an ID, stands at the place of one that no other element names, keeps its identity; an element with
// nothing but an ID keeps the policy whole. An element that names a reusable policy refers to it. A precedence that is left
// out comes behind that of the element before.
func (tx *Tx) embeddedPolicies(ctx context.Context, old []api.Policy, in []api.PolicyWrite) ([]api.Policy, error) {
	out := make([]api.Policy, 0, len(in))
	named, used := map[string]bool{}, map[string]bool{}
	for _, w := range in {
		named[w.ID] = true
	}
	last := 0
	for i, w := range in {
		at := "/policies/" + strconv.Itoa(i)
		id := w.ID
		if id == "" && i < len(old) && !old[i].Reusable && !named[old[i].ID] {
			id = old[i].ID
		}
		if used[id] {
			return nil, kind.Field(at+"/id", "the policy %q stands twice", clip(id))
		}
		known, err := tx.identify(ctx, old, id, at)
		if err != nil {
			return nil, err
		}
		p, err := tx.embed(known, w, at)
		if err != nil {
			return nil, err
		}
		if w.Precedence == 0 {
			p.Precedence = max(p.Precedence, i+1)
			if p.Precedence <= last {
				p.Precedence = last + 1
			}
		}
		last, used[p.ID] = p.Precedence, true
		out = append(out, p)
	}
	return out, nil
}

// embed makes the policy that an element of a list is to be out of what was known of it; precedence 0 is for the list to say.
func (tx *Tx) embed(known api.Policy, w api.PolicyWrite, at string) (api.Policy, error) {
	p := known
	switch {
	case known.Reusable && !mere(w) && !sameContent(known, tx.policy(known, w)):
		return p, kind.Field(at, "policy %q is reusable and cannot be changed in an application", known.Name).
			WithHint("change it for all its applications at /access/policies/%s, or refer to it by nothing but its ID", known.ID)
	case known.Reusable:
		p.Precedence = 0
	case !mere(w):
		p = tx.policy(known, w)
	}
	if w.Precedence != 0 {
		p.Precedence = w.Precedence
	}
	return p, nil
}

// mere reports whether w is nothing but a reference: it says what the policy is, and not what is to be in it. A rule or a
// user that stands beside the ID is content, which must not be dropped.
func mere(w api.PolicyWrite) bool {
	return w.ID != "" && w.Name == "" && w.Decision == "" && w.Connection == nil && len(w.Include)+len(w.Exclude)+len(w.Require) == 0
}

// identify finds the policy that an element of a list is to be: one of old, a reusable one, or none yet.
func (tx *Tx) identify(ctx context.Context, old []api.Policy, id, at string) (api.Policy, error) {
	if id == "" {
		return api.Policy{}, nil
	}
	if k := slices.IndexFunc(old, func(p api.Policy) bool { return p.ID == id }); k >= 0 {
		return old[k], nil
	}
	p, err := tx.ReusablePolicy(ctx, id)
	if kind.Is(err, kind.NotFound) {
		return api.Policy{}, kind.Field(at+"/id", "there is no policy %q, neither in this application nor among the reusable ones", clip(id)).
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
		} else if strings.HasSuffix(c.Pointer, "/precedence") {
			c.Pointer = "/precedence" // it clashes with that of another one, which stands further down
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
