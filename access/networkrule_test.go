package access_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/targets"
	"weft/vnet"
)

const (
	ruleNet  = vnet.ID("net-a")
	otherNet = vnet.ID("net-b")
)

// ruleInput is two targets, one of which an application covers on 443 and on 22.
func ruleInput(rules ...access.NetworkRule) access.Input {
	return access.Input{
		Revision: 1,
		Networks: []vnet.Network{{ID: ruleNet, Name: "a"}, {ID: otherNet, Name: "b"}},
		Targets: []targets.Target{
			{
				ID: "web", Hostname: "web",
				IPv4: &targets.Address{Addr: netip.MustParseAddr("10.0.0.5"), VNET: ruleNet},
				IPv6: &targets.Address{Addr: netip.MustParseAddr("2001:db8::5"), VNET: otherNet},
			},
		},
		Applications: []access.Application{{
			ID: "app", Name: "web",
			Criteria: []targets.Criteria{
				{Attributes: map[string][]string{"hostname": {"web"}}, Port: 443, Protocol: targets.HTTPS},
				{Attributes: map[string][]string{"hostname": {"web"}}, Port: 22, Protocol: targets.SSH},
			},
			Policies: []access.Policy{{
				ID: "pol", Name: "everybody", Decision: "allow", Include: []access.Rule{access.EmailRule("jdoe@company.com")},
				SSH: &access.SSHRules{Usernames: []string{"root"}},
			}},
		}},
		NetworkRules: rules,
		Lists:        []access.List{{ID: "AA11", Items: []string{"10.0.0.0/24"}}},
	}
}

func netRule(precedence int, action, traffic string) access.NetworkRule {
	return access.NetworkRule{ID: action + traffic, Precedence: precedence, Action: action, Traffic: traffic, BlockReason: "not today"}
}

func TestEvaluate_NetworkRules(t *testing.T) {
	web := netip.MustParseAddrPort("10.0.0.5:443")
	block := func(p int, traffic string) access.NetworkRule { return netRule(p, "block", traffic) }
	allow := func(p int, traffic string) access.NetworkRule { return netRule(p, "allow", traffic) }
	with := func(r access.NetworkRule, identity, posture string) access.NetworkRule {
		r.Identity, r.DevicePosture = identity, posture
		return r
	}
	for _, tt := range []struct {
		name  string
		rules []access.NetworkRule
		to    netip.AddrPort
		want  access.Reason
		by    string // the rule that the decision names
	}{
		{"no rule", nil, web, access.Allowed, ""},
		{"a block that matches", []access.NetworkRule{block(1, "net.dst.port == 443")}, web, access.NetworkBlocked, "blocknet.dst.port == 443"},
		{"a block that does not", []access.NetworkRule{block(1, "net.dst.port == 22")}, web, access.Allowed, ""},
		{"an empty block", []access.NetworkRule{block(1, "")}, web, access.NetworkBlocked, "block"},
		{"the lower precedence comes first, whatever the order of the list", []access.NetworkRule{block(20, ""), allow(10, "access.target")}, web, access.Allowed, "allowaccess.target"},
		{"a block before the applications", []access.NetworkRule{allow(20, "access.target"), block(10, "net.dst.ip in $aa11")}, web, access.NetworkBlocked, "blocknet.dst.ip in $aa11"},
		{"an allow replaces no policy", []access.NetworkRule{allow(1, "")}, netip.MustParseAddrPort("10.0.0.5:80"), access.NoApplication, "allow"},
		{"what no application covers is no access.target", []access.NetworkRule{allow(1, "access.target"), block(2, "")}, netip.MustParseAddrPort("10.0.0.5:80"), access.NetworkBlocked, "block"},
		{"who and how must match too", []access.NetworkRule{with(block(1, ""), `identity.email == "other@company.com"`, "")}, web, access.Allowed, ""},
		{"a known posture", []access.NetworkRule{with(block(1, ""), "", `any(device_posture.checks.failed[*] == "disk")`)}, web, access.NetworkBlocked, "block"},
		{"what is unknown blocks", []access.NetworkRule{block(1, `net.dst.geo.country == "US"`)}, web, access.NetworkBlocked, `blocknet.dst.geo.country == "US"`},
		{"what is unknown does not allow", []access.NetworkRule{allow(1, `net.dst.geo.country != "US"`), block(2, "")}, web, access.NetworkBlocked, "block"},
		{"unknown and False is False", []access.NetworkRule{block(1, `net.dst.geo.country == "US" and net.dst.port == 22`)}, web, access.Allowed, ""},
		{"a block that does not compile blocks", []access.NetworkRule{block(1, "net.dst.ip in $gone")}, web, access.NetworkBlocked, "blocknet.dst.ip in $gone"},
		{"an allow that does not compile allows nothing", []access.NetworkRule{allow(1, "("), block(2, "")}, web, access.NetworkBlocked, "block"},
		{"another action blocks", []access.NetworkRule{netRule(1, "l4_override", "net.dst.port == 443")}, web, access.NetworkBlocked, "l4_overridenet.dst.port == 443"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := access.Compile(ruleInput(tt.rules...))
			if err != nil {
				t.Fatal(err)
			}
			id, dev := &access.Identity{UserID: "u", Email: "jdoe@company.com"}, &access.Device{ID: "d", FailedChecks: []string{"disk"}}
			d := access.Evaluate(s, access.Query{Identity: id, Device: dev, VNET: ruleNet, Destination: tt.to, Transport: targets.TransportTCP})
			by := ""
			if d.NetworkRule != nil {
				by = d.NetworkRule.ID
			}
			if d.Reason != tt.want || d.Allow != (tt.want == access.Allowed) || by != tt.by {
				t.Errorf("%s by rule %q, want %s by %q", d.Reason, by, tt.want, tt.by)
			}
			if tt.want == access.NetworkBlocked && !strings.Contains(d.Message(), "not today") {
				t.Errorf("message %q does not give the rule's reason", d.Message())
			}
		})
	}
}

// The list shows a target at a port when one of its addresses is let through, and the users with it.
func TestEntries_NetworkRules(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []access.NetworkRule
		want  []uint16
		users int
	}{
		{"none", nil, []uint16{22, 443}, 1},
		{"one address is left", []access.NetworkRule{netRule(1, "block", `net.vnet_id == "net-a"`)}, []uint16{22, 443}, 0},
		{"a port", []access.NetworkRule{netRule(1, "block", "net.dst.port == 443")}, []uint16{22}, 1},
		{"everything", []access.NetworkRule{netRule(1, "block", "net.dst.ip in {0.0.0.0/0 ::/0}")}, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := access.Compile(ruleInput(tt.rules...))
			if err != nil {
				t.Fatal(err)
			}
			id, dev := &access.Identity{UserID: "u", Email: "jdoe@company.com"}, &access.Device{ID: "d"}
			var ports []uint16
			for _, e := range access.Entries(s, id, dev) {
				ports = append(ports, e.Port)
			}
			if diff := cmp.Diff(tt.want, ports); diff != "" {
				t.Error(diff)
			}
			q := access.Query{Identity: id, Device: dev, VNET: ruleNet, Destination: netip.MustParseAddrPort("10.0.0.5:22"), Transport: targets.TransportTCP}
			if got := access.Grants(s, q); len(got) != tt.users {
				t.Errorf("%d users, want %d", len(got), tt.users)
			}
		})
	}
}

func TestCompile_NetworkRuleProblems(t *testing.T) {
	s, err := access.Compile(ruleInput(netRule(1, "block", "net.dst.port = 1"), netRule(2, "off", "")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range s.Problems() {
		got = append(got, p.Error())
	}
	if len(got) != 2 || !strings.Contains(got[0], "traffic: at offset 13: unexpected character '='") || !strings.Contains(got[1], `action "off"`) {
		t.Errorf("problems %q", got)
	}
}

func TestNetworkRule_Validate(t *testing.T) {
	lists := ruleInput().Lists
	for _, tt := range []struct {
		rule access.NetworkRule
		want string // "" for right
	}{
		{netRule(1, "allow", "access.target"), ""},
		{netRule(1, "block", "net.dst.ip in $aa11"), ""},
		{netRule(1, "block", "net.dst.ip in $bb"), `traffic: at offset 15: there is no list "bb"`},
		{netRule(1, "l4_override", ""), `action "l4_override": network rules allow or block`},
		{access.NetworkRule{Action: "allow", Identity: "identity.mail"}, `identity: at offset 0: unknown field "identity.mail"`},
		{access.NetworkRule{Action: "allow", DevicePosture: "any("}, "device_posture: at offset 4: expected a field, found the end"},
	} {
		err := tt.rule.Validate(lists)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.rule, err, tt.want)
		}
	}
	uuid := access.NetworkRule{Traffic: "net.dst.ip in $0b1c2d3e00004000800000000000000a"}
	if !uuid.Names("0B1C2D3E-0000-4000-8000-00000000000A") || uuid.Names("0b1c2d3e-0000-4000-8000-00000000000b") {
		t.Error("a list is named with and without hyphens alike")
	}
	r := access.NetworkRule{Traffic: "net.dst.ip in $BB or net.src.ip in $aa", Identity: "identity.email in $aa", DevicePosture: "("}
	if diff := cmp.Diff([]string{"aa", "bb"}, r.ListsOf()); diff != "" {
		t.Error(diff)
	}
}

func TestEvaluate_NetworkRulesAllocateNothing(t *testing.T) {
	s, err := access.Compile(ruleInput(netRule(1, "block", `net.dst.port == 1 or identity.email == "x@y.z"`), netRule(2, "allow", "access.target")))
	if err != nil {
		t.Fatal(err)
	}
	q := access.Query{
		Identity: &access.Identity{UserID: "u", Email: "jdoe@company.com"}, Device: &access.Device{ID: "d"}, VNET: ruleNet,
		Destination: netip.MustParseAddrPort("10.0.0.5:443"), Transport: targets.TransportTCP,
	}
	if n := testing.AllocsPerRun(1000, func() {
		if !access.Evaluate(s, q).Allow {
			t.Fatal("denied")
		}
	}); n >= 1 { // the pool may be emptied by a collection, and drops some under the race detector
		t.Errorf("%v allocations", n)
	}
}
