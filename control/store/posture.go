package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weft/access"
	"weft/access/posture"
	"weft/api"
	"weft/internal/kind"
)

// Limits of posture.
const (
	maxPostureRules      = 200
	maxPostureInputBytes = 8 << 10
	maxReasonBytes       = 200
)

const postureRuleColumns = `id, name, type, description, schedule, expiration, platforms, input`

func scanPostureRule(rs *sql.Rows) (api.PostureRule, error) {
	var p api.PostureRule
	var match, input string
	if err := rs.Scan(&p.ID, &p.Name, &p.Type, &p.Description, &p.Schedule, &p.Expiration, &match, &input); err != nil {
		return p, err
	}
	p.Input = json.RawMessage(input)
	return p, json.Unmarshal([]byte(match), &p.Match)
}

// PostureRules lists by creation.
func (r *Reader) PostureRules(ctx context.Context) ([]api.PostureRule, error) {
	return collect(ctx, r.q, scanPostureRule, `SELECT `+postureRuleColumns+` FROM posture_rules ORDER BY created_at, id`)
}

// PostureRule finds one.
func (r *Reader) PostureRule(ctx context.Context, id string) (api.PostureRule, error) {
	p, ok, err := one(ctx, r.q, scanPostureRule, `SELECT `+postureRuleColumns+` FROM posture_rules WHERE id = $1`, id)
	if err == nil && !ok {
		return p, kind.New(kind.NotFound, "there is no posture rule %q", clip(id))
	}
	return p, err
}

// DomainPostureRules are the rules as the domain sees them, by ID.
func (r *Reader) DomainPostureRules(ctx context.Context) ([]posture.Rule, error) {
	all, err := r.PostureRules(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]posture.Rule, len(all))
	for i := range all {
		if out[i], err = domainPostureRule(&all[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b posture.Rule) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func domainPostureRule(p *api.PostureRule) (posture.Rule, error) {
	d := posture.Rule{ID: p.ID, Name: p.Name, Type: p.Type, Schedule: posture.DefaultSchedule}
	for _, f := range []struct {
		pointer, in string
		to          *time.Duration
	}{{"/schedule", p.Schedule, &d.Schedule}, {"/expiration", p.Expiration, &d.Expiration}} {
		if f.in == "" {
			continue
		}
		n, err := time.ParseDuration(f.in)
		if err != nil {
			return d, kind.Field(f.pointer, "%q is not a duration such as 5m", clip(f.in))
		}
		*f.to = n
	}
	for _, m := range p.Match {
		d.Platforms = append(d.Platforms, m.Platform)
	}
	var err error
	d.Input, err = posture.ParseInput(p.Type, p.Input)
	return d, err
}

// CreatePostureRule adds a rule; until devices report they fail it.
func (tx *Tx) CreatePostureRule(ctx context.Context, in api.PostureRuleWrite) (api.PostureRule, error) {
	p := api.PostureRule{ID: newID()}
	n, err := tx.count(ctx, `posture_rules`, &where{})
	if err != nil {
		return p, err
	}
	if n >= maxPostureRules {
		return p, kind.New(kind.Limit, "the account has reached its limit of %d posture rules", maxPostureRules)
	}
	match, err := fillPostureRule(&p, in)
	if err != nil {
		return p, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO posture_rules (`+postureRuleColumns+`, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`,
		p.ID, p.Name, p.Type, p.Description, p.Schedule, p.Expiration, match, string(p.Input), tx.at); err != nil {
		return p, err
	}
	return p, tx.changed(ctx, PostureRules, "posture_rule.create", p.ID, p)
}

// ReplacePostureRule replaces all but the ID. What devices said of the old rule does not count for the new one.
func (tx *Tx) ReplacePostureRule(ctx context.Context, id string, in api.PostureRuleWrite) (api.PostureRule, error) {
	before, err := tx.PostureRule(ctx, id)
	if err != nil {
		return before, err
	}
	p := api.PostureRule{ID: id}
	match, err := fillPostureRule(&p, in)
	if err != nil {
		return p, err
	}
	if _, err := tx.exec(ctx, `UPDATE posture_rules SET name = $2, type = $3, description = $4, schedule = $5, expiration = $6, platforms = $7, input = $8, updated_at = $9
		WHERE id = $1`, p.ID, p.Name, p.Type, p.Description, p.Schedule, p.Expiration, match, string(p.Input), tx.at); err != nil {
		return p, err
	}
	if p.Type != before.Type || !slices.Equal(p.Match, before.Match) || !bytes.Equal(p.Input, before.Input) {
		if err := tx.forgetPosture(ctx, id); err != nil {
			return p, err
		}
	}
	return p, tx.changed(ctx, PostureRules, "posture_rule.update", id, change{before, p})
}

func (tx *Tx) forgetPosture(ctx context.Context, rule string) error {
	if _, err := tx.exec(ctx, `DELETE FROM posture_results WHERE rule_id = $1`, rule); err != nil {
		return err
	}
	return tx.touch(ctx, PostureResults)
}

// DeletePostureRule refuses while policies, rule groups or network rules refer to the rule, and names them: whoever is
// excluded for it would come in.
func (tx *Tx) DeletePostureRule(ctx context.Context, id string) error {
	p, err := tx.PostureRule(ctx, id)
	if err != nil {
		return err
	}
	users, err := tx.postureRuleUsers(ctx, id)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return kind.New(kind.Conflict, "posture rule %q is in use by %s", p.Name, strings.Join(users[:min(len(users), 10)], ", ")).WithHint("change or delete them first")
	}
	if err := tx.forgetPosture(ctx, id); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM posture_rules WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, PostureRules, "posture_rule.delete", id, p)
}

func (tx *Tx) postureRuleUsers(ctx context.Context, id string) ([]string, error) {
	users, err := tx.ruleUsers(ctx, func(r access.Rule) bool {
		to, ok := r.PostureID()
		return ok && to == id
	})
	if err != nil {
		return nil, err
	}
	rules, err := tx.NetworkRules(ctx) // also those that are not enabled now
	for i := range rules {
		if r := &rules[i]; strings.Contains(strings.ToLower(r.Traffic+" "+r.DevicePosture+" "+r.Identity), id) {
			users = append(users, fmt.Sprintf("network rule %s (%s)", r.Name, r.ID))
		}
	}
	return users, err
}

// fillPostureRule checks in, writes it to p and returns the text of the match list.
func fillPostureRule(p *api.PostureRule, in api.PostureRuleWrite) (match string, err error) {
	p.Name, p.Type, p.Description, p.Schedule, p.Expiration = in.Name, in.Type, in.Description, in.Schedule, in.Expiration
	p.Match, p.Input = in.Match, in.Input
	if err := checkName(p.Name); err != nil {
		return "", err
	}
	if err := checkComment("/description", p.Description); err != nil {
		return "", err
	}
	if len(p.Match) > 16 {
		return "", kind.Field("/match", "a posture rule can be for 16 platforms")
	}
	if len(p.Input) > maxPostureInputBytes {
		return "", kind.Field("/input", "the input is larger than %d bytes", maxPostureInputBytes)
	}
	if string(p.Input) == "null" {
		p.Input = nil
	}
	var compact bytes.Buffer
	if len(p.Input) > 0 {
		if err := json.Compact(&compact, p.Input); err != nil {
			return "", kind.Field("/input", "the input is not valid JSON")
		}
		p.Input = compact.Bytes()
	}
	d, err := domainPostureRule(p)
	if err != nil {
		return "", err
	}
	if err := d.Validate(); err != nil {
		return "", err
	}
	raw, err := json.Marshal(p.Match)
	if err != nil {
		return "", fmt.Errorf("render posture rule: %w", err)
	}
	return string(raw), nil
}

// PostureResult says whether a device passed a rule when it reported last.
type PostureResult struct {
	DeviceID, RuleID string
	Passed           bool
	Reason           string
	ValidUntil       string
}

func scanPostureResult(rs *sql.Rows) (PostureResult, error) {
	var x PostureResult
	return x, rs.Scan(&x.DeviceID, &x.RuleID, &x.Passed, &x.Reason, &x.ValidUntil)
}

const postureResultColumns = `device_id, rule_id, passed, reason, valid_until`

// PassedPosture are the rules that each device passes now, sorted.
func (r *Reader) PassedPosture(ctx context.Context) (map[string][]string, error) {
	all, err := collect(ctx, r.q, scanPostureResult, `SELECT `+postureResultColumns+` FROM posture_results WHERE passed = 1 AND valid_until > $1
		ORDER BY device_id, rule_id`, Stamp(r.store.now()))
	out := map[string][]string{}
	for _, x := range all {
		out[x.DeviceID] = append(out[x.DeviceID], x.RuleID)
	}
	return out, err
}

// DevicePosture are the results of one device, by rule.
func (r *Reader) DevicePosture(ctx context.Context, device string) ([]PostureResult, error) {
	return collect(ctx, r.q, scanPostureResult, `SELECT `+postureResultColumns+` FROM posture_results WHERE device_id = $1 ORDER BY rule_id`, device)
}

// ReportPosture evaluates every rule by what a device says and returns why those that failed did ("": it passed). Only
// another outcome raises a revision.
func (tx *Tx) ReportPosture(ctx context.Context, device string, report api.PostureReport) (map[string]string, error) {
	if err := tx.setFacts(ctx, device, report.Facts); err != nil {
		return nil, err
	}
	rules, err := tx.DomainPostureRules(ctx)
	if err != nil {
		return nil, err
	}
	before, err := tx.resultsOf(ctx, device)
	if err != nil {
		return nil, err
	}
	list, failed := tx.postureLists(ctx)
	out, changes := map[string]string{}, map[string]string{}
	for i := range rules {
		rule := &rules[i]
		var seen *posture.Observation
		if o, ok := report.Observations[rule.ID]; ok {
			seen = &o
		}
		passed, reason := rule.Evaluate(&report.Facts, seen, list)
		reason = cut(reason, maxReasonBytes)
		out[rule.ID] = reason
		was, known := before[rule.ID]
		if err := tx.putPosture(ctx, PostureResult{device, rule.ID, passed, reason, Stamp(tx.time.Add(rule.GoodFor()))}); err != nil {
			return nil, err
		}
		if passed != (known && was.Passed) {
			changes[rule.ID] = outcome(passed, reason)
		}
	}
	if err := *failed; err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return out, nil
	}
	return out, tx.changed(ctx, PostureResults, "device.posture", device, changes)
}

func outcome(passed bool, reason string) string {
	if passed {
		return "passed"
	}
	return "failed: " + reason
}

func (tx *Tx) resultsOf(ctx context.Context, device string) (map[string]PostureResult, error) {
	all, err := tx.DevicePosture(ctx, device)
	out := make(map[string]PostureResult, len(all))
	for _, x := range all {
		out[x.RuleID] = x
	}
	return out, err
}

func (tx *Tx) putPosture(ctx context.Context, x PostureResult) error {
	_, err := tx.exec(ctx, `INSERT INTO posture_results (device_id, rule_id, passed, reason, reported_at, valid_until) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (device_id, rule_id) DO UPDATE SET passed = $3, reason = $4, reported_at = $5, valid_until = $6`,
		x.DeviceID, x.RuleID, flag(x.Passed), x.Reason, tx.at, x.ValidUntil)
	return err
}

// postureLists finds the values of lists; what goes wrong is in the error that it returns beside.
func (tx *Tx) postureLists(ctx context.Context) (func(id string) ([]string, bool), *error) {
	known := map[string][]string{}
	failed := new(error)
	return func(id string) ([]string, bool) {
		if values, ok := known[id]; ok {
			return values, values != nil
		}
		l, err := tx.List(ctx, id)
		if err != nil && !kind.Is(err, kind.NotFound) {
			*failed = errors.Join(*failed, err)
		}
		known[id] = nil
		if err == nil {
			known[id] = domainList(&l).Items
		}
		return known[id], known[id] != nil
	}, failed
}

// setFacts keeps what a device says of its system. Profiles may ask for it, so another system is a change.
func (tx *Tx) setFacts(ctx context.Context, device string, f api.DeviceFacts) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("render facts: %w", err)
	}
	n, err := tx.exec(ctx, `UPDATE devices SET facts = $1, updated_at = $2 WHERE id = $3 AND facts <> $1`, string(raw), tx.at, device)
	if err != nil || n == 0 {
		return err
	}
	return tx.changed(ctx, Devices, "device.facts", device, f)
}

// relistPosture evaluates anew the rules that compare facts with a list that has changed: who was taken off it fails at once.
func (tx *Tx) relistPosture(ctx context.Context, listID string) error {
	rules, err := tx.DomainPostureRules(ctx)
	if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(r posture.Rule) bool {
		return r.Input.ID != listID || r.Type != posture.TypeSerialNumber && r.Type != posture.TypeUniqueClientID
	})
	if len(rules) == 0 {
		return nil
	}
	list, failed := tx.postureLists(ctx)
	for i := range rules {
		if err := tx.reevaluate(ctx, &rules[i], list); err != nil {
			return err
		}
	}
	return *failed
}

// reevaluate takes a rule from the devices that no longer pass it; who passes it anew says so with the next report.
func (tx *Tx) reevaluate(ctx context.Context, rule *posture.Rule, list func(string) ([]string, bool)) error {
	type row struct{ device, facts string }
	passing, err := collect(ctx, tx.q, func(rs *sql.Rows) (x row, err error) { return x, rs.Scan(&x.device, &x.facts) },
		`SELECT d.id, d.facts FROM posture_results p JOIN devices d ON d.id = p.device_id WHERE p.rule_id = $1 AND p.passed = 1 ORDER BY d.id`, rule.ID)
	if err != nil {
		return err
	}
	for _, x := range passing {
		var f posture.Facts
		if err := json.Unmarshal([]byte(x.facts), &f); err != nil {
			return fmt.Errorf("facts of device %s: %w", x.device, err)
		}
		if passed, reason := rule.Evaluate(&f, &posture.Observation{}, list); !passed {
			if err := tx.failPosture(ctx, x.device, rule.ID, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tx *Tx) failPosture(ctx context.Context, device, rule, reason string) error {
	if _, err := tx.exec(ctx, `UPDATE posture_results SET passed = 0, reason = $1 WHERE device_id = $2 AND rule_id = $3`, reason, device, rule); err != nil {
		return err
	}
	return tx.changed(ctx, PostureResults, "device.posture", device, map[string]string{rule: outcome(false, reason)})
}

// LapsedPosture reports whether a result has outlived its time.
func (r *Reader) LapsedPosture(ctx context.Context) (bool, error) {
	_, ok, err := one(ctx, r.q, scanPostureResult, `SELECT `+postureResultColumns+` FROM posture_results WHERE passed = 1 AND valid_until <= $1 LIMIT 1`, Stamp(r.store.now()))
	return ok, err
}

// LapsePosture fails what has outlived its time: a device that no longer reports passes nothing.
func (tx *Tx) LapsePosture(ctx context.Context) error {
	gone, err := collect(ctx, tx.q, scanPostureResult, `SELECT `+postureResultColumns+` FROM posture_results WHERE passed = 1 AND valid_until <= $1
		ORDER BY device_id, rule_id`, tx.at)
	if err != nil {
		return err
	}
	for _, x := range gone {
		if err := tx.failPosture(ctx, x.DeviceID, x.RuleID, "the device has not reported for too long"); err != nil {
			return err
		}
	}
	return nil
}

// cut shortens text that is kept.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
