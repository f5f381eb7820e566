package tunnel

import (
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// The control law of RFC 8289 (CoDel). The queue that it governs is our own
// processor's, not a path's: its target is below the 5 ms that the RFC has for
// links. Measured: with 1 ms and 50 ms it cost throughput on a busy machine
// and gained nothing.
const (
	inboundTarget   = 2 * time.Millisecond
	inboundInterval = 100 * time.Millisecond
	// inboundMaxRate bounds the drops of an episode to this many per interval.
	inboundMaxRate = 16
	// inboundLarge is the least size of a packet that may be dropped: those of
	// a stream, whose TCP repeats it at once, and never an acknowledgement, a
	// keystroke or a DNS answer.
	inboundLarge = 1000
	// inboundLine is how many packets must wait for a line to count as one:
	// a delay without it is a processor that is busy with something else.
	inboundLine = 2 * deviceBatch
)

// inbound watches what waits between the socket and the netstack, in
// WireGuard's queues for decryption. All flows wait there in one line, because
// their packets cannot be told apart before. When a line stands, which means
// that streams send faster than this end can decrypt, it has one packet of a
// stream dropped now and then, so that its sender slows down until the line is
// short. Nothing else would: nothing is lost there, so windows grow to
// megabytes, and every small exchange waits behind them.
//
// The zero value is ready for use, and safe for concurrent use.
type inbound struct {
	mu   sync.Mutex
	line int           // packets that came and were not delivered, some of which WireGuard may have refused
	last time.Time     // when packets came
	wait time.Duration // of the last delivery

	above    time.Time // when the delay will have been over target for an interval; zero: it is not
	dropping bool
	next     time.Time // when to drop again
	drops    int       // in this episode
}

// arrived counts packets that the socket gave to WireGuard.
func (q *inbound) arrived(packets int, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.last) > inboundInterval {
		q.line = 0 // what seems to be left was refused
	}
	q.last = now
	q.line += packets
}

// delivered counts packets that WireGuard gives to the netstack, the first of
// which waited so long, and reports whether one of them is to be dropped.
func (q *inbound) delivered(packets int, waited time.Duration, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	stands := q.line >= inboundLine
	q.line = max(0, q.line-packets)
	q.wait = waited
	if waited < inboundTarget || !stands {
		q.above, q.dropping = time.Time{}, false
		return false
	}
	return q.controlLocked(now)
}

// controlLocked decides as RFC 8289 section 5, while the delay is over target.
func (q *inbound) controlLocked(now time.Time) bool {
	switch {
	case q.above.IsZero():
		q.above = now.Add(inboundInterval)
		return false
	case now.Before(q.above):
		return false
	case !q.dropping:
		// An episode soon after another goes on at nearly its rate.
		if q.drops > 2 && now.Sub(q.next) < 8*inboundInterval {
			q.drops -= 2
		} else {
			q.drops = 0
		}
		q.dropping = true
	case now.Before(q.next):
		return false
	}
	q.drops = min(q.drops+1, inboundMaxRate*inboundMaxRate)
	q.next = now.Add(time.Duration(float64(inboundInterval) / math.Sqrt(float64(q.drops))))
	return true
}

// A stamp is the time of receipt, written into WireGuard's own buffer behind
// the datagram, where WireGuard leaves it: the buffer that it hands to Write is
// the one that it received into. It stays in the buffer's first page.
const (
	stampAt  = 2040
	stampEnd = stampAt + 8
	// stampMaxDatagram and stampMaxPacket bound what is stamped and what is
	// looked at. A packet has 16 bytes of WireGuard's header in front, and lost
	// 16 of authentication tag and up to 15 of padding behind.
	stampMaxDatagram = stampAt - 8
	stampMaxPacket   = stampMaxDatagram - 48
)

// stamp marks a buffer that holds a datagram of size bytes.
func stamp(buf []byte, size int, now time.Time) {
	if size <= stampMaxDatagram && len(buf) >= stampEnd {
		binary.NativeEndian.PutUint64(buf[stampAt:], uint64(now.Sub(epoch)))
	}
}

// age is how long ago the buffer of a packet was stamped; 0 if it was not.
func age(b []byte, now time.Time) time.Duration {
	if len(b) > stampMaxPacket || cap(b) < stampEnd {
		return 0
	}
	d := now.Sub(epoch) - time.Duration(binary.NativeEndian.Uint64(b[:stampEnd][stampAt:]))
	if d < 0 || d > time.Minute {
		return 0 // not a stamp
	}
	return d
}
