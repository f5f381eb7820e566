package access

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"weft/targets"
	"weft/vnet"
)

// Snapshot is a compiled, immutable policy; safe for concurrent use.
type Snapshot struct {
	revision uint64
	problems []error
	networks map[vnet.ID]vnet.Network
	// index holds the valid targets; ports[i] are those at which the i-th is
	// covered, nil for none; order are the places in the order of Entries.
	index *targets.Index
	ports []*portSet
	order []int32
	// input is what it was compiled from, and compiler how; see CompileAfter.
	input    Input
	compiler *compiler
	// policies holds every policy in the order of evaluation; their ordinals
	// index it. byKey and byNet find those whose include list has a rule that
	// holds, but for rules that refer to rule groups and lists.
	policies []policy
	byKey    keyMaps[[]int32]
	byNet    netMap
	groups   map[string]*ruleGroup
	lists    listTable
	network  networkRules
}

// policy is a compiled Policy.
type policy struct {
	ruleGroup
	source *Policy
	app    int32 // ordinal of the application
	login  map[string]struct{}
	alias  bool
}

// portSet is the ports at which a target is covered, sorted. Targets that the
// same criteria select share one.
type portSet struct {
	ports  []uint16
	covers []*cover // of the port at the same place
}

// cover is a set of applications with one protocol: all that there is to know to
// decide on a target at a port. Ports that the same applications cover share one.
type cover struct {
	protocol targets.Protocol
	apps     []*Application // in the order of evaluation
	member   []uint64       // the same as a bit set of ordinals
	policies []int32        // of all of them, in the order of evaluation
	// grouped are those of policies whose include list refers to rule groups or lists.
	grouped []int32
}

// Compile validates and indexes in; it copies what it keeps. It is
// deterministic: the order of in's lists does not matter (but that of policies
// with the same precedence does).
//
// Objects that contradict each other make it fail, and the caller keeps the old
// snapshot: an (address, VNET) pair or an ID that belongs to two, a port with two
// protocols, rule groups that refer to each other in a circle. A target, an
// application or a rule group that is invalid by itself, as one written by
// another version may be, is left out as a whole, which grants nothing, and is
// reported by Problems: one bad object does not stop the policy of all others.
func Compile(in Input) (*Snapshot, error) {
	return compile(&compiler{}, in)
}

func compile(c *compiler, in Input) (*Snapshot, error) {
	s := &Snapshot{revision: in.Revision, networks: networksOf(in.Networks), input: in, compiler: c}
	c.s = s
	if err := c.compileTargets(in.Targets); err != nil {
		return nil, fmt.Errorf("compile targets: %w", err)
	}
	c.compileLists(in.Lists)
	if err := c.compileGroups(in.Groups); err != nil {
		return nil, fmt.Errorf("compile rule groups: %w", err)
	}
	if err := c.compileApplications(in.Applications); err != nil {
		return nil, fmt.Errorf("compile applications: %w", err)
	}
	c.compileNetworkRules(in.NetworkRules, in.Lists)
	c.s.byKey.seal()
	c.compileCovers()
	// What finds covers later needs the policies and nothing else of a snapshot that is soon an old one.
	c.s, c.old, c.compiled, c.lists = &Snapshot{policies: s.policies}, nil, nil, nil
	return s, nil
}

// Revision of the input; 0 for a nil snapshot.
func (s *Snapshot) Revision() uint64 {
	if s == nil {
		return 0
	}
	return s.revision
}

// Problems says which objects of the input were left out, and why.
func (s *Snapshot) Problems() []error {
	if s == nil {
		return nil
	}
	return slices.Clone(s.problems)
}

// Target returns the target with an ID, for messages; it must not be changed.
func (s *Snapshot) Target(id targets.ID) (*targets.Target, bool) {
	if s == nil {
		return nil, false
	}
	return s.index.ByID(id)
}

// Network returns the virtual network with an ID, for messages.
func (s *Snapshot) Network(id vnet.ID) (vnet.Network, bool) {
	if s == nil {
		return vnet.Network{}, false
	}
	n, ok := s.networks[id]
	return n, ok
}

// at returns the cover of a port, nil for none.
func (p *portSet) at(port uint16) *cover {
	if p == nil {
		return nil
	}
	i, ok := slices.BinarySearch(p.ports, port)
	if !ok {
		return nil
	}
	return p.covers[i]
}

// has reports whether the application with an ordinal is in c.
func (c *cover) has(app int32) bool { return c.member[app>>6]&(1<<(app&63)) != 0 }

// byHostname sorts targets as Entries lists them.
func byHostname(a, b targets.Target) int {
	return cmp.Or(cmp.Compare(targets.FoldHostname(a.Hostname), targets.FoldHostname(b.Hostname)), cmp.Compare(a.ID, b.ID))
}

// ordinals is a key for a map of lists of small numbers.
func ordinals(list []int32) string {
	b := make([]byte, 0, 4*len(list))
	for _, n := range list {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b)
}
