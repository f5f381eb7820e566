package agent

import (
	"context"
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

	mu      sync.Mutex // guards what follows
	open    map[*flow]struct{}
	dials   map[*dialing]struct{}
	refused uint64
}

// dialing is a flow that is being dialled; it holds a place.
type dialing struct {
	cancel context.CancelFunc
	again  bool // cancelled so that it is dialled anew; guarded by the table's mutex
}

func newFlowTable(limit int) *flowTable {
	return &flowTable{limit: limit, open: make(map[*flow]struct{}), dials: make(map[*dialing]struct{})}
}

// reserve takes a place for a flow that is being dialled, with the context to do it under.
func (t *flowTable) reserve(ctx context.Context) (context.Context, *dialing, bool) {
	ctx, cancel := context.WithCancel(ctx)
	d := &dialing{cancel: cancel}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open)+len(t.dials) >= t.limit {
		t.refused++
		cancel()
		return nil, nil, false
	}
	t.dials[d] = struct{}{}
	return ctx, d, true
}

// release gives a place back, and reports whether the dial should be made again.
func (t *flowTable) release(d *dialing) (again bool) {
	defer d.cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.dials, d)
	return d.again
}

// redial has the dials under way made again. What they sent while the gateway was
// away is lost, and TCP would wait a second or more before it sends again.
func (t *flowTable) redial() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d := range t.dials {
		d.again = true
		d.cancel()
	}
}

// add turns a reserved place into an open flow.
func (t *flowTable) add(d *dialing, c *tunnel.TCPConn, v vnet.ID) *flow {
	defer d.cancel()
	f := &flow{TCPConn: c, vnet: v, opened: time.Now(), table: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.dials, d)
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
