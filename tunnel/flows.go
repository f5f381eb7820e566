package tunnel

import (
	"net/netip"
	"sync"
)

// flowTable knows the open flows of one end and how many each source has.
// Safe for concurrent use.
type flowTable struct {
	limits Limits
	drops  *drops

	mu      sync.Mutex
	closed  bool
	open    map[*flowConn]flowEntry
	flows   map[sourceKey]int
	count   int // open flows and places reserved
	dials   map[sourceKey]int
	dialing map[Flow]uint32 // requests in flight: sequence number of their SYN
}

type flowEntry struct {
	flow   Flow
	source sourceKey
}

// sourceKey is what limits count by: a peer, or an address of no known peer.
type sourceKey struct {
	peer PublicKey
	addr netip.Addr
}

func newFlowTable(l Limits, d *drops) *flowTable {
	return &flowTable{
		limits:  l,
		drops:   d,
		open:    make(map[*flowConn]flowEntry),
		flows:   make(map[sourceKey]int),
		dials:   make(map[sourceKey]int),
		dialing: make(map[Flow]uint32),
	}
}

// reserve takes a place for a flow of a source, or says which limit refused.
func (t *flowTable) reserve(src sourceKey) (dropCause, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.count >= t.limits.MaxFlows:
		return dropFlowLimit, false
	case t.flows[src] >= t.limits.MaxFlowsPerSource:
		return dropFlowSourceLimit, false
	}
	t.count++
	t.flows[src]++
	return 0, true
}

// held is how many places a source has.
func (t *flowTable) held(src sourceKey) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flows[src]
}

// release gives a place back.
func (t *flowTable) release(src sourceKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked(src)
}

func (t *flowTable) releaseLocked(src sourceKey) {
	t.count--
	decrement(t.flows, src)
}

// add enters a flow whose place was reserved; the place is released when the
// flow is closed. It reports false, and closes the flow, when the table is
// closed.
func (t *flowTable) add(c *flowConn, f Flow, src sourceKey) bool {
	c.onClose = func() { t.remove(c) }
	t.mu.Lock()
	if t.closed {
		t.releaseLocked(src)
		t.mu.Unlock()
		c.onClose = nil
		c.Abort()
		return false
	}
	t.open[c] = flowEntry{f, src}
	t.mu.Unlock()
	return true
}

func (t *flowTable) remove(c *flowConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.open[c]; ok {
		delete(t.open, c)
		t.releaseLocked(e.source)
	}
}

// abort resets every open flow that matches.
func (t *flowTable) abort(match func(Flow) bool) int {
	t.mu.Lock()
	var hit []*flowConn
	for c, e := range t.open {
		if match(e.flow) {
			hit = append(hit, c)
		}
	}
	t.mu.Unlock()
	n := 0
	for _, c := range hit {
		if c.end(true) {
			n++
		}
	}
	return n
}

// close refuses flows from now on.
func (t *flowTable) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
}

// dialVerdict says what becomes of a SYN.
type dialVerdict int

const (
	dialNew      dialVerdict = iota // hand it on
	dialRepeated                    // the same request is in flight: absorb it
	dialIgnore                      // over the total limit: the client retries
	dialReset                       // over the limit of its source
)

// beginDial enters a TCP request.
func (t *flowTable) beginDial(f Flow, src sourceKey, seq uint32) dialVerdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.dialing[f]; ok {
		return dialRepeated
	}
	switch {
	case t.closed || len(t.dialing) >= t.limits.MaxDialsInFlight:
		t.drops.add(dropDialLimit)
		return dialIgnore
	case t.dials[src] >= t.limits.MaxDialsPerSource:
		t.drops.add(dropDialSourceLimit)
		return dialReset
	}
	t.dialing[f] = seq
	t.dials[src]++
	return dialNew
}

// dialSequence is the sequence number of a request's SYN.
func (t *flowTable) dialSequence(f Flow) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dialing[f]
}

// endDial forgets a request.
func (t *flowTable) endDial(f Flow, src sourceKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.dialing[f]; ok {
		delete(t.dialing, f)
		decrement(t.dials, src)
	}
}

func (t *flowTable) counts() (open, dials int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open), len(t.dialing)
}

func decrement(m map[sourceKey]int, k sourceKey) {
	if m[k] <= 1 {
		delete(m, k)
		return
	}
	m[k]--
}
