package access

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"weft/internal/kind"
	"weft/targets"
)

// compiler builds one snapshot.
type compiler struct {
	s    *Snapshot
	apps []*Application
	// first and end bound the policies of the application with an ordinal.
	first, end []int32
	// old is the snapshot before, of which what did not change is used again; patch is what did change of the targets, and
	// compiled holds the applications by ID, but for those that did. See CompileAfter.
	old      *Snapshot
	patch    patch
	compiled map[string]compiledApplication
	lists    map[string]*List // of the input, by ID

	// What follows finds the covers of a target, also of one that comes later: see CompileAfter. mu is held then.
	mu      sync.Mutex
	matcher *matcher
	covers  map[string]*cover   // by protocol and applications
	sets    map[string]*portSet // by what criteria see of a target
}

// problem records an object that is left out.
func (c *compiler) problem(what, name, id string, err error) {
	c.s.problems = append(c.s.problems, fmt.Errorf("%s %q (%s) is left out: %w", what, clip(name), clip(id), err))
}

var errNoID = kind.New(kind.Invalid, "it has no ID")

// compileTargets indexes the valid targets, sorted.
func (c *compiler) compileTargets(in []targets.Target) error {
	if c.old != nil {
		return c.s.patchTargets(c.old, c.patch)
	}
	valid := make([]targets.Target, 0, len(in))
	for _, t := range in {
		err := t.Validate()
		if t.ID == "" {
			err = errNoID
		}
		if err != nil {
			c.problem("target", t.Hostname, string(t.ID), err)
			continue
		}
		valid = append(valid, t)
	}
	slices.SortFunc(valid, byHostname)
	c.s.order = make([]int32, len(valid))
	for i := range c.s.order {
		c.s.order[i] = int32(i)
	}
	var err error
	c.s.index, err = targets.NewIndex(valid)
	return err
}

// compileGroups compiles each group behind those it refers to.
func (c *compiler) compileGroups(in []RuleGroup) error {
	if c.old != nil {
		c.s.groups = c.old.groups // the policies that are used again point to them
		return nil
	}
	order, err := orderGroups(in)
	if err != nil {
		return err
	}
	c.s.groups = make(map[string]*ruleGroup, len(in))
	for _, i := range order {
		g := &in[i]
		if err := g.validateShape(); err != nil {
			c.problem("rule group", g.Name, g.ID, err)
			continue
		}
		c.numberLists(g.Include, g.Require, g.Exclude)
		compiled := newRuleGroup(g.Include, g.Require, g.Exclude, c.s.refs())
		compiled.place = groupPlace(len(c.s.groups))
		c.s.groups[g.ID] = compiled
	}
	return nil
}

// compileApplications gives applications and policies their order: applications
// by ID, policies by precedence and then as listed.
func (c *compiler) compileApplications(in []Application) error {
	for i := range in {
		a := &in[i]
		if old, ok := c.compiled[a.ID]; ok && old.app != nil && sameApplication(a, &old.source) {
			c.apps = append(c.apps, old.app)
			continue
		}
		delete(c.compiled, a.ID)
		err := a.validateShape()
		if a.ID == "" {
			err = errNoID
		}
		if err != nil {
			c.problem("application", a.Name, a.ID, err)
			continue
		}
		c.apps = append(c.apps, a.clone())
	}
	slices.SortFunc(c.apps, func(a, b *Application) int { return cmp.Compare(a.ID, b.ID) })
	if err := checkContradictions(c.apps); err != nil {
		return err
	}
	n := 0
	for _, a := range c.apps {
		n += len(a.Policies)
	}
	c.s.policies = make([]policy, 0, n)
	for ordinal, a := range c.apps {
		c.first = append(c.first, int32(len(c.s.policies)))
		if old, ok := c.compiled[a.ID]; ok {
			for _, p := range old.policies {
				c.reusePolicy(p, int32(ordinal))
			}
			c.end = append(c.end, int32(len(c.s.policies)))
			continue
		}
		sorted := make([]*Policy, len(a.Policies))
		for i := range a.Policies {
			sorted[i] = &a.Policies[i]
		}
		slices.SortStableFunc(sorted, func(p, q *Policy) int { return cmp.Compare(p.Precedence, q.Precedence) })
		for _, p := range sorted {
			c.addPolicy(p, int32(ordinal))
		}
		c.end = append(c.end, int32(len(c.s.policies)))
	}
	return nil
}

// checkContradictions refuses an ID that two applications share and a port with
// two protocols; apps are sorted by ID.
func checkContradictions(apps []*Application) error {
	type holder struct {
		app      *Application
		protocol targets.Protocol
	}
	ports := make(map[uint16]holder)
	for i, a := range apps {
		if i > 0 && apps[i-1].ID == a.ID {
			return kind.New(kind.Conflict, "applications %q and %q have the same ID %s", apps[i-1].Name, a.Name, a.ID)
		}
		for _, cr := range a.Criteria {
			h, taken := ports[cr.Port]
			if taken && h.protocol != cr.Protocol {
				return kind.New(kind.Conflict, "port %d carries %s in application %q (%s) and %s in application %q (%s)",
					cr.Port, h.protocol, h.app.Name, h.app.ID, cr.Protocol, a.Name, a.ID)
			}
			ports[cr.Port] = holder{a, cr.Protocol}
		}
	}
	return nil
}

// addPolicy compiles p and indexes its include keys.
func (c *compiler) addPolicy(p *Policy, app int32) {
	ordinal := int32(len(c.s.policies))
	c.numberLists(p.Include, p.Require, p.Exclude)
	compiled := policy{ruleGroup: *newRuleGroup(p.Include, p.Require, p.Exclude, c.s.refs()), source: p, app: app}
	if p.SSH != nil {
		compiled.alias = p.SSH.AllowEmailAlias
		compiled.login = make(map[string]struct{}, len(p.SSH.Usernames))
		for _, u := range p.SSH.Usernames {
			compiled.login[u] = struct{}{}
		}
	}
	c.indexPolicy(p, ordinal)
	c.s.policies = append(c.s.policies, compiled)
}

// reusePolicy takes over what the snapshot before has of a policy.
func (c *compiler) reusePolicy(p policy, app int32) {
	p.app = app
	c.indexPolicy(p.source, int32(len(c.s.policies)))
	c.s.policies = append(c.s.policies, p)
}

// indexPolicy enters the include keys of p.
func (c *compiler) indexPolicy(p *Policy, ordinal int32) {
	for _, r := range p.Include {
		switch {
		case r.Validate() != nil || r.sel == selGroup || listType(r.sel) != "":
		case r.sel == selIP:
			prefix, _ := parseIP(r.fields[0]) // valid: Validate read it
			c.s.byNet.add(prefix, ordinal)
		default:
			list := c.s.byKey.at(r)
			*list = appendOrdinal(*list, ordinal)
		}
	}
}

// appendOrdinal appends n unless it is the last already.
func appendOrdinal(list []int32, n int32) []int32 {
	if len(list) > 0 && list[len(list)-1] == n {
		return list
	}
	return append(list, n)
}

// compileCovers finds the applications of every target at every port. Targets
// that no criterion can tell apart are matched once.
func (c *compiler) compileCovers() {
	c.matcher = c.newMatcher()
	c.covers = make(map[string]*cover)
	c.sets = make(map[string]*portSet)
	c.s.ports = make([]*portSet, c.s.index.Len())
	for i := range c.s.ports {
		if t := c.s.index.Get(i); t.ID != "" {
			c.s.ports[i] = c.portsOf(t)
		}
	}
}

// portsOf are the ports at which a target is covered, nil for none.
func (c *compiler) portsOf(t *targets.Target) *portSet {
	looks := c.matcher.looks(t)
	set, known := c.sets[looks]
	if !known {
		if pairs := c.matcher.match(t); len(pairs) > 0 {
			set = c.newPortSet(pairs)
		}
		c.sets[looks] = set
	}
	return set
}

// newPortSet turns sorted pairs into ports with covers.
func (c *compiler) newPortSet(pairs []pair) *portSet {
	covers := c.covers
	set := &portSet{}
	for i := 0; i < len(pairs); {
		port, protocol := pairs[i].port, pairs[i].protocol
		var apps []int32
		for ; i < len(pairs) && pairs[i].port == port; i++ {
			apps = append(apps, pairs[i].app)
		}
		id := string(protocol) + "\x00" + ordinals(apps)
		if covers[id] == nil {
			covers[id] = c.newCover(protocol, apps)
		}
		set.ports = append(set.ports, port)
		set.covers = append(set.covers, covers[id])
	}
	return set
}

func (c *compiler) newCover(protocol targets.Protocol, apps []int32) *cover {
	v := &cover{protocol: protocol, member: make([]uint64, (len(c.apps)+63)/64)}
	for _, a := range apps {
		v.apps = append(v.apps, c.apps[a])
		v.member[a>>6] |= 1 << (a & 63)
		for p := c.first[a]; p < c.end[a]; p++ {
			v.policies = append(v.policies, p)
			if in := &c.s.policies[p].include; len(in.groups)+len(in.lists) > 0 {
				v.grouped = append(v.grouped, p)
			}
		}
	}
	return v
}
