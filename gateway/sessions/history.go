package sessions

import (
	"cmp"
	"slices"
	"time"
)

// maxEnded is how many sessions that are over the table remembers, for those who follow it and for a second kill.
const maxEnded = 512

// Ended is a session that is over.
type Ended struct {
	Session *Session
	Reason  string
	At      time.Time

	sequence uint64
}

// history numbers the changes of a table. It is guarded by the table's mutex.
type history struct {
	sequence uint64
	ended    []Ended // a ring of maxEnded, next is the oldest once it is full
	next     int
	lost     uint64        // the sequence number of the newest end that the ring has forgotten
	quiet    chan struct{} // has a token since the last session that counts for a drain ended
}

func (t *Table) changedLocked(s *Session) {
	t.sequence++
	s.changed = t.sequence
}

// touch notes that s, if it is in the table, is not what it was. A nil Table has nobody to tell.
func (t *Table) touch(s *Session) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.sessions[s]; ok {
		t.changedLocked(s)
	}
}

func (t *Table) endedLocked(s *Session, reason string) {
	t.sequence++
	e := Ended{Session: s, Reason: reason, At: time.Now(), sequence: t.sequence}
	if len(t.ended) < maxEnded {
		t.ended = append(t.ended, e)
	} else {
		t.lost = t.ended[t.next].sequence
		t.ended[t.next] = e
		t.next = (t.next + 1) % maxEnded
	}
	if t.busyLocked() == 0 {
		select {
		case t.quiet <- struct{}{}:
		default:
		}
	}
}

// Live is a session in the table.
type Live struct {
	Session  *Session
	Dialling bool
}

// Delta is what the table holds, or what changed in it.
type Delta struct {
	Sequence uint64
	// Full says that Live is everything; otherwise it is what began or changed, and Ended what is over.
	Full  bool
	Live  []Live // the newest first
	Ended []Ended
	Total int // live sessions that match; 0 when nothing has changed
}

// Since returns what changed in the sessions that match after a sequence number that an earlier Delta of this table had. Zero,
// a number from which the way is not known any more, and more than limit changes lead to a full one, of the newest limit.
func (t *Table) Since(sequence uint64, match func(*Session) bool, limit int) Delta {
	type entry struct {
		Live
		changed uint64
	}
	t.mu.Lock()
	d := Delta{Sequence: t.sequence, Full: sequence == 0 || sequence > t.sequence || sequence < t.lost}
	if !d.Full && sequence == t.sequence {
		t.mu.Unlock()
		return d
	}
	all := make([]entry, 0, len(t.sessions))
	for s, dialling := range t.sessions {
		all = append(all, entry{Live{s, dialling}, s.changed})
	}
	ended := slices.Clone(t.ended)
	t.mu.Unlock()
	all = slices.DeleteFunc(all, func(e entry) bool { return !match(e.Session) })
	d.Total = len(all)
	if !d.Full {
		changed := 0
		for _, e := range all {
			if e.changed > sequence {
				changed++
			}
		}
		d.Full = changed > limit
	}
	if !d.Full {
		all = slices.DeleteFunc(all, func(e entry) bool { return e.changed <= sequence })
		for _, e := range ended {
			if e.sequence > sequence && match(e.Session) {
				d.Ended = append(d.Ended, e)
			}
		}
		slices.SortFunc(d.Ended, func(a, b Ended) int { return cmp.Compare(a.sequence, b.sequence) })
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(b.Session.Start.Compare(a.Session.Start), cmp.Compare(b.Session.ID, a.Session.ID))
	})
	for _, e := range all[:min(len(all), limit)] {
		d.Live = append(d.Live, e.Live)
	}
	return d
}

// Find returns the live session of an ID, or the one that ended lately.
func (t *Table) Find(id string) (live *Session, ended *Ended) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.sessions {
		if s.ID == id {
			return s, nil
		}
	}
	for i := range t.ended {
		if t.ended[i].Session.ID == id {
			e := t.ended[i]
			return nil, &e
		}
	}
	return nil, nil
}

// busyLocked counts the sessions that a drain waits for: an association of UDP has no end to wait for.
func (t *Table) busyLocked() int { return t.total.flows - t.total.udp }

// Busy counts the sessions that a drain waits for, and Quiet receives some time after there were none any more.
func (t *Table) Busy() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busyLocked()
}

// Quiet has a token when the last session that Busy counts has ended; there may be others again by then.
func (t *Table) Quiet() <-chan struct{} { return t.quiet }
