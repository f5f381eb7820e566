package control

import (
	"context"
	"slices"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
)

func reusablePolicies() resource[api.ReusablePolicy, api.ReusablePolicyWrite] {
	return resource[api.ReusablePolicy, api.ReusablePolicyWrite]{
		read: readReusablePolicy,
		list: func(ctx context.Context, r *store.Reader, _ *call) ([]api.ReusablePolicy, error) {
			return r.ReusablePolicies(ctx)
		},
		get: (*store.Reader).ReusablePolicy, create: (*store.Tx).CreateReusablePolicy, replace: (*store.Tx).ReplaceReusablePolicy,
		remove: (*store.Tx).DeleteReusablePolicy,
	}
}

// reusableNoise is policyNoise less what reusable policies keep.
var reusableNoise = slices.DeleteFunc(slices.Clone(policyNoise), func(key string) bool { return key == "purpose_justification_prompt" })

// readReusablePolicy reads a policy with the options that only reusable ones have.
func readReusablePolicy(q *call) (w api.ReusablePolicyWrite, err error) {
	raw, err := q.rawBody()
	if err != nil {
		return w, err
	}
	var in struct {
		policyInput
		api.PolicyOptions
	}
	if err := strictjson.Decode(raw, &in, reusableNoise...); err != nil {
		return w, err
	}
	if w.PolicyWrite, err = in.policy(""); err != nil {
		return w, err
	}
	if in.Connection != nil && !saysNothing(in.Connection.RDP) {
		w.Connection.RDP = &api.RDPRules{}
		if err := strictjson.Decode(in.Connection.RDP, w.Connection.RDP); err != nil {
			return w, under("/connection_rules/rdp", err)
		}
	}
	w.PolicyOptions = in.PolicyOptions
	if deref(w.SessionDuration) == "" {
		w.SessionDuration = nil
	}
	return w, nil
}

func (c *Control) makePolicyReusable(ctx context.Context, q *call) (answer, error) {
	return change(ctx, c, q, func(tx *store.Tx) (api.Policy, error) {
		return tx.MakePolicyReusable(ctx, q.params["id"], q.params["policy"])
	})
}
