package access_test

import (
	"fmt"
	"net/netip"
	"testing"

	"weft/access"
	"weft/targets"
)

// The shapes in which 1,000 rules come. In each, the subject of the queries is
// included by the last rule only, which is the worst place.
const (
	manyRules        = "1000-rules-in-one-policy"
	manyPolicies     = "1000-policies-in-one-application"
	manyApplications = "1000-applications-on-every-target"
	spread           = "100-applications-of-10-rules"
)

var shapes = []string{manyRules, manyPolicies, manyApplications, spread}

const ruleCount = 1000

// someRule is one of several kinds that the subject of the queries fails.
func someRule(i int) access.Rule {
	texts := []string{
		`{"email":{"email":"user%d@company.com"}}`,
		`{"email_domain":{"domain":"d%d.example"}}`,
		`{"azureAD":{"id":"group-%d","identity_provider_id":"idp1"}}`,
		`{"okta":{"name":"team %d"}}`,
		`{"gsuite":{"email":"list%d@company.com"}}`,
		`{"saml":{"attribute_name":"role","attribute_value":"role-%d"}}`,
		`{"github-organization":{"name":"org%d","team":"core"}}`,
		`{"device_posture":{"integration_uid":"check-%d"}}`,
		`{"ip":{"ip":"10.7.0.%d"}}`,
	}
	text := texts[i%len(texts)]
	n := i
	if i%len(texts) == len(texts)-1 {
		n %= 256
	}
	return mustRule(fmt.Sprintf(text, n))
}

func mustRule(text string) access.Rule {
	var r access.Rule
	if err := r.UnmarshalJSON([]byte(text)); err != nil {
		panic(err)
	}
	return r
}

// bench builds 1,000 rules and targetCount targets in one of the shapes.
func benchInput(shape string, targetCount int) access.Input {
	in := access.Input{Revision: 1}
	hosts := make([]string, 100)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("host-%02d", i)
	}
	for i := range targetCount {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		in.Targets = append(in.Targets, target(fmt.Sprintf("t%07d", i), hosts[i%len(hosts)], ip.String(), netA))
	}
	policy := func(n int, rules ...access.Rule) access.Policy {
		return access.Policy{ID: fmt.Sprintf("p%d", n), Name: "policy", Decision: "allow", Precedence: n + 1, Include: rules, SSH: ssh("root", "deploy")}
	}
	app := func(n int, criteria targets.Criteria, policies ...access.Policy) {
		in.Applications = append(in.Applications, access.Application{
			ID: fmt.Sprintf("a%04d", n), Name: "application", Criteria: []targets.Criteria{criteria}, Policies: policies,
		})
	}
	rules := make([]access.Rule, ruleCount)
	for i := range rules {
		rules[i] = someRule(i)
	}
	mine := access.EmailRule("jdoe@company.com")
	rules[ruleCount-1] = mine
	switch shape {
	case manyRules:
		app(0, onHost(22, targets.SSH, hosts...), policy(0, rules...))
	case manyPolicies:
		policies := make([]access.Policy, ruleCount)
		for i := range policies {
			policies[i] = policy(i, rules[i])
		}
		app(0, onHost(22, targets.SSH, hosts...), policies...)
	case manyApplications:
		for i := range ruleCount {
			app(i, onHost(22, targets.SSH, hosts...), policy(0, rules[i]))
		}
	case spread:
		for i := range 100 {
			own := rules[i*10 : i*10+10]
			own[9] = mine
			app(i, onHost(22, targets.SSH, hosts[i]), policy(0, own...))
		}
	}
	return in
}

// subjectOf is a user with groups and claims, on a device with checks.
func benchQuery(targetCount int) access.Query {
	id := &access.Identity{
		UserID: "u1", Email: "JDoe@Company.com", IdP: "idp1",
		AuthMethods: []string{"pwd", "mfa"},
		SAML:        map[string][]string{"role": {"none", "other"}},
	}
	for i := range 10 {
		id.Groups = append(id.Groups, access.Group{ID: fmt.Sprintf("mine-%d", i), Name: fmt.Sprintf("Mine %d", i), Email: fmt.Sprintf("mine%d@company.com", i)})
	}
	dev := device()
	dev.PassedChecks = []string{"disk", "firewall", "os"}
	i := targetCount - 1
	ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	return access.Query{Identity: id, Device: dev, VNET: netA, Destination: netip.AddrPortFrom(ip, 22), Transport: targets.TransportTCP}
}

// benchQueries are the questions: same target set, several subjects.
func benchQueries(targetCount int) []struct {
	name  string
	query access.Query
	want  access.Reason
} {
	flow, login, plain, denied, badLogin := benchQuery(targetCount), benchQuery(targetCount), benchQuery(targetCount), benchQuery(targetCount), benchQuery(targetCount)
	login.Login, badLogin.Login = "deploy", "oracle"
	plain.Identity = user("jdoe@company.com")
	eve := *denied.Identity
	eve.Email = "eve@elsewhere.example"
	denied.Identity = &eve
	return []struct {
		name  string
		query access.Query
		want  access.Reason
	}{
		{"allow", flow, access.Allowed},
		{"allow-email-only", plain, access.Allowed},
		{"login", login, access.Allowed},
		{"deny", denied, access.NoPolicy},
		{"deny-login", badLogin, access.LoginNotPermitted},
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/targets=%d", shape, n), func(b *testing.B) {
				s := compile(b, benchInput(shape, n))
				for _, q := range benchQueries(n) {
					b.Run(q.name, func(b *testing.B) {
						b.ReportAllocs()
						for b.Loop() {
							if d := access.Evaluate(s, q.query); d.Reason != q.want {
								b.Fatalf("got %q; want %q", d.Reason, q.want)
							}
						}
					})
				}
			})
		}
	}
}

// BenchmarkEvaluate_EveryTarget asks about another target each time, so that
// what the processor has in its caches shows.
func BenchmarkEvaluate_EveryTarget(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s := compile(b, benchInput(spread, n))
		q := benchQuery(n)
		b.Run(fmt.Sprintf("targets=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % n
				q.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 22)
				if d := access.Evaluate(s, q); !d.Allow {
					b.Fatalf("denied: %q", d.Reason)
				}
			}
		})
	}
}

func BenchmarkEntries(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s := compile(b, benchInput(spread, n))
		q := benchQuery(n)
		b.Run(fmt.Sprintf("targets=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := access.Entries(s, q.Identity, q.Device); len(got) != n {
					b.Fatalf("%d entries; want %d", len(got), n)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10_000, 100_000} {
			in := benchInput(shape, n)
			b.Run(fmt.Sprintf("%s/targets=%d", shape, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := access.Compile(in); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
