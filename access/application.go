package access

import (
	"errors"
	"slices"
	"strconv"

	"weft/internal/kind"
	"weft/targets"
)

// Limits of one application.
const (
	MaxCriteria = 200
	MaxPolicies = 1000
)

// Validate checks an application by itself: name, criteria, policies, one
// protocol per port within it. IDs are the caller's business, but two policies
// must not share one, nor a precedence; precedence 0 means none was given.
// Pointers are those of the wire form.
func (a *Application) Validate() error {
	if err := a.validateShape(); err != nil {
		return err
	}
	for i := range a.Policies {
		p := &a.Policies[i]
		if err := validateRules(Rule.Validate, p.Include, p.Require, p.Exclude); err != nil {
			return at(policyAt(i), err)
		}
	}
	return nil
}

// validateShape is Validate without the rules of the policies.
func (a *Application) validateShape() error {
	if err := validateName(a.Name, "an application"); err != nil {
		return err
	}
	if err := a.validateCriteria(); err != nil {
		return err
	}
	if len(a.Policies) > MaxPolicies {
		return kind.Field("/policies", "an application can have %d policies; this one has %d", MaxPolicies, len(a.Policies))
	}
	ids := make(map[string]bool, len(a.Policies))
	precedences := make(map[int]bool, len(a.Policies))
	for i := range a.Policies {
		p := &a.Policies[i]
		pointer := policyAt(i)
		if err := p.validateShape(); err != nil {
			return at(pointer, err)
		}
		if p.ID != "" && ids[p.ID] {
			return kind.Field(pointer+"/id", "two policies have the ID %s", clip(p.ID))
		}
		if p.Precedence != 0 && precedences[p.Precedence] {
			return kind.Field(pointer+"/precedence", "policy precedences must be unique; %d stands twice", p.Precedence)
		}
		ids[p.ID], precedences[p.Precedence] = true, true
	}
	return nil
}

// validateCriteria checks the criteria and that no port has two protocols.
func (a *Application) validateCriteria() error {
	if len(a.Criteria) == 0 {
		return kind.Field("/target_criteria", "an infrastructure application needs target criteria")
	}
	if len(a.Criteria) > MaxCriteria {
		return kind.Field("/target_criteria", "an application can have %d target criteria; this one has %d", MaxCriteria, len(a.Criteria))
	}
	ports := make(map[uint16]targets.Protocol, len(a.Criteria))
	for i := range a.Criteria {
		c := &a.Criteria[i]
		if err := c.Validate(); err != nil {
			return at(criterionAt(i), err)
		}
		if p, taken := ports[c.Port]; taken && p != c.Protocol {
			return kind.Field(criterionAt(i)+"/port", "port %d carries both %s and %s; a port carries one protocol", c.Port, p, c.Protocol)
		}
		ports[c.Port] = c.Protocol
	}
	return nil
}

func policyAt(i int) string { return "/policies/" + strconv.Itoa(i) }

func criterionAt(i int) string { return "/target_criteria/" + strconv.Itoa(i) }

// CheckPorts returns kind.Conflict naming the other application when candidate
// gives a port a protocol that another application (different ID) gave another
// protocol. A candidate without an ID is new: every application is another one.
// The rule is account-wide, whatever targets the applications select.
func CheckPorts(candidate *Application, others []Application) error {
	for i := range candidate.Criteria {
		c := &candidate.Criteria[i]
		for j := range others {
			o := &others[j]
			if candidate.ID != "" && o.ID == candidate.ID {
				continue
			}
			k := slices.IndexFunc(o.Criteria, func(oc targets.Criteria) bool { return oc.Port == c.Port && oc.Protocol != c.Protocol })
			if k < 0 {
				continue
			}
			e := kind.New(kind.Conflict, "port %d already carries %s in application %q (%s); it cannot carry %s as well",
				c.Port, o.Criteria[k].Protocol, o.Name, o.ID, c.Protocol)
			e.Pointer = criterionAt(i) + "/port"
			return e.WithHint("use %s, or another port", o.Criteria[k].Protocol)
		}
	}
	return nil
}

// clone returns a copy that shares nothing with a.
func (a *Application) clone() *Application {
	c := *a
	c.Criteria = make([]targets.Criteria, len(a.Criteria))
	for i := range a.Criteria {
		c.Criteria[i] = a.Criteria[i].Clone()
	}
	c.Policies = make([]Policy, len(a.Policies))
	for i := range a.Policies {
		c.Policies[i] = a.Policies[i].clone()
	}
	return &c
}

// asKind returns the first *kind.Error in err's chain.
func asKind(err error) (*kind.Error, bool) { return errors.AsType[*kind.Error](err) }
