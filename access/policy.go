package access

import (
	"slices"
	"strconv"
	"strings"

	"weft/internal/kind"
)

// DecisionAllow is the only decision of an infrastructure policy.
const DecisionAllow = "allow"

// Limits of what policies and rule groups may hold.
const (
	MaxNameBytes = 350
	MaxRules     = 1000 // in one include, require or exclude list
	MaxUsernames = 1000 // of one policy
)

// Validate checks a policy by itself: name, decision, at least one include rule,
// every rule, every UNIX user. Pointers are relative to the policy's wire form.
func (p *Policy) Validate() error {
	if err := p.validateShape(); err != nil {
		return err
	}
	return validateRules(Rule.Validate, p.Include, p.Require, p.Exclude)
}

// ValidateShared is Validate for a reusable policy, which may hold what Rule.ValidateShared takes as long as no
// infrastructure application refers to it.
func (p *Policy) ValidateShared() error {
	if err := p.validateShape(); err != nil {
		return err
	}
	return validateRules(Rule.ValidateShared, p.Include, p.Require, p.Exclude)
}

// validateShape is Validate without the rules: a rule that cannot be evaluated
// makes a policy grant less, and so does not make it invalid in a snapshot.
func (p *Policy) validateShape() error {
	if err := validateName(p.Name, "a policy"); err != nil {
		return err
	}
	if p.Decision != DecisionAllow {
		return kind.Field("/decision", "the decision of an infrastructure policy must be %q, not %q", DecisionAllow, clip(p.Decision))
	}
	if p.Precedence < 0 {
		return kind.Field("/precedence", "the precedence of a policy must not be negative")
	}
	if err := validateLists(p.Include, p.Require, p.Exclude); err != nil {
		return err
	}
	if p.SSH == nil {
		return nil
	}
	return at("/connection_rules/ssh", p.SSH.Validate())
}

// Validate checks the UNIX users, the forwardings and the limits. No user and no alias is valid, and grants no login.
func (s *SSHRules) Validate() error {
	if len(s.Usernames) > MaxUsernames {
		return kind.Field("/usernames", "a policy can grant %d UNIX users; this one has %d", MaxUsernames, len(s.Usernames))
	}
	for i, u := range s.Usernames {
		if err := ValidateLogin(u); err != nil {
			return at("/usernames/"+strconv.Itoa(i), err)
		}
	}
	if err := s.validateForwarding(); err != nil {
		return err
	}
	return s.validateLimits()
}

// Validate checks a rule group by itself: name, at least one include rule, every
// rule as ValidateShared does. CheckGroups checks what groups refer to.
func (g *RuleGroup) Validate() error {
	if err := g.validateShape(); err != nil {
		return err
	}
	return validateRules(Rule.ValidateShared, g.Include, g.Require, g.Exclude)
}

// validateShape is Validate without the rules.
func (g *RuleGroup) validateShape() error {
	if err := validateName(g.Name, "a rule group"); err != nil {
		return err
	}
	return validateLists(g.Include, g.Require, g.Exclude)
}

func validateName(name, of string) error {
	if name == "" || len(name) > MaxNameBytes || checkText(name) != "" {
		return kind.Field("/name", "the name of %s must be 1 to %d bytes of text without control characters", of, MaxNameBytes)
	}
	return nil
}

// list is one of the three rule lists, under its name on the wire.
type list struct {
	name  string
	rules []Rule
}

func lists(include, require, exclude []Rule) [3]list {
	return [3]list{{"/include", include}, {"/require", require}, {"/exclude", exclude}}
}

// validateLists checks how many rules there are.
func validateLists(include, require, exclude []Rule) error {
	if len(include) == 0 {
		return kind.Field("/include", "at least one include rule is needed; an empty list would match nobody").
			WithHint(`to include everyone write {"everyone":{}}`)
	}
	for _, l := range lists(include, require, exclude) {
		if len(l.rules) > MaxRules {
			return kind.Field(l.name, "a list can hold %d rules; this one has %d", MaxRules, len(l.rules)).
				WithHint("put some into a rule group")
		}
	}
	return nil
}

// validateRules checks every rule.
func validateRules(check func(Rule) error, include, require, exclude []Rule) error {
	for _, l := range lists(include, require, exclude) {
		for i, r := range l.rules {
			if err := check(r); err != nil {
				return at(l.name+"/"+strconv.Itoa(i), err)
			}
		}
	}
	return nil
}

// at moves the pointer of err below prefix; nil stays nil.
func at(prefix string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := asKind(err)
	if !ok {
		return err
	}
	c := *e
	c.Pointer = prefix + e.Pointer
	return &c
}

// clone returns a copy that shares no slice with p.
func (p *Policy) clone() Policy {
	c := *p
	c.Include, c.Require, c.Exclude = slices.Clone(p.Include), slices.Clone(p.Require), slices.Clone(p.Exclude)
	if p.SSH != nil {
		ssh := *p.SSH
		ssh.Usernames = slices.Clone(p.SSH.Usernames)
		if f := p.SSH.LocalForwarding; f != nil {
			ssh.LocalForwarding = &LocalForwarding{slices.Clone(f.Destinations)}
		}
		if f := p.SSH.RemoteForwarding; f != nil {
			ssh.RemoteForwarding = &RemoteForwarding{slices.Clone(f.Listen)}
		}
		c.SSH = &ssh
	}
	return c
}

// clip cuts text that a message quotes.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
