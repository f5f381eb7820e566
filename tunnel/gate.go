package tunnel

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// gatePackets is three batches, which keeps two processors busy: about 120
	// KB, half a millisecond of what one sends. Without a gate, 0.3-0.7 MB
	// stood there beside one stream.
	gatePackets = 3 * deviceBatch
	// gateTimeout is how long the gate stays shut without anything being sent:
	// then WireGuard has swallowed packets (no peer, no session), which it does
	// not say.
	gateTimeout = 5 * time.Millisecond
)

// gate bounds what is inside WireGuard between reading a packet and giving it
// to the socket. WireGuard's own queues there are FIFOs of a thousand batches;
// what they hold, every other flow waits behind. With the gate it waits in the
// fair queue instead, where other flows pass it.
type gate struct {
	limit   int64
	drops   *drops
	inside  atomic.Int64
	waiting atomic.Bool
	room    chan struct{} // holds one token: look again
	closed  chan struct{}
	once    sync.Once
	timer   *time.Timer // of the one goroutine that waits
}

func newGate(limit int64, d *drops) *gate {
	return &gate{limit: limit, drops: d, room: make(chan struct{}, 1), closed: make(chan struct{})}
}

// wait returns when there is room; false means that the gate was closed. It
// is for one goroutine.
func (g *gate) wait() bool {
	if g.inside.Load() < g.limit {
		return true
	}
	if g.timer == nil {
		g.timer = time.NewTimer(gateTimeout)
	}
	defer g.timer.Stop()
	for {
		g.waiting.Store(true)
		before := g.inside.Load()
		if before < g.limit {
			g.waiting.Store(false)
			return true
		}
		g.timer.Reset(gateTimeout)
		select {
		case <-g.room:
		case <-g.closed:
			return false
		case <-g.timer.C:
			if g.inside.Load() >= before {
				g.inside.Store(0)
				g.drops.add(dropGateTimeout)
			}
		}
	}
}

// enter counts a packet that WireGuard is given.
func (g *gate) enter() { g.inside.Add(1) }

// leave counts packets that WireGuard has sent.
func (g *gate) leave(packets int) {
	if g.inside.Add(-int64(packets)) < 0 {
		// Packets that had been given up for lost: they waited for a session.
		g.inside.Store(0)
	}
	if g.waiting.Swap(false) {
		select {
		case g.room <- struct{}{}:
		default:
		}
	}
}

func (g *gate) close() { g.once.Do(func() { close(g.closed) }) }
