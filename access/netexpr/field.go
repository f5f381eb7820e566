package netexpr

import (
	"net/netip"
	"slices"
	"strings"
)

// kind is the type of a field's values.
type kind uint8

const (
	kindBool kind = iota
	kindInt
	kindIP
	kindString
)

func (k kind) String() string {
	switch k {
	case kindBool:
		return "a boolean"
	case kindInt:
		return "a number"
	case kindIP:
		return "an address"
	default:
		return "a string"
	}
}

// field is what an expression can ask about. Exactly one of the getters is set,
// except for a field of which nothing is ever known: it has none.
type field struct {
	name string
	kind kind
	// fold compares without ASCII case: e-mail addresses and IDs.
	fold bool
	// member is how an element's part is named behind [*]; many fields share one name with another member.
	member string
	// many says that it must be asked with any() or all().
	many bool
	// keyed says that a key in brackets chooses the values.
	keyed bool

	flag   func(*Flow) bool
	number func(*Flow) uint16
	addr   func(*Flow) netip.Addr
	text   func(*Flow) string
	// nth returns a value by its index, and false behind the last; known is false when there is nothing to ask.
	nth   func(f *Flow, key string, i int) (string, bool)
	known func(*Flow) bool
}

// fields is everything that the seed's selectors name for network rules.
var fields = []field{
	{name: "access.target", kind: kindBool, flag: func(f *Flow) bool { return f.AccessTarget }},
	{name: "access.private_app", kind: kindBool, flag: func(*Flow) bool { return false }}, // there are none
	{name: "net.dst.ip", kind: kindIP, addr: func(f *Flow) netip.Addr { return f.Destination.Addr() }},
	{name: "net.dst.port", kind: kindInt, number: func(f *Flow) uint16 { return f.Destination.Port() }},
	{name: "net.dst.geo.continent", kind: kindString},
	{name: "net.dst.geo.country", kind: kindString},
	{name: "net.src.ip", kind: kindIP, addr: func(f *Flow) netip.Addr { return f.Source.Addr() }},
	{name: "net.src.port", kind: kindInt, number: func(f *Flow) uint16 { return f.Source.Port() }},
	{name: "net.src.internal_src_ip", kind: kindIP, addr: func(f *Flow) netip.Addr { return f.InternalSource }},
	{name: "net.src.geo.continent", kind: kindString},
	{name: "net.src.geo.country", kind: kindString, text: func(f *Flow) string { return f.SourceCountry }},
	{name: "net.protocol", kind: kindString, text: func(f *Flow) string { return f.Protocol }},
	{name: "net.protocol.detection", kind: kindString},
	{name: "net.sni.host", kind: kindString, fold: true},
	{name: "net.sni.domains", kind: kindString, fold: true, many: true},
	{name: "net.vnet_id", kind: kindString, fold: true, text: func(f *Flow) string { return f.VNET }},
	{name: "net.fqdn.content_category", kind: kindInt, many: true},
	{name: "net.fqdn.security_category", kind: kindInt, many: true},
	{name: "net.offramp.type", kind: kindString},
	{name: "net.onramp.type", kind: kindString},
	{name: "identity.email", kind: kindString, fold: true, text: func(f *Flow) string { return known(f, f.Email) }},
	{name: "identity.name", kind: kindString, text: func(f *Flow) string { return known(f, f.Name) }},
	groupField("id", true, func(g *Group) string { return g.ID }),
	groupField("name", false, func(g *Group) string { return g.Name }),
	groupField("email", true, func(g *Group) string { return g.Email }),
	{name: "identity.saml_attributes", kind: kindString, many: true, keyed: true, nth: samlValue, known: samlKnown},
	{name: "device_posture.checks.passed", kind: kindString, fold: true, many: true, nth: passed, known: postureKnown},
	{name: "device_posture.checks.failed", kind: kindString, fold: true, many: true, nth: failed, known: postureKnown},
}

// profileFields are what device profiles can ask beside the identity fields.
func profileFields() []field {
	list := []field{
		{name: "os.name", kind: kindString, fold: true, text: func(f *Flow) string { return f.OSName }},
		{name: "os.version", kind: kindString, text: func(f *Flow) string { return f.OSVersion }},
	}
	for _, member := range []string{"id", "name", "email"} {
		f, _ := lookup("identity.groups", member)
		alias := *f
		alias.name, alias.member = "identity.groups."+member, ""
		list = append(list, alias)
	}
	return list
}

// ofProfiles are the fields that expressions of device profiles know.
var ofProfiles = profileFields()

// lookupProfile is lookup for device profiles, which are chosen before there is a flow.
func lookupProfile(name, member string) (f *field, exists bool) {
	for i := range ofProfiles {
		if ofProfiles[i].name == name && member == "" {
			return &ofProfiles[i], true
		}
	}
	if strings.HasPrefix(name, "identity.") {
		return lookup(name, member)
	}
	return nil, false
}

func groupField(member string, fold bool, part func(*Group) string) field {
	return field{
		name: "identity.groups", kind: kindString, fold: fold, many: true, member: member,
		known: func(f *Flow) bool { return f.IdentityKnown },
		nth: func(f *Flow, _ string, i int) (string, bool) {
			if i >= len(f.Groups) {
				return "", false
			}
			return part(&f.Groups[i]), true
		},
	}
}

func known(f *Flow, s string) string {
	if !f.IdentityKnown {
		return ""
	}
	return s
}

func postureKnown(f *Flow) bool { return f.PostureKnown }

func samlKnown(f *Flow) bool { return f.IdentityKnown && f.SAML != nil }

func samlValue(f *Flow, key string, i int) (string, bool) { return at(f.SAML[key], i) }

func passed(f *Flow, _ string, i int) (string, bool) { return at(f.PassedChecks, i) }

func failed(f *Flow, _ string, i int) (string, bool) { return at(f.FailedChecks, i) }

func at(list []string, i int) (string, bool) {
	if i >= len(list) {
		return "", false
	}
	return list[i], true
}

// lookup finds a field by its name and member; exists says that the name alone is one.
func lookup(name, member string) (f *field, exists bool) {
	for i := range fields {
		if fields[i].name != name {
			continue
		}
		if fields[i].member == member {
			return &fields[i], true
		}
		exists = true
	}
	return nil, exists
}

// Fields returns the names of the fields of network rules, sorted, as they are written.
func Fields() []string { return namesOf(fields) }

// ProfileFields are those of device profiles.
func ProfileFields() []string {
	list := slices.Clone(ofProfiles)
	for _, f := range fields {
		if strings.HasPrefix(f.name, "identity.") {
			list = append(list, f)
		}
	}
	return namesOf(list)
}

func namesOf(list []field) []string {
	var names []string
	for _, f := range list {
		name := f.name
		if f.keyed {
			name += `["KEY"]`
		}
		if f.many {
			name += "[*]"
		}
		if f.member != "" {
			name += "." + f.member
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
