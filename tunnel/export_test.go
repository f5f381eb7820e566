package tunnel

import (
	"bytes"
	"errors"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Split cuts a packet as Read does; nil means that it cannot be cut. It takes
// over the packet's reference.
func Split(pkt *stack.PacketBuffer, fillChecksum bool) [][]byte {
	var s segmenter
	if !s.start(pkt, fillChecksum) {
		pkt.DecRef()
		return nil
	}
	var out [][]byte
	b := make([]byte, 65535)
	for s.active() {
		n := s.next(b)
		out = append(out, bytes.Clone(b[:n]))
	}
	return out
}

// ParseUnreachable and ParseIP are for fuzzing.
func ParseUnreachable(b []byte) error {
	_, err := parseUnreachable(b)
	return err
}

// ParseIP reports whether b has a whole IP header, and where it ends.
func ParseIP(b []byte) (headerLen int, ok bool) {
	info, ok := parseIP(b)
	return info.headerLen, ok
}

// Queue is a fair queue by itself.
type Queue struct {
	q *fairQueue
	d drops
}

// NewQueue returns an empty queue.
func NewQueue(maxBytes int) *Queue {
	q := new(Queue)
	q.q = newFairQueue(maxBytes, &q.d)
	return q
}

// Push appends a packet; the queue takes a reference of its own.
func (q *Queue) Push(pkt *stack.PacketBuffer) bool { return q.q.push(pkt, false) }

// DiscardData drops the packets that carry data.
func (q *Queue) DiscardData() { q.q.discardData() }

// Pop removes a packet without waiting; nil means that there is none.
func (q *Queue) Pop() *stack.PacketBuffer {
	p, _ := q.q.pop(false)
	return p.pkt
}

// PopWait waits for a packet; nil means that the queue was closed.
func (q *Queue) PopWait() *stack.PacketBuffer {
	p, _ := q.q.pop(true)
	return p.pkt
}

// Close drops what waits.
func (q *Queue) Close() { q.q.close() }

// Dropped is the number of packets refused.
func (q *Queue) Dropped() uint64 { return q.d[dropQueueFull].Load() }

// Gate is a gate by itself.
type Gate struct {
	g *gate
	d drops
}

// NewGate returns an open gate.
func NewGate(limit int64) *Gate {
	g := new(Gate)
	g.g = newGate(limit, &g.d)
	return g
}

// Wait, Enter, Leave and Close are the gate's.
func (g *Gate) Wait() bool       { return g.g.wait() }
func (g *Gate) Enter()           { g.g.enter() }
func (g *Gate) Leave(n int)      { g.g.leave(n) }
func (g *Gate) Close()           { g.g.close() }
func (g *Gate) Timeouts() uint64 { return g.d[dropGateTimeout].Load() }

// Inbound is an inbound line by itself.
type Inbound struct{ q inbound }

// Arrived and Delivered are the line's.
func (q *Inbound) Arrived(packets int) { q.q.arrived(packets, time.Now()) }

func (q *Inbound) Delivered(packets int, waited time.Duration) bool {
	return q.q.delivered(packets, waited, time.Now())
}

// Stamp and Age mark a buffer and read the mark.
func Stamp(buf []byte, size int) { stamp(buf, size, time.Now()) }
func Age(b []byte) time.Duration { return age(b, time.Now()) }

// LastAge is how long the packets waited that the netstack got last.
func LastAge(t *Tunnel) time.Duration {
	in := t.bind.inbound
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.wait
}

// Buffers are the sizes of a connection's buffers.
func Buffers(c *TCPConn) (send, receive int64) {
	o := c.ep.SocketOptions()
	return o.GetSendBufferSize(), o.GetReceiveBufferSize()
}

// UserTimeoutForTest is how long the netstack lets a flow wait for its peer whatever the peer answers; 0 means for ever.
func (c *TCPConn) UserTimeoutForTest() (time.Duration, error) {
	var o tcpip.TCPUserTimeoutOption
	if err := c.ep.GetSockOpt(&o); err != nil {
		return 0, errors.New(err.String())
	}
	return time.Duration(o), nil
}

// MaxIdleWorkersForTest is how many goroutines an end keeps for the next piece of work.
const MaxIdleWorkersForTest = maxIdleWorkers

// RekeySettleForTest is how long a handshake is left alone after a change of key.
const RekeySettleForTest = rekeySettle
