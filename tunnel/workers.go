package tunnel

import "sync"

// maxIdleWorkers is how many goroutines are kept for the next piece of work.
const maxIdleWorkers = 16

// workers run short pieces of work on goroutines that are kept. What goes into
// the netstack needs a stack of 8 KiB or more, which Go takes back only when it
// collects; with workers it is a few goroutines that have one, and not one or
// two for every flow that is open.
//
// The zero value is ready for use. Safe for concurrent use.
type workers struct {
	mu     sync.Mutex
	idle   []chan func() // of those that wait; the last one is the warmest
	closed bool
}

// run starts f and returns at once; it may be called under locks.
func (p *workers) run(f func()) {
	p.mu.Lock()
	n := len(p.idle)
	if n == 0 {
		p.mu.Unlock()
		go p.work(f)
		return
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	p.mu.Unlock()
	w <- f
}

func (p *workers) work(f func()) {
	next := make(chan func(), 1)
	for f != nil {
		f()
		p.mu.Lock()
		if p.closed || len(p.idle) >= maxIdleWorkers {
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, next)
		p.mu.Unlock()
		f = <-next
	}
}

// close ends the goroutines that wait, and the others after their work. What
// run is given later still runs.
func (p *workers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		w <- nil // has room: nobody else knows this worker now
	}
	p.idle = nil
}
