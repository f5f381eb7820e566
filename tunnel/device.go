package tunnel

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"
)

// deviceBatch is how many packets WireGuard moves at once. Measured: 128 gains
// nothing, and every packet of a batch pins 64 KiB of WireGuard's buffers.
const deviceBatch = 32

// device is the tun.Device between WireGuard and the netstack. WireGuard reads
// from it what the netstack sends, cut to segments, and writes to it what
// peers sent, which it merges (GRO) before the netstack sees it.
//
// Read is called by one goroutine; Write by one per peer.
type device struct {
	mtu     int
	queue   *fairQueue
	gate    *gate
	inbound *inbound
	drops   *drops
	events  chan tun.Event
	closed  atomic.Bool
	once    sync.Once

	// v4 and v6 are the link endpoints for packets of that version.
	v4, v6 *linkEndpoint
	// inspect, if set, sees every packet before the netstack does.
	inspect func(pkt []byte)

	gro sync.Pool // *groRun

	cur segmenter // what Read is cutting
}

// groRun is the merging state of one Write.
type groRun struct{ v4, v6 gro.GRO }

var _ tun.Device = (*device)(nil)

func newDevice(mtu int, q *fairQueue, g *gate, in *inbound, d *drops) *device {
	dev := &device{mtu: mtu, queue: q, gate: g, inbound: in, drops: d, events: make(chan tun.Event, 4)}
	dev.gro.New = func() any {
		g := new(groRun)
		g.v4.Init(true)
		g.v6.Init(true)
		return g
	}
	dev.events <- tun.EventUp
	return dev
}

// Read blocks for a packet, then fills bufs with what else is waiting.
func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := 0
	if !d.gate.wait() {
		return 0, os.ErrClosed
	}
	for n < len(bufs) {
		if !d.cur.active() {
			p, ok := d.queue.pop(n == 0)
			if !ok {
				break
			}
			if !d.cur.start(p.pkt, p.fill) {
				p.pkt.DecRef()
				d.drops.add(dropMalformed)
				continue
			}
		}
		size := d.cur.next(bufs[n][offset:])
		if size == 0 {
			d.drops.add(dropMalformed)
			continue
		}
		d.gate.enter()
		sizes[n] = size
		n++
	}
	if n == 0 {
		d.cur.release()
		return 0, os.ErrClosed
	}
	return n, nil
}

// Write hands packets of a peer to the netstack.
func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	if d.closed.Load() {
		return 0, os.ErrClosed
	}
	if len(bufs) == 0 {
		return 0, nil
	}
	g := d.gro.Get().(*groRun)
	g.v4.Dispatcher, g.v6.Dispatcher = d.v4.dispatcher(), d.v6.dispatcher()
	now := time.Now()
	drop := d.inbound.delivered(len(bufs), age(bufs[0], now), now)
	for _, b := range bufs {
		if drop && len(b) >= offset+inboundLarge {
			drop = false
			d.drops.add(dropInbound)
			continue
		}
		d.receive(g, b[offset:])
	}
	g.v4.Flush()
	g.v6.Flush()
	g.v4.Dispatcher, g.v6.Dispatcher = nil, nil
	d.gro.Put(g)
	return len(bufs), nil
}

func (d *device) receive(g *groRun, b []byte) {
	if len(b) == 0 {
		return
	}
	var run *gro.GRO
	var proto tcpip.NetworkProtocolNumber
	switch b[0] >> 4 {
	case 4:
		run, proto = &g.v4, header.IPv4ProtocolNumber
	case 6:
		run, proto = &g.v6, header.IPv6ProtocolNumber
	}
	if run == nil || run.Dispatcher == nil {
		d.drops.add(dropMalformed)
		return
	}
	if d.inspect != nil {
		d.inspect(b)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	pkt.NetworkProtocolNumber = proto
	// WireGuard has authenticated every byte, so checksums are not verified.
	pkt.RXChecksumValidated = true
	run.Enqueue(pkt)
	pkt.DecRef()
}

// Close ends Read and Write; packets that wait are dropped.
func (d *device) Close() error {
	d.once.Do(func() {
		d.closed.Store(true)
		d.gate.close()
		d.queue.close()
		close(d.events)
	})
	return nil
}

// MTU is the largest packet that Read returns.
func (d *device) MTU() (int, error) { return d.mtu, nil }

// Name is for WireGuard's log only.
func (d *device) Name() (string, error) { return "netstack", nil }

// File is nil: there is no OS device.
func (d *device) File() *os.File { return nil }

// Events reports that the device is up, and closes with it.
func (d *device) Events() <-chan tun.Event { return d.events }

// BatchSize is the number of packets per Read and Write.
func (d *device) BatchSize() int { return deviceBatch }
