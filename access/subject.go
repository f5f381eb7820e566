package access

import "net/netip"

// truth is the answer of a rule, in Kleene's three-valued logic. Unknown is what
// a rule says that nobody can evaluate now: a selector from a newer version, a
// group that is gone, a country that was not found. It never grants: it is not
// enough for include or require, and too much for exclude.
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

func (t truth) not() truth { return yes - t }

// subject is who asks. It points at the caller's identity and device for the
// time of one call, and makes no allocation of its own.
type subject struct {
	id     *Identity
	dev    *Device
	domain string     // of the e-mail, as given
	source netip.Addr // of the device, unmapped
}

func newSubject(id *Identity, dev *Device) subject {
	s := subject{id: id, dev: dev, source: dev.SourceIP.Unmap().WithZone("")}
	_, s.domain, _ = splitEmail(id.Email)
	return s
}

// key is a rule that holds by equality: a selector, its values (folded where the
// selector is), and the identity provider it is limited to.
type key struct {
	sel  selector
	a, b string
	idp  string
}

// selectors is a set of selectors.
type selectors uint32

func (m selectors) has(s selector) bool { return m&(1<<s) != 0 }

// folded are the selectors whose values are compared without ASCII case.
const folded selectors = 1<<selEmail | 1<<selEmailDomain | 1<<selGeo | 1<<selGSuite | 1<<selGitHub

// perIdP are the selectors that may be limited to an identity provider.
const perIdP selectors = 1<<selSAML | 1<<selOIDC | 1<<selAzureAD | 1<<selGitHub | 1<<selGSuite | 1<<selOkta

// newKey returns the key of a rule that holds by equality.
func newKey(r Rule) key {
	k := key{sel: r.sel, a: r.fields[0], b: r.fields[1], idp: r.idp}
	if folded.has(r.sel) {
		k.a, k.b = lowerASCII(k.a), lowerASCII(k.b)
	}
	return k
}

// each calls visit for everything that the subject is, among the wanted
// selectors, until visit returns false; it reports whether it went through. The
// values are as given: lookup folds them.
func (s *subject) each(wanted selectors, visit func(sel selector, a, b string) bool) bool {
	one := func(sel selector, v string) bool {
		return v == "" || !wanted.has(sel) || visit(sel, v, "")
	}
	many := func(sel selector, vs []string) bool {
		if !wanted.has(sel) {
			return true
		}
		for _, v := range vs {
			if v != "" && !visit(sel, v, "") {
				return false
			}
		}
		return true
	}
	if wanted.has(selEveryone) && !visit(selEveryone, "", "") {
		return false
	}
	if wanted.has(selAnyServiceToken) && s.id.ServiceToken != "" && !visit(selAnyServiceToken, "", "") {
		return false
	}
	return one(selEmail, s.id.Email) && one(selEmailDomain, s.domain) &&
		one(selServiceToken, s.id.ServiceToken) && one(selLoginMethod, s.id.IdP) && one(selGeo, s.dev.Country) &&
		many(selAuthMethod, s.id.AuthMethods) && many(selDevicePosture, s.dev.PassedChecks) &&
		s.eachGroup(wanted, visit) &&
		eachAttribute(wanted, selSAML, s.id.SAML, visit) && eachAttribute(wanted, selOIDC, s.id.OIDC, visit)
}

// memberships are the selectors that look at Identity.Groups.
const memberships selectors = 1<<selAzureAD | 1<<selOkta | 1<<selGSuite | 1<<selGitHub

func (s *subject) eachGroup(wanted selectors, visit func(sel selector, a, b string) bool) bool {
	if wanted&memberships == 0 {
		return true
	}
	for i := range s.id.Groups {
		g := &s.id.Groups[i]
		if wanted.has(selAzureAD) && g.ID != "" && !visit(selAzureAD, g.ID, "") {
			return false
		}
		if wanted.has(selGSuite) && g.Email != "" && !visit(selGSuite, g.Email, "") {
			return false
		}
		if g.Name == "" {
			continue
		}
		if wanted.has(selOkta) && !visit(selOkta, g.Name, "") {
			return false
		}
		// A member of a team is a member of its organization.
		if wanted.has(selGitHub) && (!visit(selGitHub, g.Name, "") || g.Team != "" && !visit(selGitHub, g.Name, g.Team)) {
			return false
		}
	}
	return true
}

func eachAttribute(wanted selectors, sel selector, m map[string][]string, visit func(sel selector, a, b string) bool) bool {
	if !wanted.has(sel) {
		return true
	}
	for name, values := range m {
		for _, v := range values {
			if !visit(sel, name, v) {
				return false
			}
		}
	}
	return true
}

// lookup finds what m holds for one thing that the subject is, limited to idp
// ("" for rules that are not limited).
func lookup[V any](m map[key]V, sel selector, a, b, idp string) (V, bool) {
	if !folded.has(sel) || !hasUpper(a) && !hasUpper(b) {
		v, ok := m[key{sel, a, b, idp}]
		return v, ok
	}
	// The buffers stay on the stack, and a map is indexed by converted bytes
	// without a copy; only a value longer than any e-mail address allocates.
	var bufA, bufB [256]byte
	la, lb := appendLower(bufA[:0], a), appendLower(bufB[:0], b)
	v, ok := m[key{sel, string(la), string(lb), idp}]
	return v, ok
}
