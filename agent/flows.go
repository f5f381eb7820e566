package agent

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"weft/agent/origin"
	"weft/agent/relay"
	"weft/tunnel"
	"weft/vnet"
)

// flowInfo is what is known of a flow from its beginning; it does not change.
type flowInfo struct {
	id     uint64
	dst    destination // names the VNET that the flow is pinned to
	from   origin.Origin
	opened time.Time
}

// flow is an open TCP flow with its place in the table.
type flow struct {
	*tunnel.TCPConn
	flowInfo
	table *flowTable
}

var (
	_ relay.Flow = (*flow)(nil)
	_ openFlow   = (*flow)(nil)
	_ openFlow   = (*packetFlow)(nil)
)

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

func (f *flow) info() *flowInfo { return &f.flowInfo }

// packetFlow is an open UDP flow; it is listed, and limited where it is made.
type packetFlow struct {
	*tunnel.UDPConn
	flowInfo
	table *flowTable
}

var _ net.Conn = (*packetFlow)(nil)

// Close ends the flow.
func (f *packetFlow) Close() error {
	f.table.remove(f)
	return f.UDPConn.Close()
}

// Abort ends the flow.
func (f *packetFlow) Abort() {
	f.table.remove(f)
	f.UDPConn.Abort()
}

func (f *packetFlow) info() *flowInfo { return &f.flowInfo }

// openFlow is what the table needs of both.
type openFlow interface {
	info() *flowInfo
	Bytes() (sent, received uint64)
	Abort()
}

// vnetTotals are the flows of one VNET since the start of the agent.
type vnetTotals struct {
	open           int
	opened         uint64
	sent, received uint64 // of those that ended; openFlow has the others
}

// flowTable knows the open flows, for the lists that users see and to end those that a gateway has forgotten. Its limit
// is on TCP flows; UDP flows are counted by the proxy that makes them. Safe for concurrent use.
type flowTable struct {
	limit int

	mu      sync.Mutex // guards what follows
	next    uint64
	open    map[openFlow]struct{}
	streams int // TCP flows among the open
	dials   map[*dialing]struct{}
	refused uint64
	totals  map[vnet.ID]*vnetTotals
}

// dialing is a flow that is being dialled; it holds a place.
type dialing struct {
	cancel context.CancelFunc
	again  bool // cancelled so that it is dialled anew; guarded by the table's mutex
}

func newFlowTable(limit int) *flowTable {
	return &flowTable{
		limit: limit, open: make(map[openFlow]struct{}), dials: make(map[*dialing]struct{}),
		totals: make(map[vnet.ID]*vnetTotals),
	}
}

// reserve takes a place for a flow that is being dialled, with the context to do it under.
func (t *flowTable) reserve(ctx context.Context) (context.Context, *dialing, bool) {
	ctx, cancel := context.WithCancel(ctx)
	d := &dialing{cancel: cancel}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams+len(t.dials) >= t.limit {
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
func (t *flowTable) add(d *dialing, c *tunnel.TCPConn, dst destination, from origin.Origin) *flow {
	defer d.cancel()
	f := &flow{TCPConn: c, flowInfo: flowInfo{dst: dst, from: from, opened: time.Now()}, table: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.dials, d)
	t.streams++
	t.enterLocked(f)
	return f
}

// addPacket enters a UDP flow.
func (t *flowTable) addPacket(c *tunnel.UDPConn, dst destination, from origin.Origin) *packetFlow {
	f := &packetFlow{UDPConn: c, flowInfo: flowInfo{dst: dst, from: from, opened: time.Now()}, table: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.enterLocked(f)
	return f
}

func (t *flowTable) enterLocked(f openFlow) {
	t.next++
	f.info().id = t.next
	t.open[f] = struct{}{}
	id := f.info().dst.network.ID
	if t.totals[id] == nil {
		t.totals[id] = new(vnetTotals)
	}
	t.totals[id].open++
	t.totals[id].opened++
}

func (t *flowTable) remove(f openFlow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[f]; !ok {
		return
	}
	delete(t.open, f)
	if _, stream := f.(*flow); stream {
		t.streams--
	}
	n := t.totals[f.info().dst.network.ID]
	sent, received := f.Bytes()
	n.open--
	n.sent, n.received = n.sent+sent, n.received+received
}

// all returns the open flows.
func (t *flowTable) all() []openFlow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.open))
}

// abort resets the flows that match, and returns how many.
func (t *flowTable) abort(match func(*flowInfo) bool) int {
	n := 0
	for _, f := range t.all() {
		if match(f.info()) {
			f.Abort()
			n++
		}
	}
	return n
}

// abortBefore resets the TCP flows that were opened before at, and returns how many. UDP flows know no gateway state
// that could be lost.
func (t *flowTable) abortBefore(at time.Time) int {
	n := 0
	for _, f := range t.all() {
		if _, stream := f.(*flow); stream && f.info().opened.Before(at) {
			f.Abort()
			n++
		}
	}
	return n
}

// count returns the open TCP flows, in all and by network, and how many were refused.
func (t *flowTable) count() (open int, byVNET map[vnet.ID]int, refused uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	byVNET = make(map[vnet.ID]int)
	for f := range t.open {
		if _, stream := f.(*flow); stream {
			byVNET[f.info().dst.network.ID]++
		}
	}
	return t.streams, byVNET, t.refused
}

// traffic returns the totals of each network, open flows included.
func (t *flowTable) traffic() map[vnet.ID]vnetTotals {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[vnet.ID]vnetTotals, len(t.totals))
	for id, n := range t.totals {
		out[id] = *n
	}
	for f := range t.open {
		id := f.info().dst.network.ID
		n := out[id]
		sent, received := f.Bytes()
		n.sent, n.received = n.sent+sent, n.received+received
		out[id] = n
	}
	return out
}
