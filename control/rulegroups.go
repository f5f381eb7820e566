package control

import (
	"context"
	"encoding/json"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

var ruleGroupNoise = []string{"id", "uid", "created_at", "updated_at"}

// ruleGroupInput is a body; a group that every application has by default is not to be had.
type ruleGroupInput struct {
	Name      string          `json:"name"`
	Include   []access.Rule   `json:"include"`
	Exclude   []access.Rule   `json:"exclude"`
	Require   []access.Rule   `json:"require"`
	IsDefault json.RawMessage `json:"is_default"`
}

func readRuleGroup(q *call) (api.RuleGroupWrite, error) {
	var in ruleGroupInput
	if err := q.body(&in, ruleGroupNoise...); err != nil {
		return api.RuleGroupWrite{}, err
	}
	if !saysNothing(in.IsDefault) {
		return api.RuleGroupWrite{}, kind.Field("/is_default", "default rule groups are not supported: name the group in the policies")
	}
	return api.RuleGroupWrite{Name: in.Name, Include: in.Include, Exclude: in.Exclude, Require: in.Require}, nil
}

func (c *Control) listRuleGroups(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	var all []api.RuleGroup
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		all, err = r.RuleGroups(ctx, q.query.Get("search"))
		return err
	})
	if name := q.query.Get("name"); name != "" {
		named := []api.RuleGroup{}
		for _, g := range all {
			if g.Name == name {
				named = append(named, g)
			}
		}
		all = named
	}
	return slicePage(all, p), err
}

func (c *Control) getRuleGroup(ctx context.Context, q *call) (answer, error) {
	var g api.RuleGroup
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		g, err = r.RuleGroup(ctx, q.params["id"])
		return err
	})
	return answer{result: g}, err
}

func (c *Control) createRuleGroup(ctx context.Context, q *call) (answer, error) {
	return c.writeRuleGroup(ctx, q, func(tx *store.Tx, in api.RuleGroupWrite) (api.RuleGroup, error) { return tx.CreateRuleGroup(ctx, in) })
}

func (c *Control) replaceRuleGroup(ctx context.Context, q *call) (answer, error) {
	return c.writeRuleGroup(ctx, q, func(tx *store.Tx, in api.RuleGroupWrite) (api.RuleGroup, error) {
		return tx.ReplaceRuleGroup(ctx, q.params["id"], in)
	})
}

func (c *Control) writeRuleGroup(ctx context.Context, q *call, write func(*store.Tx, api.RuleGroupWrite) (api.RuleGroup, error)) (answer, error) {
	in, err := readRuleGroup(q)
	if err != nil {
		return answer{}, err
	}
	var g api.RuleGroup
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		g, err = write(tx, in)
		return err
	})
	return answer{result: g}, err
}

func (c *Control) deleteRuleGroup(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteRuleGroup(ctx, id) })
	return answer{result: map[string]string{"id": id}}, err
}
