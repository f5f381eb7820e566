package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

const (
	// maxNetworkRules bounds the rules of an account: each is looked at for each flow.
	maxNetworkRules = 1000
	// maxNetworkRuleText bounds the expressions of all of them together, for the same reason: one alone may have 48 KiB.
	maxNetworkRuleText = 1 << 20
	// precedenceStep is the gap that a rule without a precedence of its own leaves, so that others fit between.
	precedenceStep = 1000
	maxPrecedence  = 1<<31 - 1
)

const networkRuleColumns = `id, name, description, precedence, enabled, action, traffic, identity_rule, device_posture, settings, version, created_at, updated_at, described`

func scanNetworkRule(rs *sql.Rows) (api.NetworkRule, error) {
	r := api.NetworkRule{Filters: []string{"l4"}}
	var settings, description string
	var described bool
	if err := rs.Scan(&r.ID, &r.Name, &description, &r.Precedence, &r.Enabled, &r.Action, &r.Traffic, &r.Identity, &r.DevicePosture,
		&settings, &r.Version, &r.CreatedAt, &r.UpdatedAt, &described); err != nil {
		return r, err
	}
	if described {
		r.Description = &description
	}
	return r, json.Unmarshal([]byte(settings), &r.RuleSettings)
}

// NetworkRules lists by precedence.
func (r *Reader) NetworkRules(ctx context.Context) ([]api.NetworkRule, error) {
	return collect(ctx, r.q, scanNetworkRule, `SELECT `+networkRuleColumns+` FROM network_rules ORDER BY precedence`)
}

// NetworkRule finds one. The words of the error are those that a client looks for.
func (r *Reader) NetworkRule(ctx context.Context, id string) (api.NetworkRule, error) {
	x, ok, err := one(ctx, r.q, scanNetworkRule, `SELECT `+networkRuleColumns+` FROM network_rules WHERE id = $1`, id)
	if err == nil && !ok {
		return x, kind.New(kind.NotFound, "invalid rule id")
	}
	return x, err
}

// DomainNetworkRules are the enabled rules as the policy sees them.
func (r *Reader) DomainNetworkRules(ctx context.Context) ([]access.NetworkRule, error) {
	all, err := r.NetworkRules(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]access.NetworkRule, 0, len(all))
	for i := range all {
		if all[i].Enabled {
			out = append(out, domainNetworkRule(&all[i]))
		}
	}
	return out, nil
}

func domainNetworkRule(r *api.NetworkRule) access.NetworkRule {
	reason, _ := r.RuleSettings["block_reason"].(string)
	return access.NetworkRule{
		ID: r.ID, Name: r.Name, Precedence: int(r.Precedence), Action: r.Action,
		Traffic: r.Traffic, Identity: r.Identity, DevicePosture: r.DevicePosture, BlockReason: reason,
	}
}

// CreateNetworkRule adds a rule; without a precedence it goes behind all others.
func (tx *Tx) CreateNetworkRule(ctx context.Context, in api.NetworkRuleWrite) (api.NetworkRule, error) {
	r := api.NetworkRule{ID: newID(), Enabled: true, Version: 1, CreatedAt: tx.at, UpdatedAt: tx.at, RuleSettings: map[string]any{}}
	all, err := tx.NetworkRules(ctx)
	if err != nil {
		return r, err
	}
	if len(all) >= maxNetworkRules {
		return r, kind.New(kind.Limit, "the account has %d network rules, which is the most", len(all))
	}
	r.Precedence = precedenceStep
	if n := len(all); n > 0 {
		r.Precedence = min(all[n-1].Precedence+precedenceStep, maxPrecedence)
	}
	if err := tx.putNetworkRule(ctx, &r, in, all); err != nil {
		return r, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO network_rules (`+networkRuleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		r.ID, r.Name, deref(r.Description), r.Precedence, flag(r.Enabled), r.Action, r.Traffic, r.Identity, r.DevicePosture, settingsText(&r),
		r.Version, r.CreatedAt, r.UpdatedAt, flag(r.Description != nil)); err != nil {
		return r, err
	}
	return r, tx.changed(ctx, NetworkRules, "network_rule.create", r.ID, r)
}

// ReplaceNetworkRule replaces a rule; with patch, what in leaves out stays.
func (tx *Tx) ReplaceNetworkRule(ctx context.Context, id string, in api.NetworkRuleWrite, patch bool) (api.NetworkRule, error) {
	r, err := tx.NetworkRule(ctx, id)
	if err != nil {
		return r, err
	}
	before := r
	if !patch {
		r = api.NetworkRule{
			ID: r.ID, Enabled: true, Precedence: r.Precedence, Version: r.Version, CreatedAt: r.CreatedAt, RuleSettings: map[string]any{},
		}
	}
	all, err := tx.NetworkRules(ctx)
	if err != nil {
		return r, err
	}
	r.Version, r.UpdatedAt = r.Version+1, tx.at
	if err := tx.putNetworkRule(ctx, &r, in, all); err != nil {
		return r, err
	}
	if _, err := tx.exec(ctx, `UPDATE network_rules SET name = $2, description = $3, precedence = $4, enabled = $5, action = $6, traffic = $7,
		identity_rule = $8, device_posture = $9, settings = $10, version = $11, updated_at = $12, described = $13 WHERE id = $1`,
		r.ID, r.Name, deref(r.Description), r.Precedence, flag(r.Enabled), r.Action, r.Traffic, r.Identity, r.DevicePosture, settingsText(&r),
		r.Version, r.UpdatedAt, flag(r.Description != nil)); err != nil {
		return r, err
	}
	return r, tx.changed(ctx, NetworkRules, "network_rule.update", r.ID, change{before, r})
}

// DeleteNetworkRule removes a rule.
func (tx *Tx) DeleteNetworkRule(ctx context.Context, id string) error {
	r, err := tx.NetworkRule(ctx, id)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM network_rules WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, NetworkRules, "network_rule.delete", id, r)
}

// putNetworkRule writes in over r and checks the result.
func (tx *Tx) putNetworkRule(ctx context.Context, r *api.NetworkRule, in api.NetworkRuleWrite, all []api.NetworkRule) error {
	for from, to := range map[*string]*string{
		in.Name: &r.Name, in.Action: &r.Action,
		in.Traffic: &r.Traffic, in.Identity: &r.Identity, in.DevicePosture: &r.DevicePosture,
	} {
		if from != nil {
			*to = *from
		}
	}
	if in.Description != nil {
		r.Description = in.Description
	}
	if in.Precedence != nil {
		r.Precedence = *in.Precedence
	}
	if in.Enabled != nil {
		r.Enabled = *in.Enabled
	}
	if in.RuleSettings != nil {
		r.RuleSettings = keptSettings(in.RuleSettings)
	}
	if in.Filters != nil {
		r.Filters = in.Filters
	}
	if err := checkNetworkRule(r, in); err != nil {
		return err
	}
	text := expressionBytes(r)
	for i := range all {
		if all[i].ID != r.ID {
			text += expressionBytes(&all[i])
		}
	}
	if text > maxNetworkRuleText {
		return kind.New(kind.Limit, "the expressions of all network rules would be %d bytes, more than %d", text, maxNetworkRuleText).
			WithHint("put values into lists, and name those")
	}
	for i := range all {
		if other := &all[i]; other.ID != r.ID && other.Precedence == r.Precedence {
			return kind.Field("/precedence", "precedence %d already belongs to network rule %q (%s)", r.Precedence, other.Name, other.ID).
				WithHint("choose another one; without a precedence the rule goes behind all others")
		}
	}
	lists, err := tx.DomainLists(ctx)
	if err != nil {
		return err
	}
	d := domainNetworkRule(r)
	return fieldOf(d.Validate(lists))
}

func expressionBytes(r *api.NetworkRule) int {
	return len(r.Traffic) + len(r.Identity) + len(r.DevicePosture)
}

// fieldOf turns "traffic: ..." into an error about the field.
func fieldOf(err error) error {
	if err == nil {
		return nil
	}
	field, message, _ := strings.Cut(err.Error(), ": ")
	return kind.Field("/"+field, "%s", message)
}

// checkNetworkRule refuses what Weft does not enforce: a rule that is kept and does nothing would be an open door.
func checkNetworkRule(r *api.NetworkRule, in api.NetworkRuleWrite) error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if err := checkComment("/description", deref(r.Description)); err != nil {
		return err
	}
	switch {
	case len(r.Filters) != 1 || r.Filters[0] != "l4":
		return kind.Field("/filters", `filters must be ["l4"]: other kinds of rules are not enforced`)
	case r.Precedence < 0 || r.Precedence > maxPrecedence:
		return kind.Field("/precedence", "the precedence must be from 0 to %d", maxPrecedence)
	case r.Action != access.ActionAllow && r.Action != access.ActionBlock:
		return kind.Field("/action", `the action must be "allow" or "block": others are not enforced`)
	case len(in.Schedule) > 0:
		return kind.Field("/schedule", "schedules are not enforced")
	case len(in.Expiration) > 0:
		return kind.Field("/expiration", "expirations are not enforced")
	}
	return checkSettings(r)
}

// checkSettings accepts the settings that have a meaning here, and those that say nothing.
func checkSettings(r *api.NetworkRule) error {
	for name, v := range prune(r.RuleSettings) {
		switch name {
		case "block_reason":
			s, ok := v.(string)
			if !ok {
				return kind.Field("/rule_settings/block_reason", "the reason must be a string")
			}
			if err := checkComment("/rule_settings/block_reason", s); err != nil {
				return err
			}
		case "notification_settings": // what the original's client shows; kept, and given back
		default:
			return kind.Field("/rule_settings/"+name, "the setting %q is not enforced", name)
		}
	}
	if n := len(settingsText(r)); n > 8<<10 {
		return kind.Field("/rule_settings", "the settings are %d bytes, more than %d", n, 8<<10)
	}
	return nil
}

// keptSettings are the settings as they come back. A client that writes nulls spells out every setting there is, so what
// it says of none means nothing, and another client would take it for a change; one that writes none means what it writes.
func keptSettings(m map[string]any) map[string]any {
	for _, v := range m {
		if v == nil {
			return prune(m)
		}
	}
	return m
}

// prune drops what means the same as nothing: false, empty and null members.
func prune(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		switch x := v.(type) {
		case map[string]any:
			if p := prune(x); len(p) > 0 {
				out[k] = p
			}
		case []any:
			if len(x) > 0 {
				out[k] = x
			}
		case nil, bool, string, float64, json.Number:
			if x != nil && x != false && x != "" && x != 0.0 && x != json.Number("0") {
				out[k] = x
			}
		}
	}
	return out
}

func settingsText(r *api.NetworkRule) string {
	raw, err := json.Marshal(r.RuleSettings)
	if err != nil { // it came from JSON
		panic(fmt.Sprintf("render settings of rule %s: %v", r.ID, err))
	}
	return string(raw)
}
