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
	lists  []*ruleSet // by number
	known  memo
}

// How many rule groups and lists are asked at most once for a subject; an account has at most 300 and 100.
const (
	maxRememberedGroups = 512
	maxRememberedLists  = 128
	maxRemembered       = maxRememberedGroups + maxRememberedLists
)

// groupPlace is the place of the n-th group in memo, from 0.
func groupPlace(n int) int32 {
	if n >= maxRememberedGroups {
		return 0
	}
	return int32(n) + 1
}

// listPlace is the place of a list in memo, behind the groups.
func listPlace(n int32) int32 {
	if n >= maxRememberedLists {
		return 0
	}
	return maxRememberedGroups + n + 1
}

// memo holds the answers of rule groups and lists: without it groups that refer to many groups that refer to many would
// be asked more often than any number of flows. It is an array, so that a decision makes no allocation.
type memo struct{ known, possible, certain [maxRemembered / 64]uint64 }

// get returns the answer at a place. Places begin with 1; 0 is of what is not remembered.
func (m *memo) get(place int32) (answer truth, ok bool) {
	i, bit, ok := placeOf(place)
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

func (m *memo) put(place int32, answer truth) {
	i, bit, ok := placeOf(place)
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

func placeOf(place int32) (word int32, bit uint64, ok bool) {
	return (place - 1) / 64, 1 << ((place - 1) & 63), place > 0 && place <= maxRemembered
}

func (s *Snapshot) subject(id *Identity, dev *Device) subject {
	sub := subject{id: id, dev: dev, source: dev.SourceIP.Unmap().WithZone(""), lists: s.lists.sets}
	_, sub.domain, _ = splitEmail(id.Email)
	return sub
}

// selectors is a set of selectors.
type selectors uint32

func (m selectors) has(s selector) bool { return m&(1<<s) != 0 }

// folded are the selectors whose values are compared without ASCII case.
const folded selectors = 1<<selEmail | 1<<selEmailDomain | 1<<selGeo | 1<<selGSuite | 1<<selGitHub
