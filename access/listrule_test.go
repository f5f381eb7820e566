package access_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weft/access"
	"weft/internal/kind"
	"weft/targets"
)

func listRules(text ...string) []access.Rule {
	var rules []access.Rule
	for _, t := range text {
		rules = append(rules, mustRule(t))
	}
	return rules
}

// listInput is the demo with one policy for whoever is on list "people" and, of the group "placed", comes from one of "places".
func listInput(people, places access.List) access.Input {
	in := demo()
	in.Lists = []access.List{people, places}
	in.Groups = []access.RuleGroup{{ID: "placed", Name: "placed", Include: listRules(`{"ip_list":{"id":"places"}}`)}}
	p := &in.Applications[0].Policies[0]
	p.Include, p.Require, p.Exclude = listRules(`{"email_list":{"id":"people"}}`), []access.Rule{access.GroupRule("placed")}, nil
	p.SSH = ssh("root")
	return in
}

func peopleList(items ...string) access.List {
	return access.List{ID: "people", Name: "People", Type: access.ListEmail, Items: items}
}

func placesList(items ...string) access.List {
	return access.List{ID: "places", Name: "Places", Type: access.ListIP, Items: items}
}

func seedQuery(id *access.Identity, d *access.Device) access.Query {
	return access.Query{Identity: id, Device: d, VNET: netA, Destination: seedDestination, Transport: targets.TransportTCP, Login: "root"}
}

func TestEvaluate_Lists(t *testing.T) {
	here := placesList("192.0.2.0/24")
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("user%d@company.com", i)
	}
	tests := []struct {
		name           string
		people, places access.List
		email          string
		source         string
		want           access.Reason
	}{
		{"an address on the list", peopleList("a@company.com", "jdoe@company.com"), here, "jdoe@company.com", "192.0.2.7", access.Allowed},
		{"in another case", peopleList("JDoe@COMPANY.com"), here, "jdOE@company.com", "192.0.2.7", access.Allowed},
		{"the Kelvin sign is no k", peopleList("kelvin@company.com"), here, "\u212Aelvin@company.com", "192.0.2.7", access.NoPolicy},
		{"not on it", peopleList("a@company.com"), here, "jdoe@company.com", "192.0.2.7", access.NoPolicy},
		{"a part of an item", peopleList("jdoe@company.com.example"), here, "jdoe@company.com", "192.0.2.7", access.NoPolicy},
		{"an empty list", peopleList(), here, "jdoe@company.com", "192.0.2.7", access.NoPolicy},
		{"no e-mail and an empty item", peopleList(""), here, "", "192.0.2.7", access.NoPolicy},
		{"of many", peopleList(many...), here, "USER4321@company.com", "192.0.2.7", access.Allowed},
		{"none of many", peopleList(many...), here, "user5000@company.com", "192.0.2.7", access.NoPolicy},
		{"another type", access.List{ID: "people", Type: "SERIAL", Items: []string{"jdoe@company.com"}}, here, "jdoe@company.com", "192.0.2.7", access.NoPolicy},
		{"no type", access.List{ID: "people", Items: []string{"jdoe@company.com"}}, here, "jdoe@company.com", "192.0.2.7", access.NoPolicy},
		{"a single address", peopleList("jdoe@company.com"), placesList("198.51.100.1", "192.0.2.7"), "jdoe@company.com", "192.0.2.7", access.Allowed},
		{"another address", peopleList("jdoe@company.com"), placesList("192.0.2.8"), "jdoe@company.com", "192.0.2.7", access.RequireMissing},
		{"inside an item inside an item", peopleList("jdoe@company.com"), placesList("192.0.0.0/16", "192.0.2.0/24"), "jdoe@company.com", "192.0.9.7", access.Allowed},
		{"IPv6", peopleList("jdoe@company.com"), placesList("192.0.2.0/24", "2001:db8::/32"), "jdoe@company.com", "2001:db8::1", access.Allowed},
		{"an IPv4-mapped source", peopleList("jdoe@company.com"), here, "jdoe@company.com", "::ffff:192.0.2.7", access.Allowed},
		{"an IPv4-mapped item", peopleList("jdoe@company.com"), placesList("::ffff:192.0.2.7"), "jdoe@company.com", "192.0.2.7", access.Allowed},
		{"an IPv4-mapped prefix", peopleList("jdoe@company.com"), placesList("::ffff:192.0.2.0/120"), "jdoe@company.com", "192.0.2.7", access.Allowed},
		{"host bits", peopleList("jdoe@company.com"), placesList("192.0.2.1/24"), "jdoe@company.com", "192.0.2.7", access.RequireMissing},
		{"no source", peopleList("jdoe@company.com"), placesList("0.0.0.0/0", "::/0"), "jdoe@company.com", "", access.RequireMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := device()
			d.SourceIP = netip.Addr{}
			if tt.source != "" {
				d.SourceIP = netip.MustParseAddr(tt.source)
			}
			s := compile(t, listInput(tt.people, tt.places))
			if got := access.Evaluate(s, seedQuery(user(tt.email), d)); got.Reason != tt.want {
				t.Errorf("got %q; want %q", got.Reason, tt.want)
			}
		})
	}
}

// More lists than are remembered for a subject are looked at all the same, in an application with many policies too.
func TestEvaluate_ManyLists(t *testing.T) {
	const n = 300
	in := demo()
	app := &in.Applications[0]
	app.Policies = nil
	for i := range n {
		id := fmt.Sprintf("list-%d", i)
		in.Lists = append(in.Lists, access.List{ID: id, Name: id, Type: access.ListEmail, Items: []string{fmt.Sprintf("user%d@company.com", i)}})
		app.Policies = append(app.Policies, access.Policy{
			ID: id, Name: id, Decision: "allow", Include: listRules(fmt.Sprintf(`{"email_list":{"id":%q}}`, id)), SSH: ssh("root"),
		})
	}
	s := compile(t, in)
	for i := range n {
		d := access.Evaluate(s, seedQuery(user(fmt.Sprintf("user%d@company.com", i)), device()))
		if want := fmt.Sprintf("list-%d", i); !d.Allow || d.Policy.ID != want {
			t.Errorf("%s: %+v", want, d)
		}
	}
	if d := access.Evaluate(s, seedQuery(user("user300@company.com"), device())); d.Allow {
		t.Error("allowed whom no list has")
	}
}

// A list that changes, comes, goes or gets another type is seen by what was compiled before, and by no older snapshot.
func TestCompileAfter_Lists(t *testing.T) {
	in := listInput(peopleList("a@company.com"), placesList("192.0.2.0/24"))
	q := seedQuery(user("jdoe@company.com"), device())
	s := compile(t, in)
	first := s
	steps := []struct {
		name  string
		lists []access.List
		want  access.Reason
	}{
		{"the address comes", []access.List{peopleList("a@company.com", "jdoe@company.com"), placesList("192.0.2.0/24")}, access.Allowed},
		{"the other list changes", []access.List{peopleList("a@company.com", "jdoe@company.com"), placesList("198.51.100.0/24")}, access.RequireMissing},
		{"and back, in another order", []access.List{placesList("192.0.2.0/24"), peopleList("a@company.com", "jdoe@company.com")}, access.Allowed},
		{"one goes", []access.List{peopleList("jdoe@company.com")}, access.RequireMissing},
		{"all go", nil, access.NoPolicy},
		{"both come", []access.List{peopleList("jdoe@company.com"), placesList("192.0.2.0/24")}, access.Allowed},
		{"one comes twice", []access.List{peopleList("jdoe@company.com"), placesList("192.0.2.0/24"), placesList("192.0.2.0/24")}, access.RequireMissing},
		{"one has another type", []access.List{{ID: "people", Type: "URL", Items: []string{"jdoe@company.com"}}, placesList("192.0.2.0/24")}, access.NoPolicy},
		{"the right one again", []access.List{peopleList("jdoe@company.com"), placesList("192.0.2.0/24")}, access.Allowed},
	}
	for _, st := range steps {
		in.Revision++
		in.Lists = st.lists
		var err error
		if s, err = access.CompileAfter(s, in); err != nil {
			t.Fatal(err)
		}
		if got := access.Evaluate(s, q); got.Reason != st.want {
			t.Errorf("%s: got %q; want %q", st.name, got.Reason, st.want)
		}
	}
	if got := access.Evaluate(first, q); got.Reason != access.NoPolicy {
		t.Errorf("the first snapshot says %q now", got.Reason)
	}
}

// Applications come that ask for lists that none asked for before; with lists that come and go as well, the table of
// lists is made anew before it is long.
func TestCompileAfter_ListsThatComeAndGo(t *testing.T) {
	in := demo()
	s := compile(t, in)
	for i := range 1200 {
		id := fmt.Sprintf("list-%d", i)
		in.Revision++
		in.Lists = []access.List{{ID: id, Type: access.ListEmail, Items: []string{fmt.Sprintf("user%d@company.com", i)}}}
		in.Applications = slices.Clone(in.Applications)
		in.Applications[0].Policies = []access.Policy{{
			ID: "p", Name: "p", Decision: "allow", Include: listRules(fmt.Sprintf(`{"email_list":{"id":%q}}`, id)), SSH: ssh("root"),
		}}
		var err error
		if s, err = access.CompileAfter(s, in); err != nil {
			t.Fatal(err)
		}
		if d := access.Evaluate(s, seedQuery(user(fmt.Sprintf("user%d@company.com", i)), device())); !d.Allow {
			t.Fatalf("round %d: %q", i, d.Reason)
		}
		if d := access.Evaluate(s, seedQuery(user(fmt.Sprintf("user%d@company.com", i-1)), device())); d.Allow {
			t.Fatalf("round %d: the user of the round before is allowed", i)
		}
	}
	if n := access.ListNumbersForTest(s); n > 1001 {
		t.Errorf("the snapshot numbers %d lists", n)
	}
}

func TestEvaluate_AllocatesNothingWithLists(t *testing.T) {
	people := peopleList()
	for i := range 5000 {
		people.Items = append(people.Items, fmt.Sprintf("user%d@company.com", i))
	}
	s := compile(t, listInput(people, placesList("192.0.2.0/24", "2001:db8::/32")))
	for _, email := range []string{"user77@company.com", "USER77@Company.com", "nobody@company.com"} {
		q := seedQuery(user(email), device())
		if d := access.Evaluate(s, q); d.Allow != (email != "nobody@company.com") {
			t.Errorf("%s: %q", email, d.Reason)
		}
		if got := testing.AllocsPerRun(100, func() { access.Evaluate(s, q) }); got != 0 {
			t.Errorf("%s: %v allocations", email, got)
		}
	}
}

// Trace names the lists and groups that rules refer to, and Explain the rule that decided.
func TestTrace_NamesLists(t *testing.T) {
	in := listInput(peopleList("jdoe@company.com"), placesList("198.51.100.0/24"))
	in.Applications[0].Policies[0].Exclude = listRules(`{"email_list":{"id":"gone"}}`)
	s := compile(t, in)
	q := seedQuery(user("jdoe@company.com"), device())
	rules := access.Trace(s, in.Applications, q)[0].Policies[0].Rules
	var got []string
	for _, r := range rules {
		got = append(got, r.List+" "+r.Answer+" "+r.Name)
	}
	if want := []string{"include yes People", "require no placed", "exclude unknown "}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if _, list := access.Explain(s, q); len(list) != 1 || list[0].Rule.Selector() != "email_list" || !list[0].Unknown {
		t.Errorf("explained as %+v", list)
	}
}

func TestRule_ListID(t *testing.T) {
	tests := []struct {
		name, text, id, typ string
		ok                  bool
	}{
		{"of e-mail addresses", `{"email_list":{"id":"a"}}`, "a", access.ListEmail, true},
		{"of addresses", `{"ip_list":{"id":"b"}}`, "b", access.ListIP, true},
		{"a group", `{"group":{"id":"c"}}`, "c", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustRule(tt.text)
			if id, typ, ok := r.ListID(); ok != tt.ok || typ != tt.typ || ok && id != tt.id {
				t.Errorf("got %q, %q, %v", id, typ, ok)
			}
			if err := r.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRule_ValidateShared(t *testing.T) {
	tests := []struct {
		name, text, at string // at: "" is accepted
		foreign        bool
	}{
		{"an evaluated selector", `{"email":{"email":"a@b.c"}}`, "", false},
		{"a client certificate", `{"certificate":{}}`, "", true},
		{"its common name", `{"common_name":{"common_name":"x"}}`, "", true},
		{"an external evaluation", `{"external_evaluation":{"evaluate_url":"https://e.example","keys_url":"https://k.example"}}`, "", true},
		{"an authentication context", `{"auth_context":{"id":"a","ac_id":"b","identity_provider_id":"c"}}`, "", true},
		{"a linked token", `{"linked_app_token":{"app_uid":"a"}}`, "", true},
		{"a risk score", `{"user_risk_score":{"user_risk_score":["low","medium"]}}`, "", true},
		{"a member of the account", `{"cloudflare_account_member":{"account_id":"a"}}`, "", true},
		{"no object", `{"certificate":true}`, "/certificate", true},
		{"a list", `{"common_name":["x"]}`, "/common_name", true},
		{"an unknown selector", `{"certificates":{}}`, "/certificates", false},
		{"in another case", `{"Certificate":{}}`, "/Certificate", false},
		{"a bad value", `{"email":{"email":"b.c"}}`, "/email/email", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustRule(tt.text)
			if r.Foreign() != tt.foreign {
				t.Errorf("foreign is %v", r.Foreign())
			}
			if tt.foreign && !kind.Is(r.Validate(), kind.Invalid) {
				t.Error("an infrastructure application may hold it")
			}
			g, p := group(0), demo().Applications[0].Policies[0]
			g.Exclude, p.Exclude = []access.Rule{r}, []access.Rule{r}
			if tt.at != "" {
				says(t, g.Validate(), kind.Invalid, "/exclude/0"+tt.at, "")
				says(t, p.ValidateShared(), kind.Invalid, "/exclude/0"+tt.at, "")
				return
			}
			if err := g.Validate(); err != nil {
				t.Errorf("in a group: %v", err)
			}
			if err := p.ValidateShared(); err != nil {
				t.Errorf("in a reusable policy: %v", err)
			}
		})
	}
	if err := (access.Rule{}).ValidateShared(); !kind.Is(err, kind.Invalid) {
		t.Errorf("the zero rule: %v", err)
	}
}
