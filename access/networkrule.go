package access

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"weft/access/netexpr"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

// The actions of a NetworkRule; any other blocks.
const (
	ActionAllow = "allow"
	ActionBlock = "block"
)

// NetworkRule blocks or lets pass flows before the applications are asked. It
// matches when its three expressions (package netexpr) are all True; an empty one is.
type NetworkRule struct {
	ID, Name                         string
	Precedence                       int // lowest first; unique
	Action                           string
	Traffic, Identity, DevicePosture string
	// BlockReason is shown to the user when the rule blocks.
	BlockReason string
}

// List is a named set of values that network rules refer to as $ID, and those of type ListEmail and ListIP also rules
// of policies and rule groups.
type List struct {
	ID, Name string
	Type     string `json:",omitempty"`
	Items    []string
}

// Validate checks what stands in r itself and that the lists that it names fit; the
// error names the field. It is for writes: Compile takes what is stored as it is.
func (r *NetworkRule) Validate(lists []List) error {
	if r.Action != ActionAllow && r.Action != ActionBlock {
		return kind.New(kind.Invalid, "action %q: network rules allow or block", clip(r.Action))
	}
	_, err := compileNetworkRule(r, netexpr.NewCompiler(namedLists(lists)))
	return err
}

// ValidateNetworkRules returns the first rule that Validate would refuse, and why; nil, nil when there is none.
func ValidateNetworkRules(rules []NetworkRule, lists []List) (*NetworkRule, error) {
	c := netexpr.NewCompiler(namedLists(lists))
	for i := range rules {
		if _, err := compileNetworkRule(&rules[i], c); err != nil {
			return &rules[i], err
		}
	}
	return nil, nil
}

// Names reports whether r names a list, as far as its expressions can be read.
func (r *NetworkRule) Names(list string) bool {
	names := listNames(list)
	return slices.ContainsFunc(r.ListsOf(), func(l string) bool { return slices.Contains(names, l) })
}

// ListsOf returns the lists that r names, in lower case, as far as its expressions can be read.
func (r *NetworkRule) ListsOf() []string {
	var ids []string
	for _, src := range []string{r.Traffic, r.Identity, r.DevicePosture} {
		if e, err := netexpr.Parse(src); err == nil {
			ids = append(ids, e.Lists()...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// blocks reports whether r ends a flow; nil does not.
func (r *NetworkRule) blocks() bool { return r != nil && r.Action != ActionAllow }

// networkRule is a compiled NetworkRule; nil programs are Unknown.
type networkRule struct {
	source                     *NetworkRule
	traffic, identity, posture *netexpr.Program
}

// matches reports whether the rule applies to f, failing closed.
func (r *networkRule) matches(f *netexpr.Flow) bool {
	t := min(r.traffic.Eval(f), r.identity.Eval(f), r.posture.Eval(f))
	return t == netexpr.True || t == netexpr.Unknown && r.source.blocks()
}

// networkRules are all of them in the order of precedence.
type networkRules []networkRule

// compileNetworkRules sorts and compiles. A rule that cannot be evaluated stays in
// its place, where it blocks or does not allow.
func (c *compiler) compileNetworkRules(in []NetworkRule, lists []List) {
	if len(in) == 0 {
		return
	}
	rules, named := slices.Clone(in), netexpr.NewCompiler(namedLists(lists))
	slices.SortStableFunc(rules, func(a, b NetworkRule) int {
		return cmp.Or(cmp.Compare(a.Precedence, b.Precedence), cmp.Compare(a.ID, b.ID))
	})
	for i := range rules {
		r := &rules[i]
		compiled, err := compileNetworkRule(r, named)
		if err == nil && r.Action != ActionAllow && r.Action != ActionBlock {
			err = kind.New(kind.Invalid, "action %q: it blocks", clip(r.Action))
		}
		if err != nil {
			c.problem("network rule", r.Name, r.ID, err)
		}
		c.s.network = append(c.s.network, compiled)
	}
}

func namedLists(lists []List) netexpr.Lists {
	named := make(netexpr.Lists, 2*len(lists))
	for _, l := range lists {
		for _, name := range listNames(l.ID) {
			named[name] = l.Items
		}
	}
	return named
}

// listNames are the forms in which an expression can name a list: its ID with the hyphens and, as the public API also
// takes it, without.
func listNames(id string) []string {
	id = strings.ToLower(id)
	return []string{id, strings.ReplaceAll(id, "-", "")}
}

// compileNetworkRule compiles the three expressions; what fails is left nil.
func compileNetworkRule(r *NetworkRule, c *netexpr.Compiler) (networkRule, error) {
	out := networkRule{source: r}
	var first error
	for _, part := range []struct {
		field, src string
		to         **netexpr.Program
	}{
		{"traffic", r.Traffic, &out.traffic},
		{"identity", r.Identity, &out.identity},
		{"device_posture", r.DevicePosture, &out.posture},
	} {
		e, err := netexpr.Parse(part.src)
		if err == nil {
			*part.to, err = c.Compile(e)
		}
		if err != nil && first == nil {
			first = kind.New(kind.Invalid, "%s: %s", part.field, err)
		}
	}
	return out, first
}

// flows are reused: a Flow that an expression looks at would be an allocation for each decision.
var flows = sync.Pool{New: func() any { return new(netexpr.Flow) }}

// first returns the first rule that applies to q, nil for none.
func (rules networkRules) first(q Query, isTarget bool) *NetworkRule {
	if len(rules) == 0 {
		return nil
	}
	f, _ := flows.Get().(*netexpr.Flow)
	describe(f, q, isTarget)
	defer func() {
		*f = netexpr.Flow{} // keeps nothing of q
		flows.Put(f)
	}()
	for i := range rules {
		if rules[i].matches(f) {
			return rules[i].source
		}
	}
	return nil
}

// describe fills f with what is known of q.
func describe(f *netexpr.Flow, q Query, isTarget bool) {
	*f = netexpr.Flow{AccessTarget: isTarget, Destination: q.Destination, VNET: string(q.VNET), Protocol: string(q.Transport)}
	if d := q.Device; d != nil {
		f.Source = netip.AddrPortFrom(d.SourceIP.WithZone(""), 0)
		f.SourceCountry = d.Country
		f.PassedChecks, f.FailedChecks = d.PassedChecks, d.FailedChecks
		f.PostureKnown = d.PassedChecks != nil || d.FailedChecks != nil
	}
	if id := q.Identity; id != nil && id.UserID != "" {
		f.IdentityKnown = true
		f.Email, f.Name, f.Groups, f.SAML = id.Email, id.Name, id.Groups, id.SAML
	}
}

// opens reports whether one of the target's addresses is in a network of the device, and the rules let it be reached at the port.
func (rules networkRules) opens(id *Identity, d *Device, t *targets.Target, p targets.Protocol, port uint16) bool {
	if len(rules) == 0 && d.Networks == nil {
		return true
	}
	for _, transport := range []targets.Transport{targets.TransportTCP, targets.TransportUDP} {
		if !p.Carries(transport) {
			continue
		}
		for _, a := range []*targets.Address{t.IPv4, t.IPv6} {
			if a != nil && d.mayUse(a.VNET) && !rules.first(query(id, d, a.VNET, netip.AddrPortFrom(a.Addr, port), transport), true).blocks() {
				return true
			}
		}
	}
	return false
}

func query(id *Identity, d *Device, n vnet.ID, to netip.AddrPort, transport targets.Transport) Query {
	return Query{Identity: id, Device: d, VNET: n, Destination: to, Transport: transport}
}
