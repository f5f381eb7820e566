package agent

import (
	"sync"
	"time"

	"weft/agent/relay"
	"weft/tunnel"
	"weft/vnet"
)

// flow is an open TCP flow with its place in the table.
type flow struct {
	*tunnel.TCPConn
	vnet   vnet.ID
	opened time.Time
	table  *flowTable
}

var _ relay.Flow = (*flow)(nil)

// Close ends the flow and gives its place back.
func (f *flow) Close() error {
	f.table.remove(f)
	return f.TCPConn.Close()
}

// Abort resets the flow and gives its place back.
func (f *flow) Abort() {
	f.table.remove(f)
	f.TCPConn.Abort()
}

// flowTable knows the open flows, for the count that users see and to end those
// that a gateway has forgotten. Safe for concurrent use.
type flowTable struct {
	limit int

	mu       sync.Mutex // guards what follows
	open     map[*flow]struct{}
	reserved int
	refused  uint64
}

func newFlowTable(limit int) *flowTable {
	return &flowTable{limit: limit, open: make(map[*flow]struct{})}
}

// reserve takes a place for a flow that is being dialled.
func (t *flowTable) reserve() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open)+t.reserved >= t.limit {
		t.refused++
		return false
	}
	t.reserved++
	return true
}

func (t *flowTable) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reserved--
}

// add turns a reserved place into an open flow.
func (t *flowTable) add(c *tunnel.TCPConn, v vnet.ID) *flow {
	f := &flow{TCPConn: c, vnet: v, opened: time.Now(), table: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reserved--
	t.open[f] = struct{}{}
	return f
}

func (t *flowTable) remove(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, f)
}

// abortBefore resets the flows that were opened before at, and returns how many.
func (t *flowTable) abortBefore(at time.Time) int {
	t.mu.Lock()
	var old []*flow
	for f := range t.open {
		if f.opened.Before(at) {
			old = append(old, f)
		}
	}
	t.mu.Unlock()
	for _, f := range old {
		f.Abort()
	}
	return len(old)
}

// count returns the open flows, in all and by network, and how many were refused.
func (t *flowTable) count() (open int, byVNET map[vnet.ID]int, refused uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	byVNET = make(map[vnet.ID]int)
	for f := range t.open {
		byVNET[f.vnet]++
	}
	return len(t.open), byVNET, t.refused
}
