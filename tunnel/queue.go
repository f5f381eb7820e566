package tunnel

import (
	"hash/maphash"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// queueFlows is how many queues flows are hashed to.
	queueFlows = 1024
	// queueQuantum is what a flow may send per turn.
	queueQuantum = 4 << 10
	// datagramQueueBytes bounds what one flow other than TCP may have
	// waiting. TCP is bounded by its own send buffer, and dropping its
	// packets here would only have them sent again.
	datagramQueueBytes = 512 << 10
)

// fairQueue is where the packets of the netstack wait for WireGuard: a queue
// per flow, served by deficit round robin, flows that were idle first (after
// RFC 8290 section 4, without its drop rule). It never blocks the netstack,
// whose goroutines serve many flows.
//
// Safe for concurrent use.
type fairQueue struct {
	seed     maphash.Seed
	maxBytes int
	drops    *drops

	mu      sync.Mutex
	ready   sync.Cond // a packet came, or closed
	waiting bool      // someone is in wait
	closed  bool
	bytes   int
	flows   [queueFlows]flowQueue
	fresh   flowList // flows that were idle when their first packet came
	old     flowList // flows that have had a turn
}

// flowQueue is the FIFO of one flow, a ring of packets.
type flowQueue struct {
	next    *flowQueue // in a flowList
	listed  bool
	deficit int
	bytes   int
	head    int
	count   int
	ring    []queued
}

type queued struct {
	pkt  *stack.PacketBuffer
	fill bool // the transport checksum is left to us
}

// flowList is a FIFO of flows.
type flowList struct{ head, tail *flowQueue }

func newFairQueue(maxBytes int, d *drops) *fairQueue {
	q := &fairQueue{seed: maphash.MakeSeed(), maxBytes: maxBytes, drops: d}
	q.ready.L = &q.mu
	return q
}

// push appends a packet to its flow and takes a reference of its own. It
// reports false, and takes nothing, when the queue is full or closed.
func (q *fairQueue) push(pkt *stack.PacketBuffer, fill bool) bool {
	hash, tcp := packetFlow(q.seed, pkt)
	size := pkt.Size()

	q.mu.Lock()
	f := &q.flows[hash%queueFlows]
	full := q.bytes+size > q.maxBytes || !tcp && f.bytes+size > datagramQueueBytes
	if q.closed || full {
		q.mu.Unlock()
		if full {
			q.drops.add(dropQueueFull)
		}
		return false
	}
	f.put(queued{pkt.IncRef(), fill}, size)
	q.bytes += size
	if !f.listed {
		f.listed = true
		f.deficit = queueQuantum
		q.fresh.push(f)
	}
	wake := q.waiting
	q.waiting = false
	q.mu.Unlock()
	if wake {
		q.ready.Signal()
	}
	return true
}

// packetFlow hashes a packet by its headers, which the netstack pushes as
// views of their own in front of the payload.
func packetFlow(seed maphash.Seed, pkt *stack.PacketBuffer) (hash uint64, tcp bool) {
	var b [ipv6HeaderLen + 4]byte
	n := copy(b[:], pkt.NetworkHeader().Slice())
	n += copy(b[n:], pkt.TransportHeader().Slice())
	return flowHash(seed, b[:n]), pkt.TransportProtocolNumber == 6
}

// pop removes the packet whose turn it is. With wait it blocks until there is
// one or the queue is closed; the caller then owns the packet's reference.
func (q *fairQueue) pop(wait bool) (p queued, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes == 0 {
		if q.closed || !wait {
			return queued{}, false
		}
		q.waiting = true
		q.ready.Wait()
	}
	if q.closed {
		return queued{}, false
	}
	return q.popLocked(), true
}

// popLocked needs a packet to be there.
func (q *fairQueue) popLocked() queued {
	for {
		list := &q.fresh
		if list.head == nil {
			list = &q.old
		}
		f := list.head
		if f.deficit <= 0 {
			f.deficit += queueQuantum
			list.pop()
			q.old.push(f)
			continue
		}
		if f.count == 0 {
			// An emptied new flow goes behind the old ones once, so that a
			// flow cannot stay new by sending one packet at a time.
			list.pop()
			if list == &q.fresh && q.old.head != nil {
				q.old.push(f)
			} else {
				f.listed = false
			}
			continue
		}
		p := f.take()
		size := p.pkt.Size()
		f.bytes -= size
		f.deficit -= size
		q.bytes -= size
		return p
	}
}

// close wakes every waiter and drops what is left.
func (q *fairQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.discardLocked()
	q.mu.Unlock()
	q.ready.Broadcast()
}

// discardData drops the data that waits, and leaves what carries none: the
// resets of flows that have just been aborted must still go out.
func (q *fairQueue) discardData() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.flows {
		f := &q.flows[i]
		for range f.count {
			p := f.take()
			size := p.pkt.Size()
			f.bytes -= size
			q.bytes -= size
			if p.pkt.Data().Size() > 0 {
				p.pkt.DecRef()
				continue
			}
			f.put(p, size)
			q.bytes += size
		}
	}
}

func (q *fairQueue) discardLocked() {
	for i := range q.flows {
		f := &q.flows[i]
		for f.count > 0 {
			f.take().pkt.DecRef()
		}
		f.bytes = 0
	}
	q.bytes = 0
}

// empty reports whether nothing waits.
func (q *fairQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes == 0
}

func (f *flowQueue) put(p queued, size int) {
	if f.count == len(f.ring) {
		f.grow()
	}
	f.ring[(f.head+f.count)%len(f.ring)] = p
	f.count++
	f.bytes += size
}

func (f *flowQueue) grow() {
	ring := make([]queued, max(8, 2*len(f.ring)))
	for i := range f.count {
		ring[i] = f.ring[(f.head+i)%len(f.ring)]
	}
	f.ring, f.head = ring, 0
}

func (f *flowQueue) take() queued {
	p := f.ring[f.head]
	f.ring[f.head] = queued{}
	f.head = (f.head + 1) % len(f.ring)
	f.count--
	if f.count == 0 && len(f.ring) > 64 {
		f.ring, f.head = nil, 0 // a burst does not keep its room
	}
	return p
}

func (l *flowList) push(f *flowQueue) {
	f.next = nil
	if l.tail == nil {
		l.head = f
	} else {
		l.tail.next = f
	}
	l.tail = f
}

func (l *flowList) pop() {
	f := l.head
	l.head = f.next
	if l.head == nil {
		l.tail = nil
	}
	f.next = nil
}
