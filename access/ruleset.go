package access

import (
	"net/netip"
	"slices"
	"sort"
)

// ruleSet is a list of rules compiled for "does any of them match".
type ruleSet struct {
	everyone bool
	geo      bool // holds a geo rule
	broken   bool // holds a rule that cannot be evaluated
	keys     keyMaps[struct{}]
	nets     prefixSet
	groups   []*ruleGroup
	lists    []int32 // numbers
}

// ruleGroup is a compiled RuleGroup, or the compiled condition of a Policy.
type ruleGroup struct {
	place   int32 // in memo; 0 for the condition of a policy
	include ruleSet
	require []ruleSet // of one rule each
	exclude ruleSet
}

// newRuleSet compiles rules; a group or a list that known does not hold is unknown.
func newRuleSet(rules []Rule, known refs) ruleSet {
	var s ruleSet
	for _, r := range rules {
		if r.Validate() != nil {
			s.broken = true
			continue
		}
		switch r.sel {
		case selIP:
			p, _ := parseIP(r.fields[0]) // valid: Validate read it
			s.nets = append(s.nets, p)
		case selGroup:
			if g := known.groups[r.fields[0]]; g != nil {
				s.groups = append(s.groups, g)
			} else {
				s.broken = true
			}
		case selEmailList, selIPList:
			if n, ok := known.lists[listKey{r.sel, r.fields[0]}]; ok {
				s.lists = append(s.lists, n)
			} else {
				s.broken = true
			}
		default:
			s.keys.at(r)
			s.everyone = s.everyone || r.sel == selEveryone
			s.geo = s.geo || r.sel == selGeo
		}
	}
	s.nets = s.nets.normalize()
	s.keys.seal()
	return s
}

// newRuleGroup compiles one condition.
func newRuleGroup(include, require, exclude []Rule, known refs) *ruleGroup {
	g := &ruleGroup{include: newRuleSet(include, known), exclude: newRuleSet(exclude, known)}
	for _, r := range require {
		g.require = append(g.require, newRuleSet([]Rule{r}, known))
	}
	return g
}

// any is the OR of the rules.
func (r *ruleSet) any(s *subject) truth {
	if r.everyone || !r.keys.each(s, func(*struct{}) bool { return false }) {
		return yes
	}
	answer := no
	if r.broken || r.geo && s.dev.Country == "" {
		answer = unknown
	}
	if len(r.nets) > 0 {
		switch {
		case !s.source.IsValid():
			answer = unknown
		case r.nets.contains(s.source):
			return yes
		}
	}
	for _, n := range r.lists {
		if answer = max(answer, s.inList(n)); answer == yes {
			return yes
		}
	}
	for _, g := range r.groups {
		answer = max(answer, g.matches(s))
		if answer == yes {
			return yes
		}
	}
	return answer
}

// all is the AND of one-rule sets; of none it is yes.
func all(rules []ruleSet, s *subject) truth {
	answer := yes
	for i := range rules {
		if answer = min(answer, rules[i].any(s)); answer == no {
			return no
		}
	}
	return answer
}

// matches is (any include) and (all require) and (no exclude).
func (g *ruleGroup) matches(s *subject) truth {
	if answer, ok := s.known.get(g.place); ok {
		return answer
	}
	answer := g.evaluate(s)
	s.known.put(g.place, answer)
	return answer
}

func (g *ruleGroup) evaluate(s *subject) truth {
	answer := g.include.any(s)
	if answer != no {
		answer = min(answer, all(g.require, s))
	}
	if answer != no {
		answer = min(answer, g.exclude.any(s).not())
	}
	return answer
}

// prefixSet is a set of addresses: prefixes that do not overlap, sorted.
type prefixSet []netip.Prefix

// normalize sorts the prefixes and drops those inside another; prefixes nest or
// are disjoint, so what is left does not overlap.
func (ps prefixSet) normalize() prefixSet {
	slices.SortFunc(ps, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var kept prefixSet
	for _, p := range ps {
		if n := len(kept); n == 0 || !kept[n-1].Overlaps(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

func (ps prefixSet) contains(a netip.Addr) bool {
	i := sort.Search(len(ps), func(i int) bool { return ps[i].Addr().Compare(a) > 0 })
	return i > 0 && ps[i-1].Contains(a)
}
