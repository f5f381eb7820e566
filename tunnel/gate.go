package tunnel

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
)

const (
	// gateBytes is enough to keep two processors busy with three batches, and
	// under half a millisecond at the speed of one. Without it, 0.3-0.7 MB
	// stood there beside one stream.
	gateBytes = 128 << 10
	// gateTimeout is how long the gate stays shut without anything being sent:
	// then WireGuard has swallowed packets (no peer, no session), which it does
	// not say.
	gateTimeout = 5 * time.Millisecond
	// wireOverhead is what WireGuard adds to a packet, which it also pads to 16.
	wireOverhead = wgdevice.MessageTransportSize
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
func (g *gate) enter(size int) { g.inside.Add(wireSize(size)) }

func wireSize(size int) int64 { return int64((size+15)&^15 + wireOverhead) }

// leave counts datagrams that WireGuard has sent.
func (g *gate) leave(bytes int64) {
	if g.inside.Add(-bytes) < 0 {
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

// meteredBind is the transport that a device gets: it remembers the port, and
// tells the gate what left.
type meteredBind struct {
	conn.Bind
	gate   *gate
	opened atomic.Uint32
}

func (b *meteredBind) port() uint16 { return uint16(b.opened.Load()) }

// Open implements conn.Bind.
func (b *meteredBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, actual, err := b.Bind.Open(port)
	if err == nil {
		b.opened.Store(uint32(actual))
	}
	return fns, actual, err
}

// Send implements conn.Bind.
func (b *meteredBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	err := b.Bind.Send(bufs, ep)
	var data int64
	for _, m := range bufs {
		if len(m) > wireOverhead && binary.LittleEndian.Uint32(m) == wgdevice.MessageTransportType {
			data += int64(len(m))
		}
	}
	if data > 0 {
		b.gate.leave(data)
	}
	return err
}
