package access_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weft/access"
	"weft/targets"
	"weft/vnet"
)

// The generators draw from few values, so that rules meet those they are about.
// rapid favours small numbers, and so what stands first.

func pick[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

// seldom is true about once in twenty times.
func seldom(t *rapid.T, label string) bool { return rapid.IntRange(0, 19).Draw(t, label) == 17 }

// some draws a few of values, possibly none, possibly one twice.
func some[T any](t *rapid.T, label string, most int, values ...T) []T {
	return rapid.SliceOfN(rapid.SampledFrom(values), 0, most).Draw(t, label)
}

var (
	emails   = []string{"jdoe@company.com", "", "JDoe@Company.com", "root@other.example", "\u212Aelvin@company.com", "kelvin@company.com", "a b@company.com", "a@b@company.com", "noat", "@company.com", "x@"}
	idps     = []string{"", "idp1", "idp2"}
	names    = []string{"g1", "G1", "g2"}
	mails    = []string{"", "g1@company.com", "G1@Company.com", "g2@company.com"}
	values   = []string{"v1", "V1", "v2"}
	users    = []string{"root", "jdoe", "JDOE", "kelvin", `CORP\jdoe`}
	sources  = []netip.Addr{netip.MustParseAddr("192.0.2.7"), {}, netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("198.51.100.1")}
	hosts    = []string{"web", "WEB", "db"}
	vnets    = []vnet.ID{netA, netB}
	ruleText = []string{
		`{"everyone":{}}`,
		`{"email":{"email":"jdoe@company.com"}}`, `{"email":{"email":"KELVIN@company.com"}}`, `{"email":{"email":"root@other.example"}}`,
		`{"email_domain":{"domain":"company.com"}}`, `{"email_domain":{"domain":"OTHER.example"}}`,
		`{"ip":{"ip":"192.0.2.7"}}`, `{"ip":{"ip":"192.0.2.0/24"}}`, `{"ip":{"ip":"2001:db8::/32"}}`, `{"ip":{"ip":"0.0.0.0/0"}}`,
		`{"geo":{"country_code":"PT"}}`, `{"geo":{"country_code":"ru"}}`,
		`{"saml":{"attribute_name":"a1","attribute_value":"v1"}}`, `{"saml":{"attribute_name":"a2","attribute_value":"v1","identity_provider_id":"idp1"}}`,
		`{"oidc":{"claim_name":"a1","claim_value":"v2"}}`, `{"oidc":{"claim_name":"a1","claim_value":"v1","identity_provider_id":"idp2"}}`,
		`{"auth_method":{"auth_method":"mfa"}}`, `{"auth_method":{"auth_method":"hwk"}}`,
		`{"login_method":{"id":"idp1"}}`,
		`{"device_posture":{"integration_uid":"check1"}}`, `{"device_posture":{"integration_uid":"check2"}}`,
		`{"azureAD":{"id":"g1"}}`, `{"azureAD":{"id":"g1","identity_provider_id":"idp1"}}`,
		`{"okta":{"name":"g1"}}`, `{"okta":{"name":"g2","identity_provider_id":"idp2"}}`,
		`{"gsuite":{"email":"g1@company.com"}}`, `{"gsuite":{"email":"G2@company.com","identity_provider_id":"idp1"}}`,
		`{"github-organization":{"name":"g1"}}`, `{"github-organization":{"name":"G1","team":"core"}}`, `{"github-organization":{"name":"g2","team":"OPS","identity_provider_id":"idp1"}}`,
		`{"service_token":{"token_id":"tok1"}}`, `{"any_valid_service_token":{}}`,
		`{"group":{"id":"rg0"}}`, `{"group":{"id":"rg1"}}`, `{"group":{"id":"rg2"}}`, `{"group":{"id":"gone"}}`,
		`{"email_list":{"id":"people"}}`, `{"email_list":{"id":"more people"}}`, `{"email_list":{"id":"places"}}`, `{"email_list":{"id":"no list"}}`,
		`{"ip_list":{"id":"places"}}`, `{"ip_list":{"id":"more places"}}`, `{"ip_list":{"id":"people"}}`,
		`{"external_evaluation":{"evaluate_url":"https://e.example"}}`, `{"from_the_future":{"x":1}}`,
	}
	ruleGen = rapid.Custom(func(t *rapid.T) access.Rule { return mustRule(rapid.SampledFrom(ruleText).Draw(t, "rule")) })
)

func drawRules(t *rapid.T, label string, least, most int) []access.Rule {
	return rapid.SliceOfN(ruleGen, least, most).Draw(t, label)
}

func drawIdentity(t *rapid.T) *access.Identity {
	if seldom(t, "no identity") {
		return nil
	}
	id := &access.Identity{
		UserID: pick(t, "user", "u1", "u1", "u1", "u1", "u1", "u1", ""), Email: pick(t, "email", emails...), IdP: pick(t, "idp", idps...),
		AuthMethods:  some(t, "amr", 2, "mfa", "pwd", "MFA"),
		SAML:         map[string][]string{"a1": some(t, "saml a1", 2, values...), "a2": some(t, "saml a2", 2, values...)},
		OIDC:         map[string][]string{"a1": some(t, "oidc a1", 2, values...)},
		ServiceToken: pick(t, "token", "", "", "tok1", "tok2"),
		Revoked:      seldom(t, "revoked"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		id.Groups = append(id.Groups, access.Group{
			ID: pick(t, "group id", "", "g1", "g2"), Name: pick(t, "group name", append(names, "")...),
			Email: pick(t, "group email", mails...), Team: pick(t, "team", "", "core", "Ops"),
		})
	}
	return id
}

func drawDevice(t *rapid.T) *access.Device {
	if seldom(t, "no device") {
		return nil
	}
	var networks []vnet.ID
	if seldom(t, "limited") {
		networks = some(t, "networks", 1, vnets...)
		if networks == nil {
			networks = []vnet.ID{}
		}
	}
	return &access.Device{
		Networks: networks, ID: pick(t, "device", "d1", "d1", "d1", "d1", "d1", "d1", ""), PassedChecks: some(t, "checks", 2, "check1", "check2", "check3"),
		SourceIP: pick(t, "source", sources...), Country: pick(t, "country", "", "PT", "pt", "RU"),
		Revoked: seldom(t, "device revoked"),
	}
}

// portProtocol is fixed, so that applications never contradict each other.
var portProtocol = map[uint16]targets.Protocol{22: targets.SSH, 2222: targets.SSH, 53: targets.UDP, 3389: targets.RDP, 5432: targets.Postgres}

func drawSelectors(t *rapid.T, list string, least, most int) []targets.Selector {
	var out []targets.Selector
	for range rapid.IntRange(least, most).Draw(t, list+" entries") {
		s := targets.Selector{}
		by := pick(t, "by", "host", "tag", "both", "site")
		if by == "host" || by == "both" {
			s["hostname"] = rapid.SliceOfN(rapid.SampledFrom(hosts), 1, 2).Draw(t, "hostnames")
		}
		if by == "tag" || by == "both" {
			s["env"] = rapid.SliceOfN(rapid.SampledFrom([]string{"prod", "Prod", "test"}), 1, 2).Draw(t, "envs")
		}
		if by == "site" {
			s["site"] = []string{pick(t, "site", "lis", "opo")}
		}
		out = append(out, s)
	}
	return out
}

func drawInput(t *rapid.T) access.Input {
	in := access.Input{Revision: rapid.Uint64().Draw(t, "revision")}
	for i := range rapid.IntRange(1, 6).Draw(t, "targets") {
		tg := targets.Target{ID: targets.ID(fmt.Sprintf("t%d", i)), Hostname: pick(t, "hostname", hosts...)}
		if pick(t, "tagged", false, true) {
			tg.Tags = map[string]string{"env": pick(t, "env", "prod", "Prod", "test")}
			if pick(t, "sited", false, true) {
				tg.Tags["site"] = pick(t, "site", "lis", "opo")
			}
		}
		family := pick(t, "family", 4, 6, 46)
		if family != 6 {
			tg.IPv4 = &targets.Address{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), VNET: pick(t, "vnet 4", vnets...)}
		}
		if family != 4 {
			tg.IPv6 = &targets.Address{Addr: netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}), VNET: pick(t, "vnet 6", vnets...)}
		}
		in.Targets = append(in.Targets, tg)
	}
	in.Lists = drawLists(t)
	for i := range rapid.IntRange(0, 3).Draw(t, "rule groups") {
		// A group may refer to those before it only, so there is no circle.
		keep := func(rules []access.Rule) []access.Rule {
			return slices.DeleteFunc(rules, func(r access.Rule) bool {
				id, refers := r.GroupID()
				return refers && id != "gone" && id >= fmt.Sprintf("rg%d", i)
			})
		}
		g := access.RuleGroup{ID: fmt.Sprintf("rg%d", i), Name: "group"}
		g.Include, g.Require, g.Exclude = keep(drawRules(t, "include", 1, 3)), keep(drawRules(t, "require", 0, 2)), keep(drawRules(t, "exclude", 0, 2))
		if len(g.Include) == 0 {
			g.Include = []access.Rule{access.Everyone()}
		}
		in.Groups = append(in.Groups, g)
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "applications") {
		a := access.Application{ID: fmt.Sprintf("a%d", i), Name: "application"}
		for range rapid.IntRange(1, 3).Draw(t, "criteria") {
			port := pick[uint16](t, "port", 22, 22, 22, 22, 22, 2222, 53, 3389, 5432)
			c := targets.Criteria{Port: port, Protocol: portProtocol[port], Attributes: map[string][]string{}}
			if by := pick(t, "by", "host", "host", "tag", "both"); by != "tag" {
				c.Attributes["hostname"] = rapid.SliceOfN(rapid.SampledFrom(hosts), 1, 2).Draw(t, "hostnames")
			} else {
				c.Attributes["env"] = rapid.SliceOfN(rapid.SampledFrom([]string{"prod", "test"}), 1, 2).Draw(t, "envs")
			}
			if pick(t, "operators", false, false, true) {
				c = targets.Criteria{
					Port: port, Protocol: portProtocol[port], Include: drawSelectors(t, "include", 1, 3),
					Require: drawSelectors(t, "require", 0, 2), Exclude: drawSelectors(t, "exclude", 0, 2),
				}
			}
			a.Criteria = append(a.Criteria, c)
		}
		for j := range rapid.IntRange(1, 9).Draw(t, "policies") {
			p := access.Policy{ID: fmt.Sprintf("a%dp%d", i, j), Name: "policy", Decision: "allow"}
			if pick(t, "ranked", true, true, false) {
				p.Precedence = 100 - j
			}
			p.Include, p.Require, p.Exclude = drawRules(t, "include", 1, 4), drawRules(t, "require", 0, 2), drawRules(t, "exclude", 0, 2)
			if pick(t, "ssh", true, true, false) {
				p.SSH = &access.SSHRules{Usernames: some(t, "users", 3, users...), AllowEmailAlias: pick(t, "alias", false, true)}
			}
			a.Policies = append(a.Policies, p)
		}
		in.Applications = append(in.Applications, a)
	}
	return in
}

// drawLists draws lists with the IDs that rules refer to, now and then without one, of another type, or two with one ID.
func drawLists(t *rapid.T) []access.List {
	var lists []access.List
	for _, id := range []string{"people", "more people", "places", "more places", "people"} {
		if seldom(t, "no list") || len(lists) == 4 && !seldom(t, "two lists") {
			continue
		}
		l := access.List{ID: id, Name: "list", Type: "EMAIL", Items: some(t, "emails", 3, "jdoe@company.com", "KELVIN@company.com", "root@other.example", "a b@company.com", "noat@x")}
		if strings.Contains(id, "places") {
			l.Type, l.Items = "IP", some(t, "addresses", 3, "192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "198.51.100.1", "0.0.0.0/0", "10.0.0.0/8")
		}
		if seldom(t, "another type") {
			l.Type = pick(t, "type", "SERIAL", "IP", "EMAIL")
		}
		lists = append(lists, l)
	}
	return lists
}

func drawQuery(t *rapid.T, in access.Input) access.Query {
	q := access.Query{
		Identity: drawIdentity(t), Device: drawDevice(t), VNET: pick(t, "vnet", vnets...),
		Transport: pick(t, "transport", targets.TransportTCP, targets.TransportTCP, targets.TransportTCP, targets.TransportUDP),
		Login:     pick(t, "login", append(users, "", "", "")...),
	}
	ip := netip.MustParseAddr("10.0.0.200")
	if len(in.Targets) > 0 && !seldom(t, "stray") {
		tg := pick(t, "destination", in.Targets...)
		a := tg.IPv4
		if a == nil {
			a = tg.IPv6
		}
		ip, q.VNET = a.Addr, a.VNET
	}
	q.Destination = netip.AddrPortFrom(ip, pick[uint16](t, "port", 22, 22, 22, 22, 22, 22, 2222, 53, 3389, 5432, 80))
	return q
}

func asAnswer(d access.Decision) answer {
	a := answer{Reason: d.Reason}
	if d.Target != nil {
		a.Target = string(d.Target.ID)
	}
	if d.Application != nil {
		a.App = d.Application.ID
	}
	if d.Policy != nil {
		a.Policy = d.Policy.ID
	}
	return a
}

func compileDrawn(t *rapid.T, in access.Input) *access.Snapshot {
	s, err := access.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if ps := s.Problems(); len(ps) > 0 {
		t.Fatal(ps)
	}
	return s
}

func TestEvaluate_AgreesWithTheNaiveEvaluator(t *testing.T) {
	reasons := make(map[access.Reason]int)
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		s := compileDrawn(t, in)
		for range 40 {
			q := drawQuery(t, in)
			d := access.Evaluate(s, q)
			if diff := cmp.Diff(naiveEvaluate(in, q), asAnswer(d)); diff != "" {
				t.Fatalf("naive (-) and compiled (+) differ:\n%s", diff)
			}
			if d.Allow != (d.Reason == access.Allowed) {
				t.Fatalf("allow is %v and the reason %q", d.Allow, d.Reason)
			}
			reasons[d.Reason]++
		}
	})
	for _, r := range []access.Reason{
		access.Allowed, access.IdentityUnknown, access.IdentityRevoked, access.DeviceUnknown, access.DeviceRevoked, access.VNETNotPermitted, access.NoTarget,
		access.NoApplication, access.NoPolicy, access.RequireMissing, access.Excluded, access.LoginNotPermitted,
	} {
		if reasons[r] == 0 {
			t.Errorf("no question was answered with %q; the generators are too narrow: %v", r, reasons)
		}
	}
	t.Log(reasons)
}

func TestGrants_AgreeWithTheNaiveEvaluatorAndWithEvaluate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		s := compileDrawn(t, in)
		q := drawQuery(t, in)
		got := make(map[string][]string)
		var order []string
		for _, g := range access.Grants(s, q) {
			order = append(order, g.Username)
			for _, p := range g.Policies {
				got[g.Username] = append(got[g.Username], p.ID)
			}
		}
		if diff := cmp.Diff(naiveGrants(in, q), got); diff != "" {
			t.Fatalf("naive (-) and compiled (+) differ:\n%s", diff)
		}
		if !slices.IsSorted(order) {
			t.Fatalf("not sorted: %v", order)
		}
		for _, u := range append(slices.Clone(users), "kelvin", "nobody") {
			q.Login = u
			d := access.Evaluate(s, q)
			if d.Allow != (got[u] != nil) {
				t.Fatalf("login %q: Evaluate says %v, Grants %v", u, d.Allow, got)
			}
			if d.Allow && d.Policy.ID != got[u][0] {
				t.Fatalf("login %q is attributed to %s; the first that grants it is %s", u, d.Policy.ID, got[u][0])
			}
		}
	})
}

func TestEntries_ListWhatEvaluateAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		s := compileDrawn(t, in)
		id, dev := drawIdentity(t), drawDevice(t)
		type row struct {
			Target    targets.ID
			Port      uint16
			Protocol  targets.Protocol
			Usernames string
		}
		want := make(map[row]bool)
		for _, tg := range in.Targets {
			for _, a := range []*targets.Address{tg.IPv4, tg.IPv6} {
				if a == nil {
					continue
				}
				for port, p := range portProtocol {
					tr := targets.TransportTCP
					if p == targets.UDP {
						tr = targets.TransportUDP
					}
					q := access.Query{Identity: id, Device: dev, VNET: a.VNET, Destination: netip.AddrPortFrom(a.Addr, port), Transport: tr}
					if !access.Evaluate(s, q).Allow {
						continue
					}
					var names []string
					for _, g := range access.Grants(s, q) {
						names = append(names, g.Username)
					}
					want[row{tg.ID, port, p, fmt.Sprint(names)}] = true
				}
			}
		}
		got := make(map[row]bool)
		entries := access.Entries(s, id, dev)
		for _, e := range entries {
			got[row{e.Target.ID, e.Port, e.Protocol, fmt.Sprint(e.Usernames)}] = true
		}
		if len(got) != len(entries) {
			t.Fatalf("an entry stands twice: %v", entries)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("Evaluate (-) and Entries (+) differ:\n%s", diff)
		}
		if !slices.IsSortedFunc(entries, compareEntries) {
			t.Fatalf("not sorted: %v", entries)
		}
	})
}

func compareEntries(a, b targets.Entry) int {
	key := func(e targets.Entry) string {
		return fmt.Sprintf("%s\x00%s\x00%05d", targets.FoldHostname(e.Target.Hostname), e.Target.ID, e.Port)
	}
	switch ka, kb := key(a), key(b); {
	case ka < kb:
		return -1
	case ka > kb:
		return 1
	}
	return 0
}

func TestCompile_OrderOfInputDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		s := compileDrawn(t, in)
		other := in
		other.Targets = rapid.Permutation(in.Targets).Draw(t, "targets")
		other.Applications = rapid.Permutation(in.Applications).Draw(t, "applications")
		other.Groups = rapid.Permutation(in.Groups).Draw(t, "groups")
		other.Lists = rapid.Permutation(in.Lists).Draw(t, "lists")
		s2 := compileDrawn(t, other)
		q := drawQuery(t, in)
		if diff := cmp.Diff(asAnswer(access.Evaluate(s, q)), asAnswer(access.Evaluate(s2, q))); diff != "" {
			t.Fatalf("another order, another answer:\n%s", diff)
		}
		if diff := cmp.Diff(access.Entries(s, q.Identity, q.Device), access.Entries(s2, q.Identity, q.Device), cmpAddr); diff != "" {
			t.Fatalf("another order, other entries:\n%s", diff)
		}
	})
}

var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestCompile_KeepsNothingOfTheInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		s := compileDrawn(t, in)
		q := drawQuery(t, in)
		before, listed := asAnswer(access.Evaluate(s, q)), access.Entries(s, q.Identity, q.Device)
		copied := slices.Clone(listed)
		for i, e := range listed {
			copied[i].Target = e.Target.Clone()
			copied[i].Usernames = slices.Clone(e.Usernames)
		}
		spoil(in)
		if diff := cmp.Diff(before, asAnswer(access.Evaluate(s, q))); diff != "" {
			t.Fatalf("the answer changed with the input:\n%s", diff)
		}
		if diff := cmp.Diff(copied, access.Entries(s, q.Identity, q.Device), cmpAddr); diff != "" {
			t.Fatalf("the entries changed with the input:\n%s", diff)
		}
	})
}

// spoil overwrites everything that in's slices, maps and pointers lead to.
func spoil(in access.Input) {
	for i := range in.Targets {
		tg := &in.Targets[i]
		for _, a := range []*targets.Address{tg.IPv4, tg.IPv6} {
			if a != nil {
				*a = targets.Address{}
			}
		}
		clear(tg.Tags)
		*tg = targets.Target{}
	}
	for i := range in.Lists {
		clear(in.Lists[i].Items)
		in.Lists[i] = access.List{}
	}
	for i := range in.Groups {
		clear(in.Groups[i].Include)
		clear(in.Groups[i].Require)
		clear(in.Groups[i].Exclude)
	}
	for i := range in.Applications {
		a := &in.Applications[i]
		for j := range a.Criteria {
			clear(a.Criteria[j].Attributes["hostname"])
			clear(a.Criteria[j].Attributes)
			for _, list := range [][]targets.Selector{a.Criteria[j].Include, a.Criteria[j].Require, a.Criteria[j].Exclude} {
				for _, s := range list {
					for k := range s {
						clear(s[k])
					}
					clear(s)
				}
			}
		}
		for j := range a.Policies {
			p := &a.Policies[j]
			clear(p.Include)
			clear(p.Require)
			clear(p.Exclude)
			if p.SSH != nil {
				clear(p.SSH.Usernames)
				p.SSH.AllowEmailAlias = !p.SSH.AllowEmailAlias
			}
			*p = access.Policy{}
		}
		*a = access.Application{}
	}
}
