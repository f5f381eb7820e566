package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
	"weft/targets"
)

// maxApplications bounds an account; the product that we follow documents 500, and BenchmarkScale measures 5,000.
const maxApplications = 10_000

// ApplicationFilter selects applications; zero fields select all.
type ApplicationFilter struct {
	Name, AUD, Search string
	Exact             bool // Name matches wholly, not as a part
	// Attributes are "key=value" pairs that some criterion must ask for.
	Attributes []string
	ids        []string // nil: all
}

func (f *ApplicationFilter) match(a *api.Application) bool {
	name, want := nameKey(a.Name), nameKey(f.Name)
	switch {
	case f.Name != "" && f.Exact && name != want:
		return false
	case f.Name != "" && !strings.Contains(name, want):
		return false
	case f.AUD != "" && a.AUD != f.AUD:
		return false
	case f.Search != "" && !strings.Contains(name, nameKey(f.Search)) && a.ID != f.Search && a.AUD != f.Search:
		return false
	}
	for _, pair := range f.Attributes {
		if !hasAttribute(a, pair) {
			return false
		}
	}
	return true
}

func hasAttribute(a *api.Application, pair string) bool {
	key, value, _ := strings.Cut(pair, "=")
	for _, c := range a.Criteria {
		asked := slices.Clone(c.Attributes[key])
		for _, list := range [...][]api.CriteriaEntry{c.Include, c.Require} {
			for _, e := range list {
				asked = append(append(asked, e.Attributes[key]...), e.Tags[key]...)
			}
		}
		if slices.ContainsFunc(asked, func(v string) bool { return strings.EqualFold(v, value) }) {
			return true
		}
	}
	return false
}

func scanApplication(rs *sql.Rows) (api.Application, error) {
	a := api.Application{Type: api.ApplicationType, Policies: []api.Policy{}}
	var criteria string
	if err := rs.Scan(&a.ID, &a.AUD, &a.Name, &criteria); err != nil {
		return a, err
	}
	return a, json.Unmarshal([]byte(criteria), &a.Criteria)
}

const policyColumns = `application_id, id, name, decision, precedence, include_rules, exclude_rules, require_rules, connection_rules, created_at, updated_at`

type policyRow struct {
	application string
	policy      api.Policy
}

func scanPolicy(rs *sql.Rows) (policyRow, error) { return scanPolicyAnd(rs) }

// scanPolicyAnd scans a policy and what stands in the columns behind it.
func scanPolicyAnd(rs *sql.Rows, more ...any) (policyRow, error) {
	var r policyRow
	p := &r.policy
	var include, exclude, require, connection string
	columns := []any{&r.application, &p.ID, &p.Name, &p.Decision, &p.Precedence, &include, &exclude, &require, &connection, &p.CreatedAt, &p.UpdatedAt}
	if err := rs.Scan(append(columns, more...)...); err != nil {
		return r, err
	}
	for text, to := range map[*string]any{&include: &p.Include, &exclude: &p.Exclude, &require: &p.Require, &connection: &p.Connection} {
		if err := json.Unmarshal([]byte(*text), to); err != nil {
			return r, fmt.Errorf("policy %s: %w", p.ID, err)
		}
	}
	return r, nil
}

// Applications lists all that f selects by creation, with their policies by precedence.
func (r *Reader) Applications(ctx context.Context, f ApplicationFilter) ([]api.Application, error) {
	var ofApp where
	if f.ids != nil {
		ofApp.addIn("id", f.ids)
	}
	all, err := collect(ctx, r.q, scanApplication, `SELECT id, aud, name, criteria FROM applications`+ofApp.String()+` ORDER BY created_at, id`, ofApp.args...)
	if err != nil {
		return nil, err
	}
	of, err := r.policiesOf(ctx, f.ids)
	if err != nil {
		return nil, err
	}
	out := []api.Application{}
	for _, a := range all {
		if ps := of[a.ID]; ps != nil {
			a.Policies = ps
		}
		if f.match(&a) {
			out = append(out, a)
		}
	}
	return out, nil
}

// Application finds one with its policies.
func (r *Reader) Application(ctx context.Context, id string) (api.Application, error) {
	a, ok, err := one(ctx, r.q, scanApplication, `SELECT id, aud, name, criteria FROM applications WHERE id = $1`, id)
	if err != nil {
		return a, err
	}
	if !ok {
		return a, kind.New(kind.NotFound, "there is no application %q", id)
	}
	of, err := r.policiesOf(ctx, []string{id})
	if ps := of[id]; ps != nil {
		a.Policies = ps
	}
	return a, err
}

// CreateApplication adds an application with its policies.
func (tx *Tx) CreateApplication(ctx context.Context, in api.ApplicationWrite) (api.Application, error) {
	var aud [32]byte
	_, _ = rand.Read(aud[:])
	a := api.Application{
		ID: newID(), Type: api.ApplicationType, Name: in.Name, AUD: hex.EncodeToString(aud[:]), Criteria: in.Criteria, Policies: []api.Policy{},
	}
	n, err := tx.count(ctx, `applications`, &where{})
	if err != nil {
		return a, err
	}
	if n >= maxApplications {
		return a, kind.New(kind.Limit, "the account has reached its limit of %d applications", maxApplications)
	}
	if in.Policies != nil {
		if a.Policies, err = tx.embeddedPolicies(ctx, nil, *in.Policies); err != nil {
			return a, err
		}
	}
	if err := tx.checkApplication(ctx, &a); err != nil {
		return a, err
	}
	sortPolicies(a.Policies)
	criteria, err := json.Marshal(a.Criteria)
	if err != nil {
		return a, fmt.Errorf("render criteria: %w", err)
	}
	if _, err := tx.exec(ctx, `INSERT INTO applications (id, aud, name, criteria, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)`,
		a.ID, a.AUD, a.Name, string(criteria), tx.at); err != nil {
		return a, err
	}
	if err := tx.putPolicies(ctx, a); err != nil {
		return a, err
	}
	if err := tx.putPorts(ctx, a.ID, a.Criteria); err != nil {
		return a, err
	}
	return a, tx.changed(ctx, Applications, "application.create", a.ID, a)
}

// ReplaceApplication replaces name and criteria; nil policies leave the policies alone, others replace them all.
func (tx *Tx) ReplaceApplication(ctx context.Context, id string, in api.ApplicationWrite) (api.Application, error) {
	before, err := tx.Application(ctx, id)
	if err != nil {
		return before, err
	}
	a := before
	a.Name, a.Criteria = in.Name, in.Criteria
	if in.Policies != nil {
		if a.Policies, err = tx.embeddedPolicies(ctx, before.Policies, *in.Policies); err != nil {
			return a, err
		}
	}
	return a, tx.saveApplication(ctx, before, &a, "application.update")
}

func (tx *Tx) saveApplication(ctx context.Context, before api.Application, a *api.Application, action string) error {
	if err := tx.checkApplication(ctx, a); err != nil {
		return err
	}
	sortPolicies(a.Policies)
	criteria, err := json.Marshal(a.Criteria)
	if err != nil {
		return fmt.Errorf("render criteria: %w", err)
	}
	if _, err := tx.exec(ctx, `UPDATE applications SET name = $1, criteria = $2, updated_at = $3 WHERE id = $4`,
		a.Name, string(criteria), tx.at, a.ID); err != nil {
		return err
	}
	if err := tx.putPolicies(ctx, *a); err != nil {
		return err
	}
	if err := tx.putPorts(ctx, a.ID, a.Criteria); err != nil {
		return err
	}
	return tx.changed(ctx, Applications, action, a.ID, change{before, a})
}

// DeleteApplication removes an application and its policies for good.
func (tx *Tx) DeleteApplication(ctx context.Context, id string) error {
	a, err := tx.Application(ctx, id)
	if err != nil {
		return err
	}
	// Deleting the application would take this with it, but nobody would hear of it.
	recording, err := tx.exec(ctx, `DELETE FROM recording_settings WHERE application_id = $1`, id)
	if err != nil {
		return err
	}
	if recording > 0 {
		if err := tx.touchObject(ctx, SessionSettings, id); err != nil {
			return err
		}
	}
	if _, err := tx.exec(ctx, `DELETE FROM applications WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, Applications, "application.delete", id, a)
}

// putPolicies makes the rows of an application's policies those of a.
func (tx *Tx) putPolicies(ctx context.Context, a api.Application) error {
	for _, table := range []string{"policies", "application_policies"} {
		if _, err := tx.exec(ctx, `DELETE FROM `+table+` WHERE application_id = $1`, a.ID); err != nil {
			return err
		}
	}
	for _, p := range a.Policies {
		if p.Reusable {
			if _, err := tx.exec(ctx, `INSERT INTO application_policies (application_id, policy_id, precedence) VALUES ($1, $2, $3)`, a.ID, p.ID, p.Precedence); err != nil {
				return err
			}
			continue
		}
		text, err := policyText(&p)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `INSERT INTO policies (`+policyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			a.ID, p.ID, p.Name, p.Decision, p.Precedence, text[0], text[1], text[2], text[3], p.CreatedAt, p.UpdatedAt); err != nil {
			return err
		}
	}
	return nil
}

// policyText renders the rules of a policy as its columns hold them.
func policyText(p *api.Policy) (text [4]string, err error) {
	for i, v := range []any{p.Include, p.Exclude, p.Require, p.Connection} {
		raw, err := json.Marshal(v)
		if err != nil {
			return text, fmt.Errorf("render policy: %w", err)
		}
		text[i] = string(raw)
	}
	return text, nil
}

// sortPolicies puts them in the order in which they are asked. It comes after the checks, whose errors point into the
// list as it was sent.
func sortPolicies(list []api.Policy) {
	slices.SortStableFunc(list, func(a, b api.Policy) int { return cmp.Compare(a.Precedence, b.Precedence) })
}

// checkApplication checks a by the rules of the domain and against the other applications.
func (tx *Tx) checkApplication(ctx context.Context, a *api.Application) error {
	d, err := DomainApplication(a)
	if err != nil {
		return err
	}
	for i := range d.Criteria { // the wire keeps the spelling that the domain knows
		a.Criteria[i].Protocol = string(d.Criteria[i].Protocol)
	}
	if err := checkAttached(a.Policies); err != nil {
		return err
	}
	if err := d.Validate(); err != nil {
		return err
	}
	var rules []ruleList
	for i, p := range a.Policies {
		at := "/policies/" + strconv.Itoa(i)
		if p.Precedence > maxPrecedence {
			return kind.Field(at+"/precedence", "the precedence of a policy is at most %d", maxPrecedence)
		}
		rules = append(rules, ruleList{at + "/include", p.Include}, ruleList{at + "/exclude", p.Exclude}, ruleList{at + "/require", p.Require})
	}
	if err := tx.checkRuleRefs(ctx, rules); err != nil {
		return err
	}
	others, err := tx.contradicting(ctx, &d)
	if err != nil {
		return err
	}
	return access.CheckPorts(&d, others)
}

// DomainApplication turns the wire form into the domain's.
func DomainApplication(a *api.Application) (access.Application, error) {
	d := access.Application{ID: a.ID, Name: a.Name, AUD: a.AUD}
	for i, c := range a.Criteria {
		at := "/target_criteria/" + strconv.Itoa(i)
		if c.Port < 1 || c.Port > 65535 {
			return d, kind.Field(at+"/port", "a port is 1 to 65535, not %d", c.Port)
		}
		p, err := targets.ParseProtocol(c.Protocol)
		if err != nil {
			return d, prefixPointer(at+"/protocol", err)
		}
		one := targets.Criteria{Attributes: c.Attributes, Port: uint16(c.Port), Protocol: p}
		for _, list := range []struct {
			name string
			from []api.CriteriaEntry
			to   *[]targets.Selector
		}{{"/include", c.Include, &one.Include}, {"/require", c.Require, &one.Require}, {"/exclude", c.Exclude, &one.Exclude}} {
			if *list.to, err = domainSelectors(at+list.name, list.from); err != nil {
				return d, err
			}
		}
		d.Criteria = append(d.Criteria, one)
	}
	for i, p := range a.Policies {
		policy, err := domainPolicy(p)
		if err != nil {
			return d, prefixPointer("/policies/"+strconv.Itoa(i), err)
		}
		d.Policies = append(d.Policies, policy)
	}
	return d, nil
}

// domainSelectors unites the attributes and the tags of each entry, which are of one kind to the domain.
func domainSelectors(at string, entries []api.CriteriaEntry) ([]targets.Selector, error) {
	var out []targets.Selector
	for i, e := range entries {
		s := make(targets.Selector, len(e.Attributes)+len(e.Tags))
		maps.Copy(s, e.Attributes)
		for k, values := range e.Tags {
			if _, twice := s[k]; twice || k == "hostname" {
				return nil, kind.Field(at+"/"+strconv.Itoa(i)+"/tags", "%q is not the key of a tag here: it stands in target_attributes", clip(k))
			}
			s[k] = values
		}
		out = append(out, s)
	}
	return out, nil
}

func domainPolicy(p api.Policy) (access.Policy, error) {
	d := access.Policy{
		ID: p.ID, Name: p.Name, Decision: p.Decision, Precedence: p.Precedence,
		Include: p.Include, Require: p.Require, Exclude: p.Exclude,
	}
	if p.Connection != nil && p.Connection.SSH != nil {
		var err error
		if d.SSH, err = domainSSH(p.Connection.SSH); err != nil {
			return d, prefixPointer("/connection_rules/ssh", err)
		}
	}
	return d, nil
}

func domainSSH(s *api.SSHRules) (*access.SSHRules, error) {
	d := &access.SSHRules{
		Usernames: s.Usernames, AllowEmailAlias: s.AllowEmailAlias, AgentForwarding: s.AgentForwarding, X11Forwarding: s.X11Forwarding,
	}
	if f := s.LocalForwarding; f != nil {
		d.LocalForwarding = &access.LocalForwarding{Destinations: f.Destinations}
	}
	if f := s.RemoteForwarding; f != nil {
		d.RemoteForwarding = &access.RemoteForwarding{Listen: f.Listen}
	}
	var err error
	if s.MaxSessionDuration != "" {
		if d.MaxSessionDuration, err = access.ParseSessionLimit(s.MaxSessionDuration); err != nil {
			return nil, prefixPointer("/max_session_duration", err)
		}
	}
	if s.IdleTimeout != "" {
		if d.IdleTimeout, err = access.ParseSessionLimit(s.IdleTimeout); err != nil {
			return nil, prefixPointer("/idle_timeout", err)
		}
	}
	return d, nil
}
