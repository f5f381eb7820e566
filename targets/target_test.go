package targets_test

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

func address(s string, v vnet.ID) *targets.Address {
	return &targets.Address{Addr: netip.MustParseAddr(s), VNET: v}
}

// says fails unless err is of kind k, says text and points at pointer.
func says(t *testing.T, err error, k kind.Kind, pointer, text string) {
	t.Helper()
	e, ok := errors.AsType[*kind.Error](err)
	if !ok || e.Kind != k || e.Pointer != pointer || !strings.Contains(e.Message, text) {
		t.Errorf("got %v (%+v); want a %s error at %s that says %q", err, e, k, pointer, text)
	}
}

func TestValidateHostname(t *testing.T) {
	for _, s := range []string{"a", "0", "production-server", "Infra-Access-Target", "a..b", "a--b", "a.-b", "10.0.0.1", strings.Repeat("a", 253)} {
		if err := targets.ValidateHostname(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	tests := []struct{ name, hostname, says string }{
		{"empty", "", "must not be empty"},
		{"too long", strings.Repeat("a", 254), "no more than 253 characters; this one has 254"},
		{"a blank", "a b", "may contain only"},
		{"an underscore", "a_b", "may contain only"},
		{"a letter that is not ASCII", "b\u00fccher", "may contain only"},
		{"the Kelvin sign", "\u212Aim", "may contain only"},
		{"a NUL", "a\x00b", "may contain only"},
		{"a line feed", "a\n", "may contain only"},
		{"a wildcard", "*.lan", "may contain only"},
		{"a hyphen first", "-a", "must start and end"},
		{"a hyphen last", "a-", "must start and end"},
		{"a dot first", ".a", "must start and end"},
		{"a dot last", "a.", "must start and end"},
		{"only a dot", ".", "must start and end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			says(t, targets.ValidateHostname(tt.hostname), kind.Invalid, "/hostname", tt.says)
		})
	}
}

// The rule once more, as a pattern.
var hostnamePattern = regexp.MustCompile(`\A[0-9A-Za-z]([-.0-9A-Za-z]{0,251}[0-9A-Za-z])?\z`)

func FuzzHostname(f *testing.F) {
	for _, s := range []string{"", "a", "a-b.c", "-", "a\x00", "\u212A", strings.Repeat("a", 253), strings.Repeat("a", 254)} {
		f.Add(s, "A")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		if got, want := targets.ValidateHostname(s) == nil, hostnamePattern.MatchString(s); got != want {
			t.Fatalf("%q is valid: %v; want %v", s, got, want)
		}
		folded, otherFolded := targets.FoldHostname(s), targets.FoldHostname(other)
		if targets.EqualHostname(s, other) != (folded == otherFolded) {
			t.Fatalf("%q and %q: equal and folded differ", s, other)
		}
		if !targets.EqualHostname(s, folded) || targets.FoldHostname(folded) != folded {
			t.Fatalf("%q folds to %q", s, folded)
		}
	})
}

func TestTarget_Validate(t *testing.T) {
	valid := func() targets.Target {
		return targets.Target{Hostname: "web", IPv4: address("10.0.0.9", "a"), IPv6: address("fd00::9", "b"), Tags: map[string]string{"env": "prod"}}
	}
	tests := []struct {
		name          string
		change        func(*targets.Target)
		pointer, says string
	}{
		{"no address", func(t *targets.Target) { t.IPv4, t.IPv6 = nil, nil }, "/ip", "needs an IPv4 or an IPv6 address"},
		{"a bad hostname", func(t *targets.Target) { t.Hostname = "-" }, "/hostname", "must start and end"},
		{"IPv6 where IPv4 belongs", func(t *targets.Target) { t.IPv4 = address("fd00::9", "a") }, "/ip/ipv4/ip_addr", "is not an IPv4 address"},
		{"IPv4 where IPv6 belongs", func(t *targets.Target) { t.IPv6 = address("10.0.0.9", "a") }, "/ip/ipv6/ip_addr", "is not an IPv6 address"},
		{"IPv4-mapped as IPv6", func(t *targets.Target) { t.IPv6 = address("::ffff:10.0.0.9", "a") }, "/ip/ipv6/ip_addr", "IPv4-mapped"},
		{"IPv4-mapped as IPv4", func(t *targets.Target) { t.IPv4 = address("::ffff:10.0.0.9", "a") }, "/ip/ipv4/ip_addr", "IPv4-mapped"},
		{"a zone", func(t *targets.Target) { t.IPv6 = address("fe80::1%eth0", "a") }, "/ip/ipv6/ip_addr", "has a zone"},
		{"unspecified IPv4", func(t *targets.Target) { t.IPv4 = address("0.0.0.0", "a") }, "/ip/ipv4/ip_addr", "unspecified"},
		{"unspecified IPv6", func(t *targets.Target) { t.IPv6 = address("::", "a") }, "/ip/ipv6/ip_addr", "unspecified"},
		{"multicast", func(t *targets.Target) { t.IPv4 = address("224.0.0.1", "a") }, "/ip/ipv4/ip_addr", "not the address of one machine"},
		{"broadcast", func(t *targets.Target) { t.IPv4 = address("255.255.255.255", "a") }, "/ip/ipv4/ip_addr", "not the address of one machine"},
		{"the zero address", func(t *targets.Target) { t.IPv4 = &targets.Address{VNET: "a"} }, "/ip/ipv4/ip_addr", "must be an IP address"},
		{"no network", func(t *targets.Target) { t.IPv6.VNET = "" }, "/ip/ipv6/virtual_network_id", "needs a virtual network"},
		{"a tag called hostname", func(t *targets.Target) { t.Tags["Hostname"] = "x" }, "/tags", "is taken"},
		{"a tag with '='", func(t *targets.Target) { t.Tags["a=b"] = "x" }, "/tags", "printable text"},
		{"an empty tag key", func(t *targets.Target) { t.Tags[""] = "x" }, "/tags", "printable text"},
		{"an empty tag value", func(t *targets.Target) { t.Tags["a"] = "" }, "/tags", "printable text"},
		{"a control character in a tag", func(t *targets.Target) { t.Tags["a"] = "x\x1b[2J" }, "/tags", "printable text"},
		{"too many tags", func(t *targets.Target) {
			for i := range targets.MaxTags {
				t.Tags[strings.Repeat("k", i+1)] = "v"
			}
		}, "/tags", "can have 50 tags"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tg := valid()
			if err := tg.Validate(); err != nil {
				t.Fatal(err)
			}
			tt.change(&tg)
			says(t, tg.Validate(), kind.Invalid, tt.pointer, tt.says)
		})
	}
}

func TestParseProtocol(t *testing.T) {
	for _, p := range targets.Protocols() {
		for _, s := range []string{string(p), strings.ToLower(string(p))} {
			if got, err := targets.ParseProtocol(s); got != p || err != nil {
				t.Errorf("ParseProtocol(%q) = %q, %v", s, got, err)
			}
		}
		if !p.Known() || targets.Protocol(strings.ToLower(string(p))).Known() {
			t.Errorf("%s: only the upper-case spelling is the protocol", p)
		}
		if p.Terminated() != (p == targets.SSH) {
			t.Errorf("%s: terminated is %v", p, p.Terminated())
		}
		udp := p == targets.UDP || p == targets.RDP
		if p.Carries(targets.TransportUDP) != udp || p.Carries(targets.TransportTCP) != (p != targets.UDP) || p.Carries("") || p.Carries("sctp") {
			t.Errorf("%s runs over the wrong transports", p)
		}
	}
	for _, s := range []string{"", "ssh ", "telnet", "POSTGRE\u017f", strings.Repeat("x", 1000)} {
		_, err := targets.ParseProtocol(s)
		says(t, err, kind.Invalid, "/protocol", "is unknown")
	}
	if targets.Protocol("").Carries(targets.TransportTCP) || targets.Protocol("ssh").Carries(targets.TransportTCP) {
		t.Error("an unknown protocol runs over tcp")
	}
}

func FuzzProtocol(f *testing.F) {
	for _, s := range []string{"SSH", "ssh", "POSTGRE\u017f", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := targets.ParseProtocol(s)
		if (err == nil) != p.Known() || err == nil && !targets.EqualHostname(string(p), s) {
			t.Fatalf("ParseProtocol(%q) = %q, %v", s, p, err)
		}
	})
}

func attributes(k string, vs ...string) targets.Selector { return targets.Selector{k: vs} }

func TestCriteria_Validate(t *testing.T) {
	tests := []struct {
		name          string
		criteria      targets.Criteria
		pointer, says string
	}{
		{"no port", targets.Criteria{Attributes: attributes("hostname", "web"), Protocol: targets.SSH}, "/port", "1 to 65535"},
		{"no protocol", targets.Criteria{Attributes: attributes("hostname", "web"), Port: 22}, "/protocol", "is unknown"},
		{"protocol in lower case", targets.Criteria{Attributes: attributes("hostname", "web"), Port: 22, Protocol: "ssh"}, "/protocol", "upper case"},
		{"no attributes", targets.Criteria{Port: 22, Protocol: targets.SSH}, "/target_attributes", "at least one attribute"},
		{"an attribute without values", targets.Criteria{Attributes: attributes("hostname"), Port: 22, Protocol: targets.SSH}, "/target_attributes/hostname", "needs 1 to 1000 values"},
		{"too many values", targets.Criteria{Attributes: attributes("env", make([]string, 1001)...), Port: 22, Protocol: targets.SSH}, "/target_attributes/env", "it has 1001"},
		{"a bad hostname", targets.Criteria{Attributes: attributes("hostname", "web", "*"), Port: 22, Protocol: targets.SSH}, "/target_attributes/hostname/1", "may contain only"},
		{"an empty tag value", targets.Criteria{Attributes: attributes("env", ""), Port: 22, Protocol: targets.SSH}, "/target_attributes/env/0", "printable text"},
		{"both forms", targets.Criteria{Attributes: attributes("hostname", "web"), Include: []targets.Selector{attributes("hostname", "web")}, Port: 22, Protocol: targets.SSH}, "/target_attributes", "not both"},
		{"nothing included", targets.Criteria{Require: []targets.Selector{attributes("hostname", "web")}, Port: 22, Protocol: targets.SSH}, "/include", "at least one include"},
		{"an empty entry", targets.Criteria{Include: []targets.Selector{attributes("hostname", "web")}, Exclude: []targets.Selector{{}}, Port: 22, Protocol: targets.SSH}, "/exclude/0", "at least one attribute"},
		{"too many entries", targets.Criteria{Include: make([]targets.Selector, 51), Port: 22, Protocol: targets.SSH}, "/include", "can have 50"},
		{"a bad value in an entry", targets.Criteria{Include: []targets.Selector{attributes("env", "ok"), attributes("env", "ok", "")}, Port: 22, Protocol: targets.SSH}, "/include/1/target_attributes/env/1", "printable text"},
		{"hostname in another case", targets.Criteria{Attributes: attributes("Hostname", "web"), Port: 22, Protocol: targets.SSH}, "/target_attributes", "is taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			says(t, tt.criteria.Validate(), kind.Invalid, tt.pointer, tt.says)
		})
	}
	ok := targets.Criteria{Attributes: map[string][]string{"hostname": {"web", "WEB"}, "env": {"prod"}}, Port: 22, Protocol: targets.SSH}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
}

func TestCriteria_Matches(t *testing.T) {
	tg := targets.Target{Hostname: "Web", Tags: map[string]string{"env": "prod", "site": "lis"}}
	tests := []struct {
		name       string
		attributes map[string][]string
		want       bool
	}{
		{"hostname in another case", map[string][]string{"hostname": {"db", "wEB"}}, true},
		{"another hostname", map[string][]string{"hostname": {"web2", "we"}}, false},
		{"a tag", map[string][]string{"env": {"test", "prod"}}, true},
		{"a tag in another case", map[string][]string{"env": {"Prod"}}, false},
		{"all attributes", map[string][]string{"hostname": {"web"}, "env": {"prod"}, "site": {"lis"}}, true},
		{"one attribute fails", map[string][]string{"hostname": {"web"}, "env": {"test"}}, false},
		{"a tag that it lacks", map[string][]string{"owner": {"ops"}}, false},
		{"a tag that it lacks, and an empty value", map[string][]string{"owner": {""}}, false},
		{"no attributes", nil, false},
		{"no values", map[string][]string{"hostname": {}}, false},
		{"no values beside others", map[string][]string{"hostname": {"web"}, "env": nil}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := targets.Criteria{Attributes: tt.attributes, Port: 22, Protocol: targets.SSH}
			if got := c.Matches(&tg); got != tt.want {
				t.Errorf("got %v; want %v", got, tt.want)
			}
		})
	}
}

func TestCriteria_Operators(t *testing.T) {
	tg := targets.Target{Hostname: "Web", Tags: map[string]string{"env": "prod", "site": "lis"}}
	sel := func(list ...targets.Selector) []targets.Selector { return list }
	web, prod, test := attributes("hostname", "wEB"), attributes("env", "prod"), attributes("env", "test")
	tests := []struct {
		name     string
		criteria targets.Criteria
		want     bool
	}{
		{"one of the includes", targets.Criteria{Include: sel(test, web)}, true},
		{"none of the includes", targets.Criteria{Include: sel(test, attributes("hostname", "db"))}, false},
		{"an include with two attributes", targets.Criteria{Include: sel(targets.Selector{"env": {"prod"}, "hostname": {"db"}})}, false},
		{"all requires", targets.Criteria{Include: sel(web), Require: sel(prod, attributes("site", "opo", "lis"))}, true},
		{"one require fails", targets.Criteria{Include: sel(web), Require: sel(prod, test)}, false},
		{"an exclude", targets.Criteria{Include: sel(web), Exclude: sel(test, prod)}, false},
		{"an exclude that does not match", targets.Criteria{Include: sel(web), Exclude: sel(test)}, true},
		{"nothing included", targets.Criteria{Require: sel(web)}, false},
		{"only excluded", targets.Criteria{Exclude: sel(test)}, false},
		{"both forms", targets.Criteria{Attributes: web, Include: sel(web)}, false},
		{"an exclude that says nothing", targets.Criteria{Include: sel(web), Exclude: sel(targets.Selector{})}, false},
		{"an exclude without values", targets.Criteria{Include: sel(web), Exclude: sel(attributes("env"))}, false},
		{"a require that says nothing", targets.Criteria{Include: sel(web), Require: sel(nil)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.criteria.Matches(&tg); got != tt.want {
				t.Errorf("got %v; want %v", got, tt.want)
			}
		})
	}
}

func TestClone_SharesNothing(t *testing.T) {
	tg := targets.Target{Hostname: "web", IPv4: address("10.0.0.9", "a"), IPv6: address("fd00::9", "b"), Tags: map[string]string{"env": "prod"}}
	c := targets.Criteria{Attributes: map[string][]string{"hostname": {"web"}}, Port: 22, Protocol: targets.SSH}
	tgCopy, cCopy := tg.Clone(), c.Clone()
	tg.IPv4.VNET, tg.IPv6.VNET, tg.Tags["env"] = "x", "x", "x"
	c.Attributes["hostname"][0] = "x"
	clear(c.Attributes)
	wantTarget := targets.Target{Hostname: "web", IPv4: address("10.0.0.9", "a"), IPv6: address("fd00::9", "b"), Tags: map[string]string{"env": "prod"}}
	wantCriteria := targets.Criteria{Attributes: map[string][]string{"hostname": {"web"}}, Port: 22, Protocol: targets.SSH}
	if diff := cmp.Diff(wantTarget, tgCopy, cmpAddr); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wantCriteria, cCopy); diff != "" {
		t.Error(diff)
	}
}

var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
