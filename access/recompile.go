package access

import (
	"maps"
	"slices"

	"weft/targets"
	"weft/vnet"
)

// maxPatch is how many targets may differ for a snapshot to be patched instead of compiled: each costs a copy of the order.
const maxPatch = 1000

// CompileAfter is Compile for an input of which most is as it was in the one
// that old was compiled from: the same slice, or an application with the same
// slices of criteria and policies, or a target with the same fields, is not
// looked at again. Neither input may be changed afterwards. Targets are compared
// in the order of their IDs; unsorted ones, a nil old and an old one with
// Problems cost what Compile costs. It may be called by several goroutines.
func CompileAfter(old *Snapshot, in Input) (*Snapshot, error) {
	if old == nil || len(old.problems) > 0 || !same(old.input.Groups, in.Groups) || len(old.lists.sets) > maxListNumbers {
		return Compile(in)
	}
	p, ok := diffTargets(old.input.Targets, in.Targets)
	if !ok {
		return Compile(in)
	}
	if same(old.input.Applications, in.Applications) {
		return old.patch(in, p)
	}
	c := &compiler{old: old, patch: p, compiled: make(map[string]compiledApplication, len(in.Applications))}
	for _, a := range old.input.Applications {
		c.compiled[a.ID] = compiledApplication{source: a}
	}
	for i, a := range old.compiler.apps {
		known := c.compiled[a.ID]
		known.app, known.policies = a, old.policies[old.compiler.first[i]:old.compiler.end[i]]
		c.compiled[a.ID] = known
	}
	return compile(c, in)
}

// compiledApplication is an application of the snapshot before.
type compiledApplication struct {
	source   Application // as it was given
	app      *Application
	policies []policy
}

// same reports whether two slices are one.
func same[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

func sameApplication(a, b *Application) bool {
	return a.ID == b.ID && a.Name == b.Name && a.AUD == b.AUD && same(a.Criteria, b.Criteria) && same(a.Policies, b.Policies)
}

// patch is what differs between two lists of targets.
type patch struct {
	put  []targets.Target
	drop []targets.ID
}

// diffTargets compares lists that ascend by ID; it is not ok when they do not, when too much differs, or when a target is
// not valid, which Compile reports.
func diffTargets(old, now []targets.Target) (p patch, ok bool) {
	if same(old, now) {
		return p, true
	}
	i := 0
	for k := range now {
		t := &now[k]
		if t.ID == "" || k > 0 && now[k-1].ID >= t.ID {
			return p, false
		}
		for i < len(old) && old[i].ID < t.ID {
			p.drop = append(p.drop, old[i].ID)
			i++
		}
		if i < len(old) && old[i].ID == t.ID {
			i++
			if equalTarget(&old[i-1], t) {
				continue
			}
		}
		if t.Validate() != nil {
			return p, false
		}
		p.put = append(p.put, *t)
		if len(p.put)+len(p.drop) > maxPatch {
			return p, false
		}
	}
	for ; i < len(old); i++ {
		p.drop = append(p.drop, old[i].ID)
	}
	return p, len(p.put)+len(p.drop) <= maxPatch && slices.IsSortedFunc(old, func(a, b targets.Target) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}

func equalTarget(a, b *targets.Target) bool {
	return a.Hostname == b.Hostname && equalAddress(a.IPv4, b.IPv4) && equalAddress(a.IPv6, b.IPv6) &&
		a.CreatedAt.Equal(b.CreatedAt) && a.ModifiedAt.Equal(b.ModifiedAt) && maps.Equal(a.Tags, b.Tags)
}

func equalAddress(a, b *targets.Address) bool { return a == b || a != nil && b != nil && *a == *b }

// patch returns a snapshot with other targets, networks, lists and network rules, and the same applications and groups.
func (s *Snapshot) patch(in Input, p patch) (*Snapshot, error) {
	n := *s
	n.revision, n.input = in.Revision, in
	n.networks = networksOf(in.Networks)
	if err := n.patchTargets(s, p); err != nil {
		return nil, err
	}
	if !same(s.input.NetworkRules, in.NetworkRules) || !same(s.input.Lists, in.Lists) {
		rest := compiler{s: &n, old: s}
		rest.compileLists(in.Lists)
		n.network = nil
		rest.compileNetworkRules(in.NetworkRules, in.Lists)
	}
	n.ports = make([]*portSet, n.index.Len())
	copy(n.ports, s.ports)
	for _, id := range p.drop {
		if i, ok := s.index.PositionOf(id); ok {
			n.ports[i] = nil
		}
	}
	c := n.compiler
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range p.put {
		i, _ := n.index.PositionOf(t.ID) // it was put there
		n.ports[i] = c.portsOf(n.index.Get(i))
	}
	if len(c.sets) > 2*n.index.Len()+maxPatch {
		return Compile(in) // mostly of targets that are gone
	}
	return &n, nil
}

func networksOf(in []vnet.Network) map[vnet.ID]vnet.Network {
	m := make(map[vnet.ID]vnet.Network, len(in))
	for _, n := range in {
		m[n.ID] = n
	}
	return m
}

// patchTargets makes index and order those of old with p.
func (s *Snapshot) patchTargets(old *Snapshot, p patch) error {
	s.index, s.order = old.index, old.order
	if len(p.put)+len(p.drop) == 0 {
		return nil
	}
	var err error
	if s.index, err = old.index.With(p.put, p.drop); err != nil {
		return err
	}
	touched := make(map[int32]bool, len(p.put)+len(p.drop))
	for _, id := range p.drop {
		if i, ok := old.index.PositionOf(id); ok {
			touched[int32(i)] = true
		}
	}
	for _, t := range p.put {
		if i, ok := old.index.PositionOf(t.ID); ok {
			touched[int32(i)] = true
		}
	}
	s.order = make([]int32, 0, len(old.order)+len(p.put))
	for _, i := range old.order {
		if len(touched) == 0 || !touched[i] {
			s.order = append(s.order, i)
		}
	}
	for _, t := range p.put {
		i, _ := s.index.PositionOf(t.ID) // it was put there
		at, _ := slices.BinarySearchFunc(s.order, t, func(k int32, t targets.Target) int { return byHostname(*s.index.Get(int(k)), t) })
		s.order = slices.Insert(s.order, at, int32(i))
	}
	return nil
}
