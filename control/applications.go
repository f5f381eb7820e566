package control

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
	"weft/internal/kind"
)

// applicationNoise are keys of other types of application that clients send whatever the type; they are dropped.
var applicationNoise = []string{
	"allow_authenticate_via_warp", "allow_iframe", "app_launcher_logo_url", "app_launcher_visible", "aud", "auto_redirect_to_identity",
	"bg_color", "cors_headers", "created_at", "custom_deny_message", "custom_deny_url", "custom_non_identity_deny_url", "custom_pages",
	"destinations", "domain", "domain_type", "enable_binding_cookie", "footer_links", "header_bg_color", "http_only_cookie_attribute", "id",
	"landing_page_design", "logo_url", "options_preflight_bypass", "path_cookie_attribute", "private_address",
	"read_service_tokens_from_header", "saas_app", "same_site_cookie_attribute", "scim_config", "self_hosted_domains",
	"service_auth_401_redirect", "session_duration", "skip_app_launcher_login_page", "skip_interstitial", "tags", "uid", "updated_at",
}

// policyNoise are keys of a policy that clients send back or send for other types of application.
var policyNoise = []string{"account_id", "app_count", "created_at", "reusable", "uid", "updated_at", "purpose_justification_prompt"}

// restriction is a key by which a policy would be narrower than this control plane can enforce. Dropping it would let
// in more than was written, so only a value that says nothing passes.
var restrictions = []string{
	"approval_groups", "approval_required", "isolation_required", "mfa_config", "purpose_justification_required", "session_duration",
}

type applicationInput struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Criteria   []api.Criteria    `json:"target_criteria"`
	Policies   []json.RawMessage `json:"policies"`
	AllowedIDP json.RawMessage   `json:"allowed_idps"`
	MFA        json.RawMessage   `json:"mfa_config"`
}

type policyInput struct {
	ID         string           `json:"id"`
	Name       string           `json:"name"`
	Decision   string           `json:"decision"`
	Precedence int              `json:"precedence"`
	Include    []access.Rule    `json:"include"`
	Exclude    []access.Rule    `json:"exclude"`
	Require    []access.Rule    `json:"require"`
	Connection *connectionInput `json:"connection_rules"`
}

type connectionInput struct {
	SSH *sshInput       `json:"ssh"`
	RDP json.RawMessage `json:"rdp"`
}

type sshInput struct {
	Usernames          []string              `json:"usernames"`
	AllowEmailAlias    *bool                 `json:"allow_email_alias"`
	LocalForwarding    *api.LocalForwarding  `json:"local_forwarding"`
	RemoteForwarding   *api.RemoteForwarding `json:"remote_forwarding"`
	AgentForwarding    *bool                 `json:"agent_forwarding"`
	X11Forwarding      *bool                 `json:"x11_forwarding"`
	MaxSessionDuration *string               `json:"max_session_duration"`
	IdleTimeout        *string               `json:"idle_timeout"`
}

// rules are the connection rules as they are kept.
func (s *sshInput) rules(at string) (*api.SSHRules, error) {
	for name, limit := range map[string]*string{"max_session_duration": s.MaxSessionDuration, "idle_timeout": s.IdleTimeout} {
		if limit == nil {
			continue
		}
		if _, err := access.ParseSessionLimit(*limit); err != nil { // "" too, which would stand for no limit
			return nil, under(at+"/"+name, err)
		}
	}
	return &api.SSHRules{
		Usernames: s.Usernames, AllowEmailAlias: deref(s.AllowEmailAlias),
		LocalForwarding: s.LocalForwarding, RemoteForwarding: s.RemoteForwarding,
		AgentForwarding: deref(s.AgentForwarding), X11Forwarding: deref(s.X11Forwarding),
		MaxSessionDuration: deref(s.MaxSessionDuration), IdleTimeout: deref(s.IdleTimeout),
	}, nil
}

// saysNothing reports whether a restriction's value restricts nothing.
func saysNothing(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "false", `""`, "[]", "{}":
		return true
	}
	return false
}

func readApplication(q *call) (api.ApplicationWrite, error) {
	var in applicationInput
	if err := q.body(&in, applicationNoise...); err != nil {
		return api.ApplicationWrite{}, err
	}
	w := api.ApplicationWrite{Name: in.Name, Type: in.Type, Criteria: in.Criteria}
	if in.Type != api.ApplicationType {
		return w, kind.Field("/type", "the type of an application must be %q, not %q", api.ApplicationType, in.Type)
	}
	for name, raw := range map[string]json.RawMessage{"allowed_idps": in.AllowedIDP, "mfa_config": in.MFA} {
		if !saysNothing(raw) {
			return w, unsupported("/"+name, name)
		}
	}
	if in.Policies == nil {
		return w, nil
	}
	policies := []api.PolicyWrite{}
	for i, raw := range in.Policies {
		p, err := readPolicy(raw, "/policies/"+strconv.Itoa(i))
		if err != nil {
			return w, err
		}
		policies = append(policies, p)
	}
	w.Policies = &policies
	return w, nil
}

func unsupported(pointer, name string) error {
	return kind.Field(pointer, "%s is not supported for infrastructure applications, and leaving it out would allow more than was written", name)
}

// readPolicy reads a policy, or a bare string, which names one.
func readPolicy(raw json.RawMessage, at string) (api.PolicyWrite, error) {
	var id string
	if err := json.Unmarshal(raw, &id); err == nil {
		return api.PolicyWrite{ID: id}, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil || all == nil {
		return api.PolicyWrite{}, kind.Field(at, "a policy is an object or the ID of one")
	}
	for _, name := range restrictions {
		if !saysNothing(all[name]) {
			return api.PolicyWrite{}, unsupported(at+"/"+name, name)
		}
	}
	var in policyInput
	if err := strictjson.Decode(raw, &in, slices.Concat(restrictions, policyNoise)...); err != nil {
		return api.PolicyWrite{}, under(at, err)
	}
	if in.Connection != nil && !saysNothing(in.Connection.RDP) {
		return api.PolicyWrite{}, unsupported(at+"/connection_rules/rdp", "connection_rules.rdp")
	}
	return in.policy(at)
}

// policy is the policy without what only reusable policies have.
func (in *policyInput) policy(at string) (api.PolicyWrite, error) {
	w := api.PolicyWrite{
		ID: in.ID, Name: in.Name, Decision: in.Decision, Precedence: in.Precedence,
		Include: in.Include, Exclude: in.Exclude, Require: in.Require,
	}
	if in.Connection == nil {
		return w, nil
	}
	w.Connection = &api.ConnectionRules{}
	if s := in.Connection.SSH; s != nil {
		rules, err := s.rules(at + "/connection_rules/ssh")
		if err != nil {
			return w, err
		}
		w.Connection.SSH = rules
	}
	return w, nil
}

// under moves the pointer of err below at.
func under(at string, err error) error {
	if k, ok := asKind(err); ok {
		moved := *k
		moved.Pointer = at + k.Pointer
		return &moved
	}
	return err
}

func (c *Control) createApplication(ctx context.Context, q *call) (answer, error) {
	in, err := readApplication(q)
	if err != nil {
		return answer{}, err
	}
	var a api.Application
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		a, err = tx.CreateApplication(ctx, in)
		return err
	})
	return answer{result: a}, err
}

func (c *Control) listApplications(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	exact, err := q.queryBool("exact")
	if err != nil {
		return answer{}, err
	}
	f := store.ApplicationFilter{
		Name: q.query.Get("name"), AUD: q.query.Get("aud"), Search: q.query.Get("search"), Exact: deref(exact), Attributes: q.query["target_attributes"],
	}
	var all []api.Application
	if q.query.Get("domain") == "" { // infrastructure applications have none
		err = c.store.View(ctx, func(r *store.Reader) (err error) {
			all, err = r.Applications(ctx, f)
			return err
		})
	}
	if all == nil {
		all = []api.Application{}
	}
	return slicePage(all, p), err
}

func (c *Control) getApplication(ctx context.Context, q *call) (answer, error) {
	var a api.Application
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		a, err = r.Application(ctx, q.params["id"])
		return err
	})
	return answer{result: a}, err
}

func (c *Control) replaceApplication(ctx context.Context, q *call) (answer, error) {
	in, err := readApplication(q)
	if err != nil {
		return answer{}, err
	}
	var a api.Application
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		a, err = tx.ReplaceApplication(ctx, q.params["id"], in)
		return err
	})
	return answer{result: a}, err
}

func (c *Control) deleteApplication(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteApplication(ctx, id) })
	return answer{result: map[string]string{"id": id}}, err
}
