package access_test

import (
	"fmt"
	"net/netip"

	"weft/access"
	"weft/targets"
	"weft/vnet"
)

// Two networks hold the same address. In the first, everybody of the company may
// log in as themselves, and the operators, if they signed in with a second
// factor, as root as well. The second network's target is in no application.
func Example() {
	const office, lab vnet.ID = "c77b744e-acc8-428f-9257-6878c046ed55", "3f0dc5a2-1a05-4bdb-9bb0-5bb2ad1b8e0c"
	ip := netip.MustParseAddr("10.116.0.3")
	snapshot, err := access.Compile(access.Input{
		Revision: 42,
		Targets: []targets.Target{
			{ID: "t1", Hostname: "do-target", IPv4: &targets.Address{Addr: ip, VNET: office}},
			{ID: "t2", Hostname: "lab-target", IPv4: &targets.Address{Addr: ip, VNET: lab}},
		},
		Groups: []access.RuleGroup{{
			ID: "operators", Name: "Operators",
			Include: []access.Rule{access.EmailRule("jdoe@company.com"), access.EmailRule("ann@company.com")},
			Exclude: []access.Rule{access.EmailRule("bob@company.com")},
		}},
		Applications: []access.Application{{
			ID: "app", Name: "Servers",
			Criteria: []targets.Criteria{{Attributes: map[string][]string{"hostname": {"do-target"}}, Port: 22, Protocol: targets.SSH}},
			Policies: []access.Policy{
				{
					ID: "p1", Name: "Operators as root", Decision: "allow", Precedence: 1,
					Include: []access.Rule{access.GroupRule("operators")},
					Require: []access.Rule{rule(`{"auth_method":{"auth_method":"mfa"}}`)},
					SSH:     &access.SSHRules{Usernames: []string{"root"}},
				},
				{
					ID: "p2", Name: "Everybody as themselves", Decision: "allow", Precedence: 2,
					Include: []access.Rule{rule(`{"email_domain":{"domain":"company.com"}}`)},
					SSH:     &access.SSHRules{AllowEmailAlias: true},
				},
			},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	jdoe := &access.Identity{UserID: "u1", Email: "Jdoe@company.com", AuthMethods: []string{"pwd", "mfa"}}
	ask := func(network vnet.ID, login string) access.Query {
		return access.Query{
			Identity: jdoe, Device: &access.Device{ID: "d1"}, VNET: network,
			Destination: netip.AddrPortFrom(ip, 22), Transport: targets.TransportTCP, Login: login,
		}
	}
	show := func(q access.Query) {
		d := access.Evaluate(snapshot, q)
		fmt.Printf("%-5v %-19s %s\n", d.Allow, d.Reason, d.Message())
	}

	show(ask(office, ""))       // may the flow be opened? yes: p1 grants a user
	show(ask(office, "root"))   // p1
	show(ask(office, "jdoe"))   // p2, by the alias
	show(ask(office, "ubuntu")) // nobody grants this
	show(ask(lab, "root"))      // the same address, another target

	jdoe.AuthMethods = []string{"pwd"}
	show(ask(office, "root")) // p1 requires more; p2 came closer

	for _, g := range access.Grants(snapshot, ask(office, "")) {
		fmt.Println(g.Username, "by", g.Policies[0].Name)
	}
	// Output:
	// true  allowed             Access to "do-target" is allowed by policy "Operators as root".
	// true  allowed             Access to "do-target" is allowed by policy "Operators as root".
	// true  allowed             Access to "do-target" is allowed by policy "Everybody as themselves".
	// false login_not_permitted Policy "Operators as root" includes you, but you may not log in to "do-target" as this UNIX user. Your target list shows the UNIX users that you may use, if any.
	// false no_application      No application gives access to this target at this port. Check the port, or ask your administrator.
	// false login_not_permitted Policy "Everybody as themselves" includes you, but you may not log in to "do-target" as this UNIX user. Your target list shows the UNIX users that you may use, if any.
	// jdoe by Everybody as themselves
}

// rule reads a rule's wire form.
func rule(text string) access.Rule {
	var r access.Rule
	if err := r.UnmarshalJSON([]byte(text)); err != nil {
		fmt.Println(err)
	}
	return r
}
