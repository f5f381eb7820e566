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
	groups memo
}

// maxRemembered is how many rule groups are asked at most once for a subject; an account has at most 300.
const maxRemembered = 512

// memo holds the answers of rule groups: without it groups that refer to many groups that refer to many would be asked
// more often than any number of flows. It is an array, so that a decision makes no allocation.
type memo struct{ known, possible, certain [maxRemembered / 64]uint64 }

// get returns the answer of a group. Groups are numbered from 1; 0 is one that nothing refers to.
func (m *memo) get(group int32) (answer truth, ok bool) {
	i, bit, ok := placeOf(group)
	if !ok || m.known[i]&bit == 0 {
		return no, false
	}
	switch {
	case m.certain[i]&bit != 0:
		return yes, true
	case m.possible[i]&bit != 0:
		return unknown, true
	}
	return no, true
}

func (m *memo) put(group int32, answer truth) {
	i, bit, ok := placeOf(group)
	if !ok {
		return
	}
	m.known[i] |= bit
	switch answer {
	case yes:
		m.certain[i] |= bit
	case unknown:
		m.possible[i] |= bit
	case no:
	}
}

func placeOf(group int32) (word int32, bit uint64, ok bool) {
	return (group - 1) / 64, 1 << ((group - 1) & 63), group > 0 && group <= maxRemembered
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
