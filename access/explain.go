package access

// Explanation is why one policy answered a query as it did. It names rules, so
// it is for administrators, not for the user.
type Explanation struct {
	Application *Application
	Policy      *Policy
	// Reason is Allowed, LoginNotPermitted, RequireMissing, Excluded or NoPolicy.
	Reason Reason
	// Rule is the rule that decided: the first include rule that matches (Allowed,
	// LoginNotPermitted), the first require rule that does not (RequireMissing), or
	// the first exclude rule that does (Excluded). It is zero for NoPolicy, when no
	// include rule matches.
	Rule Rule
	// Unknown says that Rule could not be evaluated, and therefore denied.
	Unknown bool
}

// Explain goes through every policy that has a say in q, in the order of
// evaluation, beyond the one that decided. There are none when the decision fell
// before policies were looked at. It is not made for the data path.
func Explain(s *Snapshot, q Query) (Decision, []Explanation) {
	d := Evaluate(s, q)
	if d.Application == nil {
		return d, nil
	}
	var at Decision
	c, reason := s.locate(&at, q)
	if reason != Allowed {
		return d, nil
	}
	sub := s.subject(q.Identity, q.Device)
	list := make([]Explanation, 0, len(c.policies))
	for _, n := range c.policies {
		list = append(list, s.explain(c, &s.policies[n], &sub, q.Login))
	}
	return d, list
}

// explain answers for one policy, rule by rule.
func (s *Snapshot) explain(c *cover, p *policy, sub *subject, login string) Explanation {
	src := p.source
	e := Explanation{Application: c.application(p.app), Policy: src, Reason: outcome{verdict: p.decide(c, sub, login)}.reason()}
	switch e.Reason {
	case Allowed, LoginNotPermitted:
		e.Rule, _ = s.firstRule(src.Include, sub, func(t truth) bool { return t == yes })
	case RequireMissing:
		e.Rule, e.Unknown = s.firstRule(src.Require, sub, func(t truth) bool { return t != yes })
	case Excluded:
		e.Rule, e.Unknown = s.firstRule(src.Exclude, sub, func(t truth) bool { return t != no })
	default:
	}
	return e
}

// firstRule returns the first rule whose answer is wanted.
func (s *Snapshot) firstRule(rules []Rule, sub *subject, wanted func(truth) bool) (r Rule, isUnknown bool) {
	for _, r := range rules {
		one := newRuleSet([]Rule{r}, s.refs())
		if t := one.any(sub); wanted(t) {
			return r, t == unknown
		}
	}
	return Rule{}, false
}
