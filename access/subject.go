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

// selectors is a set of selectors.
type selectors uint32

func (m selectors) has(s selector) bool { return m&(1<<s) != 0 }

// folded are the selectors whose values are compared without ASCII case.
const folded selectors = 1<<selEmail | 1<<selEmailDomain | 1<<selGeo | 1<<selGSuite | 1<<selGitHub
