package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// maxRuleGroups is the documented limit of an account.
const maxRuleGroups = 300

const ruleGroupColumns = `id, name, include_rules, exclude_rules, require_rules, created_at, updated_at`

func scanRuleGroup(rs *sql.Rows) (api.RuleGroup, error) {
	var g api.RuleGroup
	var include, exclude, require string
	if err := rs.Scan(&g.ID, &g.Name, &include, &exclude, &require, &g.CreatedAt, &g.UpdatedAt); err != nil {
		return g, err
	}
	for text, to := range map[*string]any{&include: &g.Include, &exclude: &g.Exclude, &require: &g.Require} {
		if err := json.Unmarshal([]byte(*text), to); err != nil {
			return g, fmt.Errorf("rule group %s: %w", g.ID, err)
		}
	}
	return g, nil
}

// RuleGroups lists by name those whose name has search as a part; all for "".
func (r *Reader) RuleGroups(ctx context.Context, search string) ([]api.RuleGroup, error) {
	var w where
	if search != "" {
		w.add(`name_key LIKE ? ESCAPE '\'`, "%"+escapeLike(nameKey(search))+"%")
	}
	return collect(ctx, r.q, scanRuleGroup, `SELECT `+ruleGroupColumns+` FROM rule_groups`+w.String()+` ORDER BY name_key`, w.args...)
}

// RuleGroup finds one.
func (r *Reader) RuleGroup(ctx context.Context, id string) (api.RuleGroup, error) {
	g, ok, err := one(ctx, r.q, scanRuleGroup, `SELECT `+ruleGroupColumns+` FROM rule_groups WHERE id = $1`, id)
	if err == nil && !ok {
		return g, kind.New(kind.NotFound, "there is no rule group %q", id)
	}
	return g, err
}

// DomainRuleGroups are the rule groups as the policy sees them.
func (r *Reader) DomainRuleGroups(ctx context.Context) ([]access.RuleGroup, error) {
	all, err := r.RuleGroups(ctx, "")
	out := make([]access.RuleGroup, len(all))
	for i := range all {
		out[i] = domainRuleGroup(&all[i])
	}
	return out, err
}

func domainRuleGroup(g *api.RuleGroup) access.RuleGroup {
	return access.RuleGroup{ID: g.ID, Name: g.Name, Include: g.Include, Require: g.Require, Exclude: g.Exclude}
}

// CreateRuleGroup adds a rule group.
func (tx *Tx) CreateRuleGroup(ctx context.Context, in api.RuleGroupWrite) (api.RuleGroup, error) {
	g := api.RuleGroup{ID: newID(), CreatedAt: tx.at}
	n, err := tx.count(ctx, `rule_groups`, &where{})
	if err != nil {
		return g, err
	}
	if n >= maxRuleGroups {
		return g, kind.New(kind.Limit, "the account has reached its limit of %d rule groups", maxRuleGroups)
	}
	text, err := tx.putRuleGroup(ctx, &g, in)
	if err != nil {
		return g, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO rule_groups (id, name, name_key, include_rules, exclude_rules, require_rules, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, g.ID, g.Name, nameKey(g.Name), text[0], text[1], text[2], g.CreatedAt, g.UpdatedAt); err != nil {
		return g, err
	}
	return g, tx.changed(ctx, RuleGroups, "rule_group.create", g.ID, g)
}

// ReplaceRuleGroup replaces all but ID and creation time.
func (tx *Tx) ReplaceRuleGroup(ctx context.Context, id string, in api.RuleGroupWrite) (api.RuleGroup, error) {
	before, err := tx.RuleGroup(ctx, id)
	if err != nil {
		return before, err
	}
	g := before
	text, err := tx.putRuleGroup(ctx, &g, in)
	if err != nil {
		return g, err
	}
	if _, err := tx.exec(ctx, `UPDATE rule_groups SET name = $2, name_key = $3, include_rules = $4, exclude_rules = $5, require_rules = $6, updated_at = $7
		WHERE id = $1`, g.ID, g.Name, nameKey(g.Name), text[0], text[1], text[2], g.UpdatedAt); err != nil {
		return g, err
	}
	return g, tx.changed(ctx, RuleGroups, "rule_group.update", g.ID, change{before, g})
}

// DeleteRuleGroup refuses while policies or other groups refer to the group, and names them.
func (tx *Tx) DeleteRuleGroup(ctx context.Context, id string) error {
	g, err := tx.RuleGroup(ctx, id)
	if err != nil {
		return err
	}
	users, err := tx.ruleGroupUsers(ctx, id)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return kind.New(kind.Conflict, "rule group %q is in use by %s", g.Name, strings.Join(users, ", ")).WithHint("change or delete them first")
	}
	if _, err := tx.exec(ctx, `DELETE FROM rule_groups WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, RuleGroups, "rule_group.delete", id, g)
}

// putRuleGroup writes in over g, checks the result and returns the text of its three lists.
func (tx *Tx) putRuleGroup(ctx context.Context, g *api.RuleGroup, in api.RuleGroupWrite) (text [3]string, err error) {
	g.Name, g.UpdatedAt = in.Name, tx.at
	g.Include, g.Exclude, g.Require = orNone(in.Include), orNone(in.Exclude), orNone(in.Require)
	if err := checkName(g.Name); err != nil {
		return text, err
	}
	d := domainRuleGroup(g)
	if err := d.Validate(); err != nil {
		return text, err
	}
	all, err := tx.RuleGroups(ctx, "")
	if err != nil {
		return text, err
	}
	domain := []access.RuleGroup{d}
	for i := range all {
		switch {
		case all[i].ID == g.ID:
		case nameKey(all[i].Name) == nameKey(g.Name):
			return text, kind.New(kind.Conflict, "the name %q already belongs to rule group %q (%s)", g.Name, all[i].Name, all[i].ID).At("/name")
		default:
			domain = append(domain, domainRuleGroup(&all[i]))
		}
	}
	rules := []ruleList{{"/include", g.Include}, {"/exclude", g.Exclude}, {"/require", g.Require}}
	if err := checkGroupRefs(domain, rules); err != nil {
		return text, err
	}
	if err := tx.checkListRefs(ctx, rules); err != nil {
		return text, err
	}
	if err := access.CheckGroups(domain); err != nil {
		return text, err
	}
	for i, rules := range [][]access.Rule{g.Include, g.Exclude, g.Require} {
		raw, err := json.Marshal(rules)
		if err != nil {
			return text, fmt.Errorf("render rule group: %w", err)
		}
		text[i] = string(raw)
	}
	return text, nil
}

// ruleList is a list of rules under its place in a body.
type ruleList struct {
	pointer string
	rules   []access.Rule
}

// checkGroupRefs refuses rules that name a group that is not there: it could never match.
func checkGroupRefs(groups []access.RuleGroup, lists []ruleList) error {
	for _, l := range lists {
		for i, r := range l.rules {
			id, ok := r.GroupID()
			if ok && !slices.ContainsFunc(groups, func(g access.RuleGroup) bool { return g.ID == id }) {
				return kind.Field(fmt.Sprintf("%s/%d/group/id", l.pointer, i), "there is no rule group %q", clip(id))
			}
		}
	}
	return nil
}

// ruleGroupUsers names up to ten policies and groups that refer to a group.
func (tx *Tx) ruleGroupUsers(ctx context.Context, id string) ([]string, error) {
	refers := func(r access.Rule) bool {
		to, ok := r.GroupID()
		return ok && to == id
	}
	return tx.ruleUsers(ctx, refers)
}

// ruleUsers names up to ten policies and groups that have a rule of which refers says so.
func (tx *Tx) ruleUsers(ctx context.Context, refers func(access.Rule) bool) ([]string, error) {
	any3 := func(lists ...[]access.Rule) bool { return slices.ContainsFunc(slices.Concat(lists...), refers) }
	var users []string
	groups, err := tx.RuleGroups(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if any3(g.Include, g.Exclude, g.Require) {
			users = append(users, fmt.Sprintf("rule group %s (%s)", g.Name, g.ID))
		}
	}
	reusable, err := tx.ReusablePolicies(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range reusable {
		if any3(p.Include, p.Exclude, p.Require) {
			users = append(users, fmt.Sprintf("reusable policy %s (%s)", p.Name, p.ID))
		}
	}
	apps, err := tx.Applications(ctx, ApplicationFilter{})
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		for _, p := range a.Policies {
			if !p.Reusable && any3(p.Include, p.Exclude, p.Require) {
				users = append(users, fmt.Sprintf("policy %s of application %s (%s)", p.Name, a.Name, a.ID))
			}
		}
	}
	return users[:min(len(users), 10)], nil
}
