package access_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weft/access"
	"weft/internal/kind"
	"weft/targets"
)

// says fails unless err is of kind k, says text and points at pointer.
func says(t *testing.T, err error, k kind.Kind, pointer, text string) {
	t.Helper()
	e, ok := errors.AsType[*kind.Error](err)
	if !ok || e.Kind != k || e.Pointer != pointer || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%+v); want a %s error at %s that says %q", err, e, k, pointer, text)
	}
}

func TestApplication_Validate(t *testing.T) {
	tests := []struct {
		name          string
		change        func(*access.Application, *access.Policy)
		pointer, says string
	}{
		{"no name", func(a *access.Application, _ *access.Policy) { a.Name = "" }, "/name", "the name of an application must be"},
		{"a control character in the name", func(a *access.Application, _ *access.Policy) { a.Name = "a\x1b[2J" }, "/name", "without control characters"},
		{"no criteria", func(a *access.Application, _ *access.Policy) { a.Criteria = nil }, "/target_criteria", "needs target criteria"},
		{"too many criteria", func(a *access.Application, _ *access.Policy) { a.Criteria = make([]targets.Criteria, 201) }, "/target_criteria", "can have 200"},
		{"bad criteria", func(a *access.Application, _ *access.Policy) {
			a.Criteria = append(a.Criteria, onHost(0, targets.SSH, "web"))
		}, "/target_criteria/1/port", "1 to 65535"},
		{"a port with two protocols", func(a *access.Application, _ *access.Policy) {
			a.Criteria = append(a.Criteria, onHost(22, targets.TCP, "another-host"))
		}, "/target_criteria/1/port", "port 22 carries both SSH and TCP"},
		{"too many policies", func(a *access.Application, _ *access.Policy) { a.Policies = make([]access.Policy, 1001) }, "/policies", "can have 1000"},
		{"a policy without a name", func(_ *access.Application, p *access.Policy) { p.Name = "" }, "/policies/1/name", "the name of a policy"},
		{"deny", func(_ *access.Application, p *access.Policy) { p.Decision = "deny" }, "/policies/1/decision", `must be "allow", not "deny"`},
		{"bypass", func(_ *access.Application, p *access.Policy) { p.Decision = "bypass" }, "/policies/1/decision", "must be"},
		{"no decision", func(_ *access.Application, p *access.Policy) { p.Decision = "" }, "/policies/1/decision", "must be"},
		{"allow in another case", func(_ *access.Application, p *access.Policy) { p.Decision = "Allow" }, "/policies/1/decision", "must be"},
		{"a negative precedence", func(_ *access.Application, p *access.Policy) { p.Precedence = -1 }, "/policies/1/precedence", "negative"},
		{"one precedence twice", func(_ *access.Application, p *access.Policy) { p.Precedence = 1 }, "/policies/1/precedence", "policy precedences must be unique"},
		{"one ID twice", func(_ *access.Application, p *access.Policy) { p.ID = "p1" }, "/policies/1/id", "two policies have the ID p1"},
		{"nobody included", func(_ *access.Application, p *access.Policy) { p.Include = nil }, "/policies/1/include", "at least one include rule"},
		{"too many rules", func(_ *access.Application, p *access.Policy) { p.Require = make([]access.Rule, 1001) }, "/policies/1/require", "can hold 1000"},
		{"a bad include rule", func(_ *access.Application, p *access.Policy) {
			p.Include = append(p.Include, access.EmailRule("nobody"))
		}, "/policies/1/include/1/email/email", "an e-mail address"},
		{"a bad require rule", func(_ *access.Application, p *access.Policy) {
			p.Require = []access.Rule{mustRule(`{"common_name":{"common_name":"x"}}`)}
		}, "/policies/1/require/0/common_name", "is not supported"},
		{"a bad exclude rule", func(_ *access.Application, p *access.Policy) { p.Exclude = make([]access.Rule, 1) }, "/policies/1/exclude/0", "without a selector"},
		{"a bad UNIX user", func(_ *access.Application, p *access.Policy) { p.SSH = ssh("root", "a b") }, "/policies/1/connection_rules/ssh/usernames/1", "is not a UNIX user"},
		{"too many UNIX users", func(_ *access.Application, p *access.Policy) { p.SSH = ssh(make([]string, 1001)...) }, "/policies/1/connection_rules/ssh/usernames", "can grant 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := demo().Applications[0]
			a.Policies = append(a.Policies, access.Policy{ID: "p2", Name: "second", Decision: "allow", Precedence: 2, Include: []access.Rule{access.Everyone()}})
			if err := a.Validate(); err != nil {
				t.Fatal(err)
			}
			tt.change(&a, &a.Policies[1])
			says(t, a.Validate(), kind.Invalid, tt.pointer, tt.says)
		})
	}
}

func TestApplication_ValidateAccepts(t *testing.T) {
	a := demo().Applications[0]
	a.Policies = nil
	if err := a.Validate(); err != nil {
		t.Errorf("no policies: %v", err)
	}
	a.Criteria = []targets.Criteria{onHost(22, targets.SSH, "a"), onHost(22, targets.SSH, "b"), onHost(2222, targets.SSH, "a"), onHost(5432, targets.Postgres, "a")}
	without := access.Policy{Name: "p", Decision: "allow", Include: []access.Rule{access.Everyone()}}
	empty := without
	empty.SSH = &access.SSHRules{}
	a.Policies = []access.Policy{without, empty}
	if err := a.Validate(); err != nil {
		t.Errorf("policies without precedence, IDs and users: %v", err)
	}
}

func TestCheckPorts(t *testing.T) {
	others := []access.Application{
		{ID: "a1", Name: "servers", Criteria: []targets.Criteria{onHost(22, targets.SSH, "web"), onHost(80, targets.HTTP, "web")}},
		{ID: "a2", Name: "databases", Criteria: []targets.Criteria{onHost(5432, targets.Postgres, "db")}},
	}
	app := func(id string, criteria ...targets.Criteria) *access.Application {
		return &access.Application{ID: id, Name: "candidate", Criteria: criteria}
	}
	says(t, access.CheckPorts(app("", onHost(443, targets.HTTPS, "x"), onHost(5432, targets.TCP, "x")), others),
		kind.Conflict, "/target_criteria/1/port", `port 5432 already carries POSTGRES in application "databases" (a2); it cannot carry TCP as well`)
	says(t, access.CheckPorts(app("a2", onHost(80, targets.SSH, "db")), others), kind.Conflict, "/target_criteria/0/port", `"servers" (a1)`)
	for name, free := range map[string]*access.Application{
		"the same pairing": app("", onHost(22, targets.SSH, "other"), onHost(5432, targets.Postgres, "other")),
		"its own old port": app("a2", onHost(5432, targets.TCP, "db")),
		"a free port":      app("", onHost(23, targets.TCP, "web")),
	} {
		if err := access.CheckPorts(free, others); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func group(n int, refers ...string) access.RuleGroup {
	g := access.RuleGroup{ID: fmt.Sprintf("g%d", n), Name: fmt.Sprintf("group %d", n), Include: []access.Rule{access.Everyone()}}
	for _, id := range refers {
		g.Exclude = append(g.Exclude, access.GroupRule(id))
	}
	return g
}

func TestCheckGroups(t *testing.T) {
	chain := func(n int) []access.RuleGroup { // g0 > g1 > ...
		var gs []access.RuleGroup
		for i := range n {
			gs = append(gs, group(i, fmt.Sprintf("g%d", i+1)))
		}
		return gs
	}
	reversed := chain(access.MaxGroupDepth + 1)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	if err := access.CheckGroups(chain(access.MaxGroupDepth)); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
	if err := access.CheckGroups([]access.RuleGroup{group(0, "g1", "g2"), group(1, "g3"), group(2, "g3", "gone"), group(3)}); err != nil {
		t.Errorf("two ways to one group: %v", err)
	}
	says(t, access.CheckGroups(chain(access.MaxGroupDepth+1)), kind.Invalid, "", "8 deep; this is deeper")
	says(t, access.CheckGroups(reversed), kind.Invalid, "", "8 deep; this is deeper")
	says(t, access.CheckGroups([]access.RuleGroup{group(0, "g0")}), kind.Invalid, "", `circle: "group 0" > "group 0"`)
	says(t, access.CheckGroups([]access.RuleGroup{group(0, "g1"), group(1, "g2"), group(2, "g1")}), kind.Invalid, "", `circle: "group 1" > "group 2" > "group 1"`)
	says(t, access.CheckGroups([]access.RuleGroup{group(0), group(0)}), kind.Conflict, "", "have the same ID g0")
	in := demo()
	in.Groups = chain(access.MaxGroupDepth + 1)
	if _, err := access.Compile(in); !kind.Is(err, kind.Invalid) {
		t.Errorf("compiled: %v", err)
	}
}

func TestRuleGroup_Validate(t *testing.T) {
	g := group(0)
	if err := g.Validate(); err != nil {
		t.Error(err)
	}
	g.Include = nil
	says(t, g.Validate(), kind.Invalid, "/include", "at least one include rule")
	g = group(0)
	g.Require = []access.Rule{mustRule(`{"email_lists":{"id":"x"}}`)}
	says(t, g.Validate(), kind.Invalid, "/require/0/email_lists", "is unknown")
	g = group(0)
	g.Name = ""
	says(t, g.Validate(), kind.Invalid, "/name", "rule group")
}
