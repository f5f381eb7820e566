package access

import (
	"fmt"
	"slices"

	"weft/targets"
)

// ApplicationTrace says whether an application has a say in a query, and how each of its policies answered. It names
// rules of everybody, so it is for administrators.
type ApplicationTrace struct {
	Application *Application
	// Missed says why the application does not cover the destination; empty when it does.
	Missed   string
	Policies []PolicyTrace // of one that covers it, in the order of evaluation
}

// PolicyTrace is how one policy answered.
type PolicyTrace struct {
	Policy *Policy
	Reason Reason // as in Explanation
	Rules  []RuleTrace
}

// RuleTrace is how one rule answered.
type RuleTrace struct {
	List   string // include, require or exclude
	Rule   Rule
	Answer string // yes, no or unknown
	Name   string // of the rule group or list that the rule refers to; empty when it is not there
}

// Trace looks at every one of apps, in their order, and at every rule of those that have a say, beyond what decided.
// Nothing is evaluated for an identity or device that is nil. It is not made for the data path.
func Trace(s *Snapshot, apps []Application, q Query) []ApplicationTrace {
	out := make([]ApplicationTrace, 0, len(apps))
	var d Decision
	var c *cover
	if s != nil {
		c, _ = s.locate(&d, q)
	}
	for i := range apps {
		t := ApplicationTrace{Application: &apps[i]}
		if t.Missed = missed(&apps[i], d.Target, q); t.Missed == "" && c != nil && q.Identity != nil && q.Device != nil {
			t.Policies = s.tracePolicies(c, apps[i].ID, q)
		}
		out = append(out, t)
	}
	return out
}

// missed says why an application does not cover the target at the destination's port.
func missed(a *Application, t *targets.Target, q Query) string {
	if t == nil {
		return "there is no target at this address"
	}
	port := q.Destination.Port()
	why := "its criteria do not select the target"
	for i := range a.Criteria {
		cr := &a.Criteria[i]
		switch {
		case !cr.Matches(t):
		case cr.Port != port:
			why = fmt.Sprintf("it covers the target at port %d (%s), not at port %d", cr.Port, cr.Protocol, port)
		case !cr.Protocol.Carries(q.Transport):
			return fmt.Sprintf("at port %d it covers the target for %s, which %s does not carry", port, cr.Protocol, q.Transport)
		default:
			return ""
		}
	}
	return why
}

func (s *Snapshot) tracePolicies(c *cover, app string, q Query) []PolicyTrace {
	sub := s.subject(q.Identity, q.Device)
	var out []PolicyTrace
	for _, n := range c.policies {
		p := &s.policies[n]
		if c.application(p.app).ID != app {
			continue
		}
		t := PolicyTrace{Policy: p.source, Reason: outcome{verdict: p.decide(c, &sub, q.Login)}.reason()}
		t.Rules = s.traceRules(t.Rules, "include", p.source.Include, &sub)
		t.Rules = s.traceRules(t.Rules, "require", p.source.Require, &sub)
		t.Rules = s.traceRules(t.Rules, "exclude", p.source.Exclude, &sub)
		out = append(out, t)
	}
	return out
}

func (s *Snapshot) traceRules(out []RuleTrace, list string, rules []Rule, sub *subject) []RuleTrace {
	for _, r := range rules {
		one := newRuleSet([]Rule{r}, s.refs())
		answer := "unknown"
		switch one.any(sub) {
		case yes:
			answer = "yes"
		case no:
			answer = "no"
		case unknown:
		}
		out = append(out, RuleTrace{List: list, Rule: r, Answer: answer, Name: s.nameOf(r)})
	}
	return out
}

// nameOf is the name of what a rule refers to.
func (s *Snapshot) nameOf(r Rule) string {
	if id, ok := r.GroupID(); ok {
		if i := slices.IndexFunc(s.input.Groups, func(g RuleGroup) bool { return g.ID == id }); i >= 0 {
			return s.input.Groups[i].Name
		}
	}
	if id, _, ok := r.ListID(); ok {
		if i := slices.IndexFunc(s.input.Lists, func(l List) bool { return l.ID == id }); i >= 0 {
			return s.input.Lists[i].Name
		}
	}
	return ""
}
