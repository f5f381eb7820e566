package control

import (
	"context"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// networkRuleNoise is what clients send back of an answer, or send of rules of other kinds.
var networkRuleNoise = []string{"id", "version", "created_at", "updated_at", "deleted_at", "read_only", "sharable", "source_account", "warning_status"}

// codeRule is what the public API has for a rule that is not there.
const codeRule = 2009

func (c *Control) listNetworkRules(ctx context.Context, _ *call) (answer, error) {
	var list []api.NetworkRule
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.NetworkRules(ctx)
		return err
	})
	return answer{result: list}, err
}

// listTenantRules: there is no account above this one, which could hand down rules.
func (c *Control) listTenantRules(context.Context, *call) (answer, error) {
	return answer{result: []api.NetworkRule{}}, nil
}

func (c *Control) getNetworkRule(ctx context.Context, q *call) (answer, error) {
	var x api.NetworkRule
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		x, err = r.NetworkRule(ctx, q.params["id"])
		return err
	})
	return answer{result: x}, withCode(err, kind.NotFound, codeRule)
}

func (c *Control) createNetworkRule(ctx context.Context, q *call) (answer, error) {
	var in api.NetworkRuleWrite
	if err := q.body(&in, networkRuleNoise...); err != nil {
		return answer{}, err
	}
	var x api.NetworkRule
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		x, err = tx.CreateNetworkRule(ctx, in)
		return err
	})
	return answer{result: x}, err
}

// replaceNetworkRule serves PUT, which writes the whole rule, and PATCH, which leaves what it does not name.
func (c *Control) replaceNetworkRule(patch bool) serveFunc {
	return func(ctx context.Context, q *call) (answer, error) {
		var in api.NetworkRuleWrite
		if err := q.body(&in, networkRuleNoise...); err != nil {
			return answer{}, err
		}
		var x api.NetworkRule
		err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
			x, err = tx.ReplaceNetworkRule(ctx, q.params["id"], in, patch)
			return err
		})
		return answer{result: x}, withCode(err, kind.NotFound, codeRule)
	}
}

func (c *Control) deleteNetworkRule(ctx context.Context, q *call) (answer, error) {
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteNetworkRule(ctx, q.params["id"]) })
	return answer{result: struct{}{}}, withCode(err, kind.NotFound, codeRule)
}
