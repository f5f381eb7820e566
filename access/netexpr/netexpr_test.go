package netexpr_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/access/netexpr"
)

// office is a flow of which everything is known that can be.
func office() *netexpr.Flow {
	return &netexpr.Flow{
		AccessTarget: true, Destination: netip.MustParseAddrPort("10.20.0.5:22"),
		Source: netip.MustParseAddrPort("198.51.100.7:40000"), InternalSource: netip.MustParseAddr("100.64.0.1"),
		SourceCountry: "CH", Protocol: "tcp", VNET: "c77b744e-acc8-428f-9257-6878c046ed55",
		IdentityKnown: true, Email: "Jdoe@Company.com", Name: "Jane Doe",
		Groups:       []netexpr.Group{{ID: "G1", Name: "ops", Email: "ops@company.com"}, {ID: "g2", Name: "Dev"}},
		SAML:         map[string][]string{"dept": {"it", "infra"}},
		PostureKnown: true, PassedChecks: []string{"P1"}, FailedChecks: []string{},
	}
}

var lists = netexpr.Lists{
	"11aa": {"10.20.0.0/16", "192.0.2.1", "2001:db8::/32"},
	"22bb": {"Jdoe@Company.com"},
	"33cc": {"80", "22"},
	"none": {},
}

func TestEval(t *testing.T) {
	const f, u, tr = netexpr.False, netexpr.Unknown, netexpr.True
	for _, tt := range []struct {
		src  string
		want netexpr.Truth
	}{
		{"", tr},
		{" \n\t", tr},
		{"access.target", tr},
		{"not access.target", f},
		{"access.target == false", f},
		{"access.target != false", tr},
		{"access.private_app", f},
		{"net.dst.ip == 10.20.0.5", tr},
		{"net.dst.ip eq 10.20.0.6", f},
		{"net.dst.ip == 10.0.0.0/8", tr},
		{"net.dst.ip != 10.0.0.0/8", f},
		{"net.dst.ip in {10.0.0.0/8 192.168.0.0/16}", tr},
		{"net.dst.ip in {10.20.0.1..10.20.0.4}", f},
		{"net.dst.ip in {10.20.0.1..10.20.0.5}", tr},
		{"net.dst.ip not in {10.0.0.0/8}", f},
		{"net.dst.ip in {::/0}", f},
		{"net.dst.ip in {0.0.0.0/0}", tr},
		{"net.dst.ip >= 10.20.0.5 and net.dst.ip < 10.20.0.6", tr},
		{"net.dst.ip > ::", f},
		{"net.dst.ip in $11AA", tr},
		{"net.dst.ip not in $11aa", f},
		{"net.dst.ip in $none", f},
		{"identity.email in $22bb", tr},
		{"net.dst.port in $33cc", tr},
		{"net.dst.port == 22", tr},
		{"net.dst.port in {20..21 23}", f},
		{"net.dst.port in {23 20..21 22}", tr},
		{"net.dst.port not in {22}", f},
		{"net.dst.port lt 22", f},
		{"net.dst.port <= 22", tr},
		{"net.dst.port > 22", f},
		{"net.dst.port ge 22", tr},
		{`net.protocol == "tcp"`, tr},
		{`net.protocol == "TCP"`, f},
		{`net.vnet_id == "C77B744E-acc8-428f-9257-6878c046ed55"`, tr},
		{`net.src.ip in {198.51.100.0/24} && net.src.geo.country in {"CH" "DE"}`, tr},
		{`net.src.internal_src_ip == 100.64.0.0/10`, tr},
		{`net.sni.host == "example.com"`, u},
		{`not net.sni.host == "example.com"`, u},
		{`any(net.sni.domains[*] == "example.com")`, u},
		{`any(net.fqdn.content_category[*] in {1 2})`, u},
		{`net.dst.geo.country == "US"`, u},
		{`net.sni.host == "a" and net.dst.port == 23`, f},
		{`net.sni.host == "a" or net.dst.port == 22`, tr},
		{`net.sni.host == "a" xor net.dst.port == 22`, u},
		{`identity.email == "JDOE@company.com"`, tr},
		{`identity.email matches "^[a-z]+@company\\.com$"`, tr},
		{`identity.email ~ "gmail"`, f},
		{`identity.email contains "@COMPANY."`, tr},
		{`identity.name == "jane doe"`, f},
		{`identity.name matches "^Jane"`, tr},
		{`any(identity.groups[*].id in {"g1"})`, tr},
		{`any(identity.groups[*].name == "dev")`, f},
		{`any(identity.groups[*].name in {"x" "Dev"})`, tr},
		{`all(identity.groups[*].name in {"ops" "Dev"})`, tr},
		{`all(identity.groups[*].name == "ops")`, f},
		{`any(identity.groups[*].email == "ops@company.com")`, tr},
		{`any(identity.groups[*].name != "ops")`, tr},
		{`all(identity.groups[*].name not in {"root"})`, tr},
		{`any(identity.saml_attributes["dept"][*] == "infra")`, tr},
		{`any(identity.saml_attributes["team"][*] == "infra")`, f},
		{`any(device_posture.checks.passed[*] in {"p1"})`, tr},
		{`any(device_posture.checks.failed[*] in {"p1"})`, f},
		{`access.target or access.private_app and net.dst.port == 23`, tr}, // and binds tighter
		{`(access.target or access.private_app) and net.dst.port == 23`, f},
		{`access.target xor access.target or access.target`, tr}, // xor binds tighter than or
		{`!access.target || !!access.target`, tr},
		{`access.target ^^ access.private_app`, tr},
	} {
		t.Run(tt.src, func(t *testing.T) {
			e, err := netexpr.Parse(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			if e.String() != tt.src {
				t.Errorf("text %q", e.String())
			}
			p, err := e.Compile(lists)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Eval(office()); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// Of a flow of which nothing is known, only what is always known is True or False.
func TestEval_NothingKnown(t *testing.T) {
	always := map[string]bool{"access.target": true, "access.private_app": true}
	tests := map[string]string{
		"net.dst.ip": "net.dst.ip not in {10.0.0.0/8}", "net.src.ip": "net.src.ip != 10.0.0.1",
		"net.src.internal_src_ip": "net.src.internal_src_ip >= 10.0.0.1", "net.dst.port": "net.dst.port < 22", "net.src.port": "net.src.port != 22",
	}
	for _, name := range netexpr.Fields() {
		src := tests[name]
		switch {
		case always[name]:
			continue
		case strings.HasSuffix(name, "category[*]"):
			src = "any(" + name + " in {1})"
		case strings.Contains(name, "[*]"):
			src = "all(" + name + ` != "x")`
		case src == "":
			src = name + ` != "x"`
		}
		e, err := netexpr.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		p, err := e.Compile(nil)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if got := p.Eval(&netexpr.Flow{}); got != netexpr.Unknown {
			t.Errorf("%s: %s, want unknown", src, got)
		}
	}
	var none *netexpr.Program
	if none.Eval(office()) != netexpr.Unknown {
		t.Error("a nil program knows something")
	}
}

func TestParse_Errors(t *testing.T) {
	long := strings.Repeat("(", 100) + "access.target" + strings.Repeat(")", 100)
	for _, tt := range []struct {
		src    string
		offset int
		want   string
	}{
		{"net.dst.ip", 10, "expected an operator (==, !=, <, <=, >, >=, in), found the end"},
		{"net.dst.ip == ", 14, "expected an address, found the end"},
		{"net.dst.ip == 10.0.0.256", 14, "'10.0.0.256' is not an address"},
		{`net.dst.ip == "10.0.0.1"`, 14, "an address stands without quotes: 10.0.0.1"},
		{"net.dst.ip in {10.0.0.1/8}", 15, "'10.0.0.1/8' has bits set behind its length; the prefix is 10.0.0.0/8"},
		{"net.dst.ip in {10.0.0.9..10.0.0.1}", 15, "the range 10.0.0.9..10.0.0.1 is empty"},
		{"net.dst.ip in {10.0.0.1 ::1..::ffff:10.0.0.1}", 24, "the range ::1..::ffff:10.0.0.1 goes from IPv6"},
		{"net.dst.ip in {::ffff:10.0.0.1..::1:0:0:1}", 15, "the range ::ffff:10.0.0.1..::1:0:0:1 goes from IPv6"},
		{"net.dst.ip in {}", 15, "the set is empty"},
		{"net.dst.ip in {10.0.0.1", 23, "expected an address, found the end"},
		{"net.dst.ip < 10.0.0.0/8", 13, "a prefix can only be compared with ==, != and in"},
		{"net.dst.ip in 10.0.0.0/8", 14, "expected '{' or '$' behind 'in', found '10.0.0.0/8'"},
		{"net.dst.ip in $", 15, "expected the ID of a list behind '$', found the end"},
		{"net.dst.port == http", 16, "'http' is not a number"},
		{"net.dst.port == 1..5", 16, "a range can only stand in a set: in {1..5}"},
		{"net.dst.port in {5..1}", 17, "the range 5..1 is empty"},
		{`net.dst.port matches "2"`, 13, "'matches' cannot be asked of net.dst.port, which is a number: ==, !=, <, <=, >, >=, in"},
		{"net.dst.prot == 1", 0, "unknown field \"net.dst.prot\"; the fields are: access.private_app"},
		{"identity.groups == 1", 0, "identity.groups has no member \"\""},
		{"any(identity.groups[*].nme == \"x\")", 4, "identity.groups has no member \"nme\""},
		{`identity.email == jdoe`, 18, "expected a string in double quotes, found 'jdoe'"},
		{`identity.email == "jdoe`, 18, "the string has no closing quote"},
		{`identity.email == "\q"`, 19, `unknown escape \q; a backslash itself is written \\`},
		{`identity.email == "\x0g"`, 19, `\x needs two hexadecimal digits`},
		{`identity.email == "\xff"`, 18, "the string is not UTF-8"},
		{`identity.email matches "("`, 23, "the pattern is not RE2 syntax: missing closing ): \"(\""},
		{`identity.email matches "(a{500}){500}"`, 23, "the pattern is not RE2 syntax: invalid repeat count"},
		{`identity.email matches "` + strings.Repeat("[a-z]{999}", 5) + `"`, 23, "the pattern is too complex"},
		{`identity.email < "a"`, 15, "'<' cannot be asked of identity.email, which is a string"},
		{`device_posture.checks.passed == "x"`, 0, "device_posture.checks.passed has many values: ask any("},
		{`any(net.dst.port == 22)`, 4, "net.dst.port has one value: any, all and [*] are for fields with many"},
		{`any(device_posture.checks.passed == "x")`, 4, "device_posture.checks.passed has many values"},
		{`any(identity.saml_attributes[*] == "x")`, 4, "identity.saml_attributes needs a key"},
		{`any(identity.saml_attributes[1][*] == "x")`, 29, "expected a key in double quotes, found '1'"},
		{`net.dst.port["a"] == 1`, 0, "net.dst.port takes no key in brackets"},
		{"access.target and", 17, "expected a field, 'not', 'any', 'all' or '(', found the end"},
		{"access.target access.target", 14, "expected 'and', 'or' or the end, found 'access.target'"},
		{"(access.target", 14, "expected ')' to close the parenthesis, found the end"},
		{"access.target)", 13, "expected 'and', 'or' or the end, found ')'"},
		{"access.target == 1", 17, "expected true or false, found '1'"},
		{"net.dst.port not 22", 17, "expected 'in' behind 'not', found '22'"},
		{"access.target %", 14, "unexpected character '%'"},
		{long, 65, "more than 64 parentheses and nots inside each other"},
		{strings.Repeat("a", netexpr.MaxLength+1), netexpr.MaxLength, "longer than 16384 bytes"},
		{strings.Repeat("access.target||", 1050) + "access.target", -1, "more than 1000 comparisons"},
	} {
		t.Run(tt.src[:min(len(tt.src), 40)], func(t *testing.T) {
			_, err := netexpr.Parse(tt.src)
			at, ok := errors.AsType[*netexpr.SyntaxError](err)
			if !ok {
				t.Fatalf("error %v, want a SyntaxError", err)
			}
			if !strings.HasPrefix(at.Message, tt.want) || tt.offset >= 0 && at.Offset != tt.offset {
				t.Errorf("at %d: %s\nwant at %d: %s", at.Offset, at.Message, tt.offset, tt.want)
			}
		})
	}
}

func TestCompile_Lists(t *testing.T) {
	e, err := netexpr.Parse("net.dst.ip in $22bb or net.dst.ip in $11aa or net.dst.ip in $11AA")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"11aa", "22bb"}, e.Lists()); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct{ src, want string }{
		{"access.target or net.dst.ip in $22bb", `at offset 32: list "22bb" holds "Jdoe@Company.com", which is not an address`},
		{"net.dst.port in $11aa", `at offset 17: list "11aa" holds "10.20.0.0/16", which is not a number`},
		{"net.dst.port in $gone", `at offset 17: there is no list "gone"`},
	} {
		e, err := netexpr.Parse(tt.src)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Compile(lists)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.src, err, tt.want)
		}
		if got := p.Eval(office()); got != netexpr.Unknown {
			t.Errorf("%s: what does not compile is %s", tt.src, got)
		}
	}
}

// raceDetector says that the race detector watches: it has sync.Pool, which regexp uses, lose things on purpose.
var raceDetector = false

func TestEval_AllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("pools lose things under the race detector")
	}
	p := program(t, everyKind)
	f := office()
	if p.Eval(f) != netexpr.True {
		t.Fatal("does not match")
	}
	if n := testing.AllocsPerRun(100, func() { p.Eval(f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const everyKind = `access.target and net.dst.ip in {192.168.0.0/16 10.0.0.0/8} and net.dst.port in {1..21 22} and net.protocol == "tcp"` +
	` and identity.email == "jdoe@company.com" and any(identity.groups[*].name in {"x" "Dev"}) and identity.name matches "^J.*e$"` +
	` and any(device_posture.checks.passed[*] == "p1") and any(identity.saml_attributes["dept"][*] == "infra") and not net.src.ip in $11aa`

func program(tb testing.TB, src string) *netexpr.Program {
	tb.Helper()
	e, err := netexpr.Parse(src)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := e.Compile(lists)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func BenchmarkEval(b *testing.B) {
	p, f := program(b, everyKind), office()
	b.ReportAllocs()
	for b.Loop() {
		p.Eval(f)
	}
}

// BenchmarkEval_Set shows that a set of ten thousand prefixes costs no more than its logarithm.
func BenchmarkEval_Set(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf("10.%d.%d.0/25", i>>8&0xff, i&0xff)
		}
		e, err := netexpr.Parse("net.dst.ip in $set")
		if err != nil {
			b.Fatal(err)
		}
		p, err := e.Compile(netexpr.Lists{"set": items})
		if err != nil {
			b.Fatal(err)
		}
		f := office()
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				p.Eval(f)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := netexpr.Parse(everyKind); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{everyKind, "", "access.target", `any(identity.saml_attributes["a"][*] ~ "b")`, "net.dst.ip in $11aa", "!(net.dst.port in {1..2})"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		e, err := netexpr.Parse(src)
		if err != nil {
			at, ok := errors.AsType[*netexpr.SyntaxError](err)
			if !ok || at.Offset < 0 || at.Offset > len(src) || e != nil {
				t.Fatalf("error %v at %d", err, at.Offset)
			}
			return
		}
		if e.String() != src {
			t.Fatalf("text %q of %q", e, src)
		}
		p, err := e.Compile(lists)
		if err != nil {
			return
		}
		got := p.Eval(office())
		// What it says is turned round by not, and by nothing else.
		if strings.TrimSpace(src) == "" || len(src) > 1000 {
			return
		}
		n, err := netexpr.Parse("not (" + src + ")")
		if err != nil {
			return // one parenthesis too many
		}
		q, err := n.Compile(lists)
		if err != nil || q.Eval(office()) != netexpr.True-got {
			t.Fatalf("%q is %s, and not() of it %s", src, got, q.Eval(office()))
		}
	})
}

// Device profiles know the user and the system, and nothing of flows.
func TestParseProfile(t *testing.T) {
	f := netexpr.Flow{IdentityKnown: true, Email: "jdoe@company.com", Groups: []netexpr.Group{{ID: "g1", Name: "Eng"}}, OSName: "linux"}
	for src, want := range map[string]netexpr.Truth{
		`identity.email == "JDOE@company.com"`: netexpr.True, `identity.email in {"a@b.c"}`: netexpr.False,
		`any(identity.groups.name[*] in {"Eng" "Ops"})`: netexpr.True, `any(identity.groups[*].id == "G1")`: netexpr.True, `any(identity.groups.email[*] == "x@y.z")`: netexpr.False,
		`os.name == "Linux" and not identity.name == "x"`: netexpr.Unknown, `os.version == "6.1"`: netexpr.Unknown, ``: netexpr.True,
	} {
		e, err := netexpr.ParseProfile(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		p, err := e.Compile(nil)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := p.Eval(&f); got != want {
			t.Errorf("%s is %s, want %s", src, got, want)
		}
	}
	for _, src := range []string{`net.dst.port == 22`, `access.target`, `any(device_posture.checks.passed[*] == "x")`, `network == "office"`, `os.version >= "6"`, `any(os.name[*] == "x")`} {
		if _, err := netexpr.ParseProfile(src); err == nil {
			t.Errorf("%s is taken", src)
		}
	}
	for _, src := range []string{`os.name == "linux"`, `any(identity.groups.name[*] == "x")`} {
		if _, err := netexpr.Parse(src); err == nil {
			t.Errorf("a network rule takes %s", src)
		}
	}
}
