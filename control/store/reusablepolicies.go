package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

const (
	// maxReusablePolicies is the documented limit of an account.
	maxReusablePolicies = 500
	reusableType        = "reusable_policies"
)

// reusableColumns are those of scanPolicy, with the precedence of a link or 0.
const (
	reusableColumns = `id, name, decision, 0, include_rules, exclude_rules, require_rules, connection_rules, created_at, updated_at`
	linkColumns     = `p.id, p.name, p.decision, l.precedence, p.include_rules, p.exclude_rules, p.require_rules, p.connection_rules, p.created_at, p.updated_at`
	linkCount       = `(SELECT COUNT(*) FROM application_policies l WHERE l.policy_id = reusable_policies.id)`
)

// policiesOf are the policies of applications, of all for nil, by precedence; the reusable ones among them in full.
func (r *Reader) policiesOf(ctx context.Context, applications []string) (map[string][]api.Policy, error) {
	var own, linked where
	if applications != nil {
		own.addIn(`application_id`, applications)
		linked.addIn(`l.application_id`, applications)
	}
	rows, err := collect(ctx, r.q, scanPolicy, `SELECT `+policyColumns+` FROM policies`+own.String(), own.args...)
	if err != nil {
		return nil, err
	}
	links, err := collect(ctx, r.q, scanPolicy, `SELECT l.application_id, `+linkColumns+
		` FROM application_policies l JOIN reusable_policies p ON p.id = l.policy_id`+linked.String(), linked.args...)
	if err != nil {
		return nil, err
	}
	for i := range links {
		links[i].policy.Reusable = true
	}
	of := map[string][]api.Policy{}
	for _, p := range append(rows, links...) {
		of[p.application] = append(of[p.application], p.policy)
	}
	for _, ps := range of {
		slices.SortFunc(ps, func(a, b api.Policy) int {
			return cmp.Or(a.Precedence-b.Precedence, strings.Compare(a.CreatedAt, b.CreatedAt), strings.Compare(a.ID, b.ID))
		})
	}
	return of, nil
}

func scanReusable(rs *sql.Rows) (api.ReusablePolicy, error) {
	var options string
	r, err := scanPolicyAnd(rs, &options)
	p := api.ReusablePolicy{Policy: r.policy}
	p.Reusable = true
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(options), &p.PolicyOptions)
}

// reusablePolicies reads those that w selects, by creation, with how many applications each has.
func (r *Reader) reusablePolicies(ctx context.Context, w *where) ([]api.ReusablePolicy, error) {
	all, err := collect(ctx, r.q, scanReusable, `SELECT '', `+reusableColumns+`, options FROM reusable_policies`+w.String()+` ORDER BY created_at, id`, w.args...)
	if err != nil {
		return nil, err
	}
	type count struct {
		id string
		n  int
	}
	counts, err := collect(ctx, r.q, func(rs *sql.Rows) (c count, err error) { return c, rs.Scan(&c.id, &c.n) },
		`SELECT id, `+linkCount+` FROM reusable_policies`+w.String(), w.args...)
	if err != nil {
		return nil, err
	}
	of := make(map[string]int, len(counts))
	for _, c := range counts {
		of[c.id] = c.n
	}
	for i := range all {
		all[i].AppCount = of[all[i].ID]
	}
	return all, nil
}

// ReusablePolicies lists all by creation.
func (r *Reader) ReusablePolicies(ctx context.Context) ([]api.ReusablePolicy, error) {
	return r.reusablePolicies(ctx, &where{})
}

// ReusablePolicy finds one.
func (r *Reader) ReusablePolicy(ctx context.Context, id string) (api.ReusablePolicy, error) {
	var w where
	w.add(`id = ?`, id)
	found, err := r.reusablePolicies(ctx, &w)
	if err != nil {
		return api.ReusablePolicy{}, err
	}
	if len(found) == 0 {
		return api.ReusablePolicy{}, kind.New(kind.NotFound, "there is no reusable policy %q", clip(id))
	}
	return found[0], nil
}

// CreateReusablePolicy adds one. Its precedence and ID are not the writer's to choose.
func (tx *Tx) CreateReusablePolicy(ctx context.Context, w api.ReusablePolicyWrite) (api.ReusablePolicy, error) {
	return tx.addReusable(ctx, api.ReusablePolicy{Policy: tx.policy(api.Policy{}, w.PolicyWrite), PolicyOptions: w.PolicyOptions}, "reusable_policy.create")
}

func (tx *Tx) addReusable(ctx context.Context, p api.ReusablePolicy, action string) (api.ReusablePolicy, error) {
	p.Reusable, p.Precedence = true, 0
	n, err := tx.count(ctx, `reusable_policies`, &where{})
	if err != nil {
		return p, err
	}
	if n >= maxReusablePolicies {
		return p, kind.New(kind.Limit, "the account has reached its limit of %d reusable policies", maxReusablePolicies)
	}
	if err := tx.checkReusable(ctx, &p); err != nil {
		return p, err
	}
	text, err := reusableText(&p)
	if err != nil {
		return p, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO reusable_policies (id, name, decision, include_rules, exclude_rules, require_rules, connection_rules, options, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, p.ID, p.Name, p.Decision, text[0], text[1], text[2], text[3], text[4], p.CreatedAt, p.UpdatedAt); err != nil {
		return p, err
	}
	return p, tx.audit(ctx, action, reusableType, p.ID, p)
}

// ReplaceReusablePolicy replaces all but ID and creation time, in all applications at once.
func (tx *Tx) ReplaceReusablePolicy(ctx context.Context, id string, w api.ReusablePolicyWrite) (api.ReusablePolicy, error) {
	before, err := tx.ReusablePolicy(ctx, id)
	if err != nil {
		return before, err
	}
	p := before
	p.Policy, p.PolicyOptions = tx.policy(before.Policy, w.PolicyWrite), w.PolicyOptions
	p.Reusable, p.Precedence = true, 0
	if err := tx.checkReusable(ctx, &p); err != nil {
		return p, err
	}
	if why := notAttachable(&p); why != "" && p.AppCount > 0 {
		return p, kind.New(kind.Invalid, "policy %q cannot be so while %d infrastructure applications have it: %s", p.Name, p.AppCount, why).
			WithHint("take it out of them first")
	}
	text, err := reusableText(&p)
	if err != nil {
		return p, err
	}
	apps, err := tx.applicationsWith(ctx, id)
	if err != nil {
		return p, err
	}
	if err := checkDetached(&p.Policy, apps); err != nil {
		return p, err
	}
	if _, err := tx.exec(ctx, `UPDATE reusable_policies SET name = $2, decision = $3, include_rules = $4, exclude_rules = $5, require_rules = $6, connection_rules = $7,
		options = $8, updated_at = $9 WHERE id = $1`, id, p.Name, p.Decision, text[0], text[1], text[2], text[3], text[4], p.UpdatedAt); err != nil {
		return p, err
	}
	if err := tx.touchApplications(ctx, apps); err != nil {
		return p, err
	}
	return p, tx.audit(ctx, "reusable_policy.update", reusableType, id, change{before, p})
}

// applicationsWith are the applications that refer to a policy, at most maxChangedObjects and one.
func (r *Reader) applicationsWith(ctx context.Context, id string) ([]api.Application, error) {
	ids, err := collect(ctx, r.q, func(rs *sql.Rows) (id string, err error) { return id, rs.Scan(&id) },
		`SELECT application_id FROM application_policies WHERE policy_id = $1 ORDER BY application_id LIMIT $2`, id, maxChangedObjects+1)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return r.Applications(ctx, ApplicationFilter{ids: ids})
}

// touchApplications makes applications changed ones, which before the change of a policy of theirs were as given.
func (tx *Tx) touchApplications(ctx context.Context, before []api.Application) error {
	if len(before) > maxChangedObjects {
		return tx.touch(ctx, Applications)
	}
	for _, was := range before {
		if err := tx.touchObject(ctx, Applications, was.ID); err != nil {
			return err
		}
		is, err := tx.Application(ctx, was.ID)
		if err != nil {
			return err
		}
		tx.noteChange(Applications, "reusable_policy.update", was.ID, change{was, is})
	}
	return nil
}

// DeleteReusablePolicy refuses while applications refer to the policy, and names them.
func (tx *Tx) DeleteReusablePolicy(ctx context.Context, id string) error {
	p, err := tx.ReusablePolicy(ctx, id)
	if err != nil {
		return err
	}
	users, err := collect(ctx, tx.q, func(rs *sql.Rows) (string, error) {
		var id, name string
		err := rs.Scan(&id, &name)
		return fmt.Sprintf("application %s (%s)", name, id), err
	}, `SELECT a.id, a.name FROM application_policies l JOIN applications a ON a.id = l.application_id WHERE l.policy_id = $1 ORDER BY a.created_at, a.id LIMIT 10`, id)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return kind.New(kind.Conflict, "reusable policy %q is in use by %s", p.Name, strings.Join(users, ", ")).WithHint("change or delete them first")
	}
	if _, err := tx.exec(ctx, `DELETE FROM reusable_policies WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.audit(ctx, "reusable_policy.delete", reusableType, id, p)
}

// MakePolicyReusable turns a policy of one application into a reusable one, which keeps its ID and its place there.
func (tx *Tx) MakePolicyReusable(ctx context.Context, application, id string) (api.Policy, error) {
	a, err := tx.Application(ctx, application)
	if err != nil {
		return api.Policy{}, err
	}
	i, err := policyIndex(&a, id)
	if err != nil {
		return api.Policy{}, err
	}
	if a.Policies[i].Reusable {
		return api.Policy{}, kind.New(kind.Invalid, "policy %q is reusable already", a.Policies[i].Name)
	}
	if _, err := tx.addReusable(ctx, api.ReusablePolicy{Policy: a.Policies[i]}, "reusable_policy.make"); err != nil {
		return api.Policy{}, err
	}
	before := a
	a.Policies = slices.Clone(before.Policies)
	a.Policies[i].Reusable = true
	return a.Policies[i], tx.saveApplication(ctx, before, &a, "application.update")
}

// reusableText is what the columns of JSON hold.
func reusableText(p *api.ReusablePolicy) ([5]string, error) {
	text, err := policyText(&p.Policy)
	if err != nil {
		return [5]string{}, err
	}
	options, err := json.Marshal(p.PolicyOptions)
	return [5]string{text[0], text[1], text[2], text[3], string(options)}, err
}

// checkReusable checks a policy by itself.
func (tx *Tx) checkReusable(ctx context.Context, p *api.ReusablePolicy) error {
	if err := checkPolicyOptions(p); err != nil {
		return err
	}
	d, err := domainPolicy(p.Policy)
	if err != nil {
		return err
	}
	d.Precedence, d.Decision = 0, access.DecisionAllow // the decision was checked
	if err := d.ValidateShared(); err != nil {
		return err
	}
	return tx.checkRuleRefs(ctx, []ruleList{{"/include", p.Include}, {"/exclude", p.Exclude}, {"/require", p.Require}})
}

// sameContent reports whether two policies say the same, wherever they stand and whenever they were written.
func sameContent(a, b api.Policy) bool {
	for _, p := range []*api.Policy{&a, &b} {
		p.ID, p.Precedence, p.Reusable, p.CreatedAt, p.UpdatedAt = "", 0, false, "", ""
	}
	return reflect.DeepEqual(a, b)
}
