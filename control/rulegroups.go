package control

import (
	"context"
	"encoding/json"
	"slices"

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

func ruleGroups() resource[api.RuleGroup, api.RuleGroupWrite] {
	return resource[api.RuleGroup, api.RuleGroupWrite]{
		read: readRuleGroup, list: listRuleGroups, get: (*store.Reader).RuleGroup,
		create: (*store.Tx).CreateRuleGroup, replace: (*store.Tx).ReplaceRuleGroup, remove: (*store.Tx).DeleteRuleGroup,
	}
}

func listRuleGroups(ctx context.Context, r *store.Reader, q *call) ([]api.RuleGroup, error) {
	all, err := r.RuleGroups(ctx, q.query.Get("search"))
	if name := q.query.Get("name"); name != "" {
		all = slices.DeleteFunc(all, func(g api.RuleGroup) bool { return g.Name != name })
	}
	return all, err
}
