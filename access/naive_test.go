package access_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/access"
	"weft/targets"
)

// The naive evaluator is written from the package documentation alone: it reads
// rules in their wire form and goes through everything for every question. It
// assumes valid input.

// The three truths, as numbers.
const (
	naiveNo, naiveUnknown, naiveYes = 0, 1, 2
)

type naive struct {
	in  access.Input
	id  *access.Identity
	dev *access.Device
}

// naiveFold is ASCII lower case, written otherwise than the package does.
func naiveFold(s string) string {
	const upper, lower = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
	return strings.Map(func(r rune) rune {
		if i := strings.IndexRune(upper, r); i >= 0 {
			return rune(lower[i])
		}
		return r
	}, s)
}

func naiveBool(b bool) int {
	if b {
		return naiveYes
	}
	return naiveNo
}

// rule answers one rule.
func (n naive) rule(r access.Rule) int {
	text, err := r.MarshalJSON()
	if err != nil {
		return naiveUnknown
	}
	var wire map[string]map[string]string
	if json.Unmarshal(text, &wire) != nil {
		return naiveUnknown
	}
	for sel, f := range wire {
		ofIdP := f["identity_provider_id"] == "" || f["identity_provider_id"] == n.id.IdP
		inGroup := func(is func(access.Group) bool) int {
			return naiveBool(ofIdP && slices.ContainsFunc(n.id.Groups, is))
		}
		switch sel {
		case "everyone":
			return naiveYes
		case "email":
			return naiveBool(naiveFold(n.id.Email) == naiveFold(f["email"]))
		case "email_domain":
			parts := strings.Split(n.id.Email, "@")
			return naiveBool(len(parts) == 2 && parts[0] != "" && naiveFold(parts[1]) == naiveFold(f["domain"]))
		case "ip":
			a := n.dev.SourceIP.Unmap()
			if !a.IsValid() {
				return naiveUnknown
			}
			if single, err := netip.ParseAddr(f["ip"]); err == nil {
				return naiveBool(a == single)
			}
			return naiveBool(netip.MustParsePrefix(f["ip"]).Contains(a))
		case "geo":
			if n.dev.Country == "" {
				return naiveUnknown
			}
			return naiveBool(naiveFold(n.dev.Country) == naiveFold(f["country_code"]))
		case "saml":
			return naiveBool(ofIdP && slices.Contains(n.id.SAML[f["attribute_name"]], f["attribute_value"]))
		case "oidc":
			return naiveBool(ofIdP && slices.Contains(n.id.OIDC[f["claim_name"]], f["claim_value"]))
		case "auth_method":
			return naiveBool(slices.Contains(n.id.AuthMethods, f["auth_method"]))
		case "login_method":
			return naiveBool(n.id.IdP == f["id"])
		case "device_posture":
			return naiveBool(slices.Contains(n.dev.PassedChecks, f["integration_uid"]))
		case "azureAD":
			return inGroup(func(g access.Group) bool { return g.ID == f["id"] })
		case "okta":
			return inGroup(func(g access.Group) bool { return g.Name == f["name"] })
		case "gsuite":
			return inGroup(func(g access.Group) bool { return naiveFold(g.Email) == naiveFold(f["email"]) })
		case "github-organization":
			return inGroup(func(g access.Group) bool {
				return naiveFold(g.Name) == naiveFold(f["name"]) && (f["team"] == "" || naiveFold(g.Team) == naiveFold(f["team"]))
			})
		case "service_token":
			return naiveBool(n.id.ServiceToken == f["token_id"])
		case "any_valid_service_token":
			return naiveBool(n.id.ServiceToken != "")
		case "email_list", "ip_list":
			return n.list(f["id"], map[string]string{"email_list": "EMAIL", "ip_list": "IP"}[sel])
		case "group":
			for _, g := range n.in.Groups {
				if g.ID == f["id"] {
					return min(n.any(g.Include), n.all(g.Require), naiveYes-n.any(g.Exclude))
				}
			}
		}
	}
	return naiveUnknown
}

// list is the OR over the items of a list of a type, each of which is a rule.
func (n naive) list(id, typ string) int {
	var found []access.List
	for _, l := range n.in.Lists {
		if l.ID == id {
			found = append(found, l)
		}
	}
	if len(found) != 1 || found[0].Type != typ {
		return naiveUnknown
	}
	answer, form := naiveNo, `{"ip":{"ip":%q}}`
	if typ == "EMAIL" {
		form = `{"email":{"email":%q}}`
	}
	for _, item := range found[0].Items {
		if _, err := netip.ParseAddr(strings.Split(item, "/")[0]); err != nil && typ == "IP" {
			answer = max(answer, naiveUnknown)
			continue
		}
		answer = max(answer, n.rule(mustRule(fmt.Sprintf(form, item))))
	}
	return answer
}

func (n naive) any(rules []access.Rule) int {
	answer := naiveNo
	for _, r := range rules {
		answer = max(answer, n.rule(r))
	}
	return answer
}

func (n naive) all(rules []access.Rule) int {
	answer := naiveYes
	for _, r := range rules {
		answer = min(answer, n.rule(r))
	}
	return answer
}

// users are the UNIX users that p grants if it matches.
func (n naive) users(p *access.Policy) []string {
	if p.SSH == nil {
		return nil
	}
	users := slices.Clone(p.SSH.Usernames)
	if parts := strings.Split(n.id.Email, "@"); p.SSH.AllowEmailAlias && len(parts) == 2 && parts[1] != "" {
		alias := naiveFold(parts[0])
		if access.ValidateLogin(alias) == nil && !strings.ContainsAny(alias, `\$`) {
			users = append(users, alias)
		}
	}
	return users
}

// covering returns the applications and policies for a target at a port, in order.
func (n naive) covering(t *targets.Target, port uint16) (apps []access.Application, protocol targets.Protocol) {
	for _, a := range n.in.Applications {
		for _, c := range a.Criteria {
			if c.Port != port {
				continue
			}
			if naiveSelects(c, t) {
				apps, protocol = append(apps, a), c.Protocol
				break
			}
		}
	}
	slices.SortFunc(apps, func(a, b access.Application) int { return cmp.Compare(a.ID, b.ID) })
	return apps, protocol
}

func naiveSelects(c targets.Criteria, t *targets.Target) bool {
	has := func(s targets.Selector) bool {
		ok := true
		for k, values := range s {
			has := t.Tags[k]
			if k == "hostname" {
				has = naiveFold(t.Hostname)
			}
			ok = ok && slices.ContainsFunc(values, func(v string) bool { return v == has || k == "hostname" && naiveFold(v) == has })
		}
		return ok
	}
	if c.Include == nil {
		return has(c.Attributes)
	}
	any := false
	for _, s := range c.Include {
		any = any || has(s)
	}
	for _, s := range c.Require {
		any = any && has(s)
	}
	for _, s := range c.Exclude {
		any = any && !has(s)
	}
	return any
}

func orderedPolicies(a *access.Application) []access.Policy {
	ps := slices.Clone(a.Policies)
	slices.SortStableFunc(ps, func(p, q access.Policy) int { return cmp.Compare(p.Precedence, q.Precedence) })
	return ps
}

// answer is what the naive evaluator says; IDs are "" where nothing is named.
type answer struct {
	Reason              access.Reason
	Target, App, Policy string
}

func naiveEvaluate(in access.Input, q access.Query) answer {
	switch {
	case q.Identity == nil, q.Identity.UserID == "" && q.Identity.ServiceToken == "":
		return answer{Reason: access.IdentityUnknown}
	case q.Identity.Revoked:
		return answer{Reason: access.IdentityRevoked}
	case q.Device == nil, q.Device.ID == "":
		return answer{Reason: access.DeviceUnknown}
	case q.Device.Revoked:
		return answer{Reason: access.DeviceRevoked}
	}
	usable := q.Device.Networks == nil
	for _, id := range q.Device.Networks {
		usable = usable || id == q.VNET
	}
	if !usable {
		return answer{Reason: access.VNETNotPermitted}
	}
	n := naive{in: in, id: q.Identity, dev: q.Device}
	want := targets.Address{Addr: q.Destination.Addr(), VNET: q.VNET}
	i := slices.IndexFunc(in.Targets, func(t targets.Target) bool {
		return t.IPv4 != nil && *t.IPv4 == want || t.IPv6 != nil && *t.IPv6 == want
	})
	if i < 0 {
		return answer{Reason: access.NoTarget}
	}
	a := answer{Target: string(in.Targets[i].ID)}
	apps, protocol := n.covering(&in.Targets[i], q.Destination.Port())
	if len(apps) == 0 || !protocol.Carries(q.Transport) {
		a.Reason = access.NoApplication
		return a
	}
	best := 0
	a.Reason, a.App = access.NoPolicy, apps[0].ID
	for _, app := range apps {
		for _, p := range orderedPolicies(&app) {
			rank, reason := n.policy(&p, protocol, q.Login)
			if rank > best {
				best, a.Reason, a.App, a.Policy = rank, reason, app.ID, p.ID
			}
		}
	}
	return a
}

func (n naive) policy(p *access.Policy, protocol targets.Protocol, login string) (int, access.Reason) {
	users := n.users(p)
	permitted := login == "" && protocol != targets.SSH || protocol == targets.SSH &&
		(login == "" && len(users) > 0 || login != "" && slices.Contains(users, login))
	switch {
	case n.any(p.Include) != naiveYes:
		return 0, access.NoPolicy
	case n.any(p.Exclude) != naiveNo:
		return 1, access.Excluded
	case n.all(p.Require) != naiveYes:
		return 2, access.RequireMissing
	case !permitted:
		return 3, access.LoginNotPermitted
	}
	return 4, access.Allowed
}

// naiveGrants maps each UNIX user to the IDs of the policies that grant it.
func naiveGrants(in access.Input, q access.Query) map[string][]string {
	n := naive{in: in, id: q.Identity, dev: q.Device}
	grants := make(map[string][]string)
	a := naiveEvaluate(in, q)
	if a.App == "" {
		return grants
	}
	i := slices.IndexFunc(in.Targets, func(t targets.Target) bool { return string(t.ID) == a.Target })
	apps, protocol := n.covering(&in.Targets[i], q.Destination.Port())
	if protocol != targets.SSH {
		return grants
	}
	for _, app := range apps {
		for _, p := range orderedPolicies(&app) {
			if n.any(p.Include) != naiveYes || n.any(p.Exclude) != naiveNo || n.all(p.Require) != naiveYes {
				continue
			}
			for _, u := range n.users(&p) {
				if !slices.Contains(grants[u], p.ID) {
					grants[u] = append(grants[u], p.ID)
				}
			}
		}
	}
	return grants
}
