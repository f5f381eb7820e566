package control

import (
	"context"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
)

func policyBody(q *call) (api.PolicyWrite, error) {
	raw, err := q.rawBody()
	if err != nil {
		return api.PolicyWrite{}, err
	}
	// Checked whole first: readPolicy looks at single keys.
	var whole map[string]any
	if err := strictjson.Decode(raw, &whole); err != nil {
		return api.PolicyWrite{}, err
	}
	return readPolicy(raw, "")
}

func (c *Control) createPolicy(ctx context.Context, q *call) (answer, error) {
	in, err := policyBody(q)
	if err != nil {
		return answer{}, err
	}
	var p api.Policy
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		p, err = tx.CreatePolicy(ctx, q.params["id"], in)
		return err
	})
	return answer{result: p}, err
}

func (c *Control) listPolicies(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	var a api.Application
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		a, err = r.Application(ctx, q.params["id"])
		return err
	})
	return slicePage(a.Policies, p), err
}

func (c *Control) getPolicy(ctx context.Context, q *call) (answer, error) {
	var p api.Policy
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		p, err = r.Policy(ctx, q.params["id"], q.params["policy"])
		return err
	})
	return answer{result: p}, err
}

func (c *Control) replacePolicy(ctx context.Context, q *call) (answer, error) {
	in, err := policyBody(q)
	if err != nil {
		return answer{}, err
	}
	var p api.Policy
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		p, err = tx.ReplacePolicy(ctx, q.params["id"], q.params["policy"], in)
		return err
	})
	return answer{result: p}, err
}

func (c *Control) deletePolicy(ctx context.Context, q *call) (answer, error) {
	id := q.params["policy"]
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeletePolicy(ctx, q.params["id"], id) })
	return answer{result: map[string]string{"id": id}}, err
}
