package access

import (
	"cmp"
	"slices"

	"weft/targets"
)

// Grants lists the UNIX users for q (q.Login is ignored), united over the
// matching policies, sorted; each with every policy that grants it, in the order
// of evaluation. There are none for a relayed protocol or when q is denied.
func Grants(s *Snapshot, q Query) []Grant {
	var d Decision
	if admit(s, q.Identity, q.Device) != Allowed || !q.Device.mayUse(q.VNET) {
		return nil
	}
	c, reason := s.locate(&d, q)
	if reason != Allowed || !c.protocol.Terminated() || s.network.first(q, true).blocks() {
		return nil
	}
	sub := s.subject(q.Identity, q.Device)
	return s.grants(c, &sub)
}

// grants unites the UNIX users of the policies of c that match.
func (s *Snapshot) grants(c *cover, sub *subject) []Grant {
	byName := make(map[string][]*Policy)
	give := func(user string, p *Policy) {
		if ps := byName[user]; len(ps) == 0 || ps[len(ps)-1] != p {
			byName[user] = append(ps, p)
		}
	}
	for _, n := range c.policies {
		p := &s.policies[n]
		if p.matches(sub) != yes {
			continue
		}
		for u := range p.login {
			give(u, p.source)
		}
		if alias := EmailAlias(sub.id.Email); p.alias && alias != "" {
			give(alias, p.source)
		}
	}
	grants := make([]Grant, 0, len(byName))
	for u, ps := range byName {
		grants = append(grants, Grant{Username: u, Policies: ps})
	}
	slices.SortFunc(grants, func(a, b Grant) int { return cmp.Compare(a.Username, b.Username) })
	return grants
}

// Entries is the target list of an identity on a device: every (target, port) it
// may reach, sorted by hostname (without case), ID, port. It is nil for whoever
// Evaluate would not let in at all. The entries share memory with the snapshot
// and with each other (addresses, tags, usernames) and must not be changed.
func Entries(s *Snapshot, id *Identity, d *Device) []targets.Entry {
	if admit(s, id, d) != Allowed {
		return nil
	}
	sub := s.subject(id, d)
	answers := make(map[*cover]answer)
	n := 0
	for _, set := range s.ports {
		if set == nil {
			continue
		}
		for _, c := range set.covers {
			a, known := answers[c]
			if !known {
				a = s.answer(c, &sub)
				answers[c] = a
			}
			if a.allow {
				n++
			}
		}
	}
	entries := make([]targets.Entry, 0, n)
	for _, place := range s.order {
		i := int(place)
		set := s.ports[i]
		if set == nil {
			continue
		}
		for j, c := range set.covers {
			t := s.index.Get(i)
			if a := answers[c]; a.allow && s.network.opens(id, d, t, c.protocol, set.ports[j]) {
				entries = append(entries, targets.Entry{Target: d.sees(t), Protocol: c.protocol, Port: set.ports[j], Usernames: a.usernames})
			}
		}
	}
	return entries
}

// sees returns t without the addresses in virtual networks that the device may not use.
func (d *Device) sees(t *targets.Target) targets.Target {
	c := *t
	for _, a := range [...]**targets.Address{&c.IPv4, &c.IPv6} {
		if *a != nil && !d.mayUse((*a).VNET) {
			*a = nil
		}
	}
	return c
}

// answer is what an identity may do with a cover.
type answer struct {
	allow     bool
	usernames []string
}

func (s *Snapshot) answer(c *cover, sub *subject) answer {
	if s.decide(c, sub, "").verdict != granted {
		return answer{}
	}
	if !c.protocol.Terminated() {
		return answer{allow: true}
	}
	grants := s.grants(c, sub)
	users := make([]string, len(grants))
	for i, g := range grants {
		users[i] = g.Username
	}
	return answer{allow: len(users) > 0, usernames: users}
}
