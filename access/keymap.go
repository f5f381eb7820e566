package access

import (
	"cmp"
	"slices"
)

// keyMap finds what is held for the rules of one selector that hold by equality:
// at most one map access for each thing that the subject is, however many rules
// there are.
type keyMap[V any] struct {
	sel  selector
	by   map[string][]held[V]
	sift sieve
}

// held is what is held for one rule. A value that rules of several attributes,
// organizations or identity providers ask for is rare, so a list is enough.
type held[V any] struct {
	qualifier string // the attribute of a value, the organization of a team
	idp       string // the identity provider that the rule is limited to, "" for any
	value     V
}

// keyMaps holds a keyMap for each selector that occurs.
type keyMaps[V any] []keyMap[V]

// keyOf returns the text to look a rule up by, and its qualifier.
func keyOf(r Rule) (text, qualifier string) {
	text = r.fields[0]
	switch {
	case r.sel == selSAML, r.sel == selOIDC, r.sel == selGitHub && r.fields[1] != "":
		text, qualifier = r.fields[1], r.fields[0]
	}
	if folded.has(r.sel) {
		return lowerASCII(text), lowerASCII(qualifier)
	}
	return text, qualifier
}

// at returns what is held for a rule, the zero value when it is new.
func (ms *keyMaps[V]) at(r Rule) *V {
	var m *keyMap[V]
	for i := range *ms {
		if (*ms)[i].sel == r.sel {
			m = &(*ms)[i]
		}
	}
	if m == nil {
		*ms = append(*ms, keyMap[V]{sel: r.sel, by: make(map[string][]held[V])})
		m = &(*ms)[len(*ms)-1]
	}
	text, qualifier := keyOf(r)
	list := m.by[text]
	for i := range list {
		if list[i].qualifier == qualifier && list[i].idp == r.idp {
			return &list[i].value
		}
	}
	m.by[text] = append(list, held[V]{qualifier: qualifier, idp: r.idp})
	return &m.by[text][len(list)].value
}

// seal prepares ms for use, when nothing will be added any more.
func (ms keyMaps[V]) seal() {
	for i := range ms {
		ms[i].sift = newSieve(len(ms[i].by))
		for text := range ms[i].by {
			ms[i].sift.add(text)
		}
	}
	slices.SortFunc(ms, func(a, b keyMap[V]) int { return cmp.Compare(a.sel, b.sel) })
}

// each calls visit with what is held for every rule that holds for s, until
// visit returns false; it reports whether it went through.
func (ms keyMaps[V]) each(s *subject, visit func(*V) bool) bool {
	for i := range ms {
		if !ms[i].each(s, visit) {
			return false
		}
	}
	return true
}

func (m *keyMap[V]) each(s *subject, visit func(*V) bool) bool {
	switch m.sel {
	case selEveryone:
		return m.find(s, "", "", visit)
	case selAnyServiceToken:
		return s.id.ServiceToken == "" || m.find(s, "", "", visit)
	case selEmail:
		return m.find(s, s.id.Email, "", visit)
	case selEmailDomain:
		return m.find(s, s.domain, "", visit)
	case selServiceToken:
		return m.find(s, s.id.ServiceToken, "", visit)
	case selLoginMethod:
		return m.find(s, s.id.IdP, "", visit)
	case selGeo:
		return m.find(s, s.dev.Country, "", visit)
	case selAuthMethod:
		return m.findEach(s, s.id.AuthMethods, "", visit)
	case selDevicePosture:
		return m.findEach(s, s.dev.PassedChecks, "", visit)
	case selSAML:
		return m.findAttributes(s, s.id.SAML, visit)
	case selOIDC:
		return m.findAttributes(s, s.id.OIDC, visit)
	case selAzureAD, selOkta, selGSuite, selGitHub:
		return m.findGroups(s, visit)
	case selNone, selIP, selEmailList, selIPList, selGroup, selCount:
	}
	return true // these do not hold by equality and are never added
}

func (m *keyMap[V]) findGroups(s *subject, visit func(*V) bool) bool {
	for i := range s.id.Groups {
		g := &s.id.Groups[i]
		var text string
		switch m.sel {
		case selAzureAD:
			text = g.ID
		case selGSuite:
			text = g.Email
		default: // Okta and GitHub
			text = g.Name
		}
		if m.sift.mayHold(text) && !m.find(s, text, "", visit) {
			return false
		}
		// A member of a team is a member of its organization: both are looked up.
		if m.sel == selGitHub && g.Name != "" && g.Team != "" && !m.find(s, g.Team, g.Name, visit) {
			return false
		}
	}
	return true
}

func (m *keyMap[V]) findAttributes(s *subject, attributes map[string][]string, visit func(*V) bool) bool {
	for name, values := range attributes {
		if !m.findEach(s, values, name, visit) {
			return false
		}
	}
	return true
}

func (m *keyMap[V]) findEach(s *subject, values []string, qualifier string, visit func(*V) bool) bool {
	for _, v := range values {
		if !m.find(s, v, qualifier, visit) {
			return false
		}
	}
	return true
}

// find visits what is held for one thing that the subject is. What the subject
// does not have is "", for which no rule asks but those without a value.
func (m *keyMap[V]) find(s *subject, text, qualifier string, visit func(*V) bool) bool {
	list := m.lookup(text)
	for i := range list {
		h := &list[i]
		if (h.idp == "" || h.idp == s.id.IdP) && m.qualifies(h.qualifier, qualifier) && !visit(&h.value) {
			return false
		}
	}
	return true
}

// qualifies compares the qualifier of a rule with that of what the subject is.
func (m *keyMap[V]) qualifies(rule, is string) bool {
	return rule == is || folded.has(m.sel) && isLowerOf(rule, is)
}

func (m *keyMap[V]) lookup(text string) []held[V] {
	if !m.sift.mayHold(text) {
		return nil
	}
	if !folded.has(m.sel) || !hasUpper(text) {
		return m.by[text]
	}
	// The buffer stays on the stack and a map is indexed by converted bytes
	// without a copy, so only a value longer than any e-mail address allocates.
	var buf [256]byte
	b := appendLower(buf[:0], text)
	return m.by[string(b)]
}

// sieve tells most texts that a map does not hold for a tenth of the price of
// asking the map. A user is in dozens of groups of which a rule names one or none,
// and each would cost a map access for every selector that looks at groups.
type sieve []uint64

// newSieve returns a sieve for n texts, with at least eight bits for each.
func newSieve(n int) sieve {
	words := 1
	for words*64 < n*8 {
		words *= 2
	}
	return make(sieve, words)
}

func (v sieve) add(text string) {
	bit := sieveBit(text)
	v[int(bit>>6)&(len(v)-1)] |= 1 << (bit & 63)
}

// mayHold is true for every text that was added.
func (v sieve) mayHold(text string) bool {
	bit := sieveBit(text)
	return v[int(bit>>6)&(len(v)-1)]&(1<<(bit&63)) != 0
}

// sieveBit mixes the length and four bytes, without ASCII case, because some
// selectors are compared without it.
func sieveBit(text string) uint32 {
	n := len(text)
	if n == 0 {
		return 0
	}
	h := uint32(n)*sieveMix ^ uint32(text[0]|0x20)
	h = h*sieveMix ^ uint32(text[n/3]|0x20)
	h = h*sieveMix ^ uint32(text[n-1-n/4]|0x20)
	h = h*sieveMix ^ uint32(text[n-1]|0x20)
	return h * 0x9E3779B1 >> 7
}

// sieveMix is the 32-bit prime of the FNV hashes.
const sieveMix = 0x01000193
