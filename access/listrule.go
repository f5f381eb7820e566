package access

import (
	"maps"
	"net/netip"
	"slices"
)

// The types of the lists that rules may refer to, as the public API writes them.
const (
	ListEmail = "EMAIL"
	ListIP    = "IP"
)

// listType is the type that a list must have for rules with a selector, "" for selectors that refer to none.
func listType(sel selector) string {
	switch sel {
	case selEmailList:
		return ListEmail
	case selIPList:
		return ListIP
	default:
		return ""
	}
}

// ListID returns the ID of the list that r refers to and the type that the list must have, if r does.
func (r Rule) ListID() (id, typ string, ok bool) {
	typ = listType(r.sel)
	return r.fields[0], typ, typ != ""
}

// listTable is what email_list and ip_list rules refer to. A compiled rule holds the number of a list, so that a list
// that changes takes another place in the table and leaves all that was compiled from rules as it is.
type listTable struct {
	number map[listKey]int32
	sets   []*ruleSet // by number, of the items; nil: there is no such list of the type, or there are two
}

// listKey is a list as rules refer to it.
type listKey struct {
	sel selector
	id  string
}

// maxListNumbers is how many lists a snapshot numbers before it is compiled anew, without those that are gone. An
// account has at most 100.
const maxListNumbers = 1000

// refs are what rules can refer to.
type refs struct {
	groups map[string]*ruleGroup
	lists  map[listKey]int32
}

func (s *Snapshot) refs() refs { return refs{s.groups, s.lists.number} }

// compileLists takes the numbers over from the snapshot before, with what the lists hold now.
func (c *compiler) compileLists(in []List) {
	c.lists = uniqueLists(in)
	c.s.lists = listTable{number: make(map[listKey]int32)}
	if c.old == nil {
		return
	}
	old := &c.old.lists
	c.s.lists.number, c.s.lists.sets = maps.Clone(old.number), slices.Clone(old.sets)
	if same(c.old.input.Lists, in) {
		return
	}
	before := uniqueLists(c.old.input.Lists)
	for key, n := range old.number {
		if !sameList(before[key.id], c.lists[key.id]) {
			c.s.lists.sets[n] = newListSet(key.sel, c.lists[key.id])
		}
	}
}

// uniqueLists are the lists by ID. Of two with one ID nobody can tell which is meant, so it is neither.
func uniqueLists(in []List) map[string]*List {
	m := make(map[string]*List, len(in))
	for i := range in {
		if _, twice := m[in[i].ID]; twice {
			m[in[i].ID] = nil
			continue
		}
		m[in[i].ID] = &in[i]
	}
	return m
}

// sameList reports whether a rule sees no difference; nil is a list that is not there.
func sameList(a, b *List) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type == b.Type && slices.Equal(a.Items, b.Items)
}

// numberLists gives the lists that rules refer to their numbers.
func (c *compiler) numberLists(include, require, exclude []Rule) {
	for _, rules := range [...][]Rule{include, require, exclude} {
		for _, r := range rules {
			if listType(r.sel) == "" {
				continue
			}
			key := listKey{r.sel, r.fields[0]}
			if _, known := c.s.lists.number[key]; known {
				continue
			}
			c.s.lists.number[key] = int32(len(c.s.lists.sets))
			c.s.lists.sets = append(c.s.lists.sets, newListSet(r.sel, c.lists[r.fields[0]]))
		}
	}
}

// newListSet compiles the items of a list as the email or ip rules that they stand for.
func newListSet(sel selector, l *List) *ruleSet {
	if l == nil || l.Type != listType(sel) {
		return nil
	}
	s := new(ruleSet)
	for _, item := range l.Items {
		switch p, ok := parseItem(item); {
		case sel == selEmailList && item != "":
			s.keys.at(EmailRule(item))
		case sel == selIPList && ok:
			s.nets = append(s.nets, p)
		default:
			s.broken = true // control refuses such an item; nobody can tell whom it stands for
		}
	}
	s.nets = s.nets.normalize()
	s.keys.seal()
	return s
}

// parseItem reads an item of an IP list. Addresses are compared unmapped, as in network rules, so an IPv4-mapped one
// stands for the IPv4 one.
func parseItem(s string) (netip.Prefix, bool) {
	if p, ok := parseIP(s); ok {
		return p, true
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return parseIP(a.Unmap().String())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || !p.Addr().Is4In6() || p.Bits() < 96 {
		return p, false
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), true
}

// inList reports whether the subject is in the list with a number.
func (s *subject) inList(n int32) truth {
	place := listPlace(n)
	if answer, ok := s.known.get(place); ok {
		return answer
	}
	answer := unknown
	if set := s.lists[n]; set != nil {
		answer = set.any(s)
	}
	s.known.put(place, answer)
	return answer
}
