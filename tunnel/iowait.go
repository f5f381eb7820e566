package tunnel

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// ioWait blocks one direction of a flow until its endpoint is ready, its
// deadline passes or the flow is closed. It registers with the endpoint on the
// first wait and owns no goroutine; the timer exists only while a deadline does.
type ioWait struct {
	mask   waiter.EventMask
	wake   chan struct{} // holds one token: look again
	closed atomic.Bool
	until  atomic.Int64 // deadline as nanoseconds after epoch; 0: none
	// stalled, if set, is called again and again while an operation waits.
	stalled func()
	// pump, if set, is woken instead of an operation that waits.
	pump atomic.Pointer[pump]

	mu         sync.Mutex
	entry      waiter.Entry
	registered bool
	timer      *time.Timer
}

// epoch makes deadlines comparable by the monotonic clock.
var epoch = time.Now()

func (w *ioWait) init(mask waiter.EventMask) {
	w.mask = mask | waiter.EventErr | waiter.EventHUp
	w.wake = make(chan struct{}, 1)
}

// NotifyEvent is called by the endpoint with its queue locked.
func (w *ioWait) NotifyEvent(waiter.EventMask) { w.notify() }

func (w *ioWait) notify() {
	if p := w.pump.Load(); p != nil {
		p.wake()
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// check reports why an operation must not go on.
func (w *ioWait) check() error {
	if w.closed.Load() {
		return net.ErrClosed
	}
	if t := w.until.Load(); t != 0 && int64(time.Since(epoch)) >= t {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// do repeats op until it does something other than block.
func (w *ioWait) do(q *waiter.Queue, op func() tcpip.Error) error {
	for {
		if err := w.check(); err != nil {
			return err
		}
		err := op()
		if err == nil {
			return nil
		}
		if _, ok := err.(*tcpip.ErrWouldBlock); !ok {
			return w.failure(err)
		}
		if w.register(q) {
			continue // an event may have come before
		}
		w.park()
	}
}

// failure is what an operation that failed returns.
func (w *ioWait) failure(err tcpip.Error) error {
	if w.closed.Load() {
		return net.ErrClosed
	}
	return netError{err}
}

// stallTime is how long an operation waits between calls of stalled.
const stallTime = 500 * time.Millisecond

// park waits for a token.
func (w *ioWait) park() {
	if w.stalled == nil {
		<-w.wake
		return
	}
	t := time.NewTimer(stallTime)
	defer t.Stop()
	select {
	case <-w.wake:
	case <-t.C:
		w.stalled()
	}
}

// register reports whether it did so now.
func (w *ioWait) register(q *waiter.Queue) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.registered {
		return false
	}
	w.registered = true
	w.entry.Init(w, w.mask)
	q.EventRegister(&w.entry)
	return true
}

func (w *ioWait) setDeadline(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if t.IsZero() {
		w.until.Store(0)
		return
	}
	d := time.Until(t)
	w.until.Store(max(1, int64(time.Since(epoch)+d)))
	if d <= 0 {
		w.notify()
		return
	}
	w.timer = time.AfterFunc(d, w.notify)
}

// close ends waiting for good.
func (w *ioWait) close(q *waiter.Queue) {
	w.closed.Store(true)
	w.mu.Lock()
	if w.registered {
		q.EventUnregister(&w.entry)
		w.registered = false
	}
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.mu.Unlock()
	w.notify()
}

// netError carries the netstack's error out of do.
type netError struct{ err tcpip.Error }

func (e netError) Error() string { return e.err.String() }
