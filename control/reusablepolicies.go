package control

import (
	"context"

	"weft/api"
	"weft/control/store"
)

func reusablePolicies() resource[api.ReusablePolicy, api.PolicyWrite] {
	return resource[api.ReusablePolicy, api.PolicyWrite]{
		read: policyBody,
		list: func(ctx context.Context, r *store.Reader, _ *call) ([]api.ReusablePolicy, error) {
			return r.ReusablePolicies(ctx)
		},
		get: (*store.Reader).ReusablePolicy, create: (*store.Tx).CreateReusablePolicy, replace: (*store.Tx).ReplaceReusablePolicy,
		remove: (*store.Tx).DeleteReusablePolicy,
	}
}

func (c *Control) makePolicyReusable(ctx context.Context, q *call) (answer, error) {
	return change(ctx, c, q, func(tx *store.Tx) (api.Policy, error) {
		return tx.MakePolicyReusable(ctx, q.params["id"], q.params["policy"])
	})
}
