package tunnel

import (
	"errors"
	"io"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// The states of a pump.
const (
	pumpIdle    int32 = iota // waits for an event of the endpoint
	pumpRunning              // a worker has it
	pumpAgain                // and there was an event meanwhile
)

// pump copies one direction of a flow, on a worker while there is something to
// copy and on no goroutine else.
type pump struct {
	c     *TCPConn
	w     io.Writer
	done  func(int64, error)
	total int64
	state atomic.Int32
}

// Pump is WriteTo that does not wait: it copies what the other end sends to w
// until its end of stream or a failure of either, then calls done once, on a
// goroutine that done may keep for a moment only. While there is nothing to
// copy the flow has neither a buffer nor a goroutine for it.
func (c *TCPConn) Pump(w io.Writer, done func(n int64, err error)) {
	c.readMu.Lock() // until the end, as WriteTo does
	p := &pump{c: c, w: w, done: done}
	c.rd.pump.Store(p)
	c.rd.register(c.wq)
	if c.rd.check() != nil || c.ep.Readiness(c.rd.mask) != 0 {
		p.wake() // nothing will tell of what came before
	}
}

// wake has the pump look again; it never blocks.
func (p *pump) wake() {
	for {
		switch s := p.state.Load(); {
		case s == pumpAgain:
			return
		case s == pumpRunning && p.state.CompareAndSwap(pumpRunning, pumpAgain):
			return
		case s == pumpIdle && p.state.CompareAndSwap(pumpIdle, pumpRunning):
			p.c.workers.run(p.run)
			return
		}
	}
}

// run copies what there is.
func (p *pump) run() {
	for {
		err := p.copyWaiting()
		if !errors.Is(err, errNothingWaits) {
			p.end(err)
			return
		}
		if p.c.rd.register(p.c.wq) {
			continue // an event may have come before
		}
		if p.state.CompareAndSwap(pumpRunning, pumpIdle) {
			return
		}
		p.state.Store(pumpRunning) // it was pumpAgain
	}
}

// errNothingWaits says that a flow has nothing to read now.
var errNothingWaits = errors.New("nothing waits")

func (p *pump) copyWaiting() error {
	for {
		if err := p.c.rd.check(); err != nil {
			return err
		}
		buf := relayBuffers.Get().(*[relayBytes]byte)
		n, terr := p.c.tryRead(buf[:])
		if terr != nil {
			relayBuffers.Put(buf)
			if _, ok := terr.(*tcpip.ErrWouldBlock); ok {
				return errNothingWaits
			}
			return p.c.rd.failure(terr)
		}
		m, err := p.w.Write(buf[:n])
		relayBuffers.Put(buf)
		p.total += int64(m)
		switch {
		case err != nil:
			return writerError{err}
		case m < n:
			return writerError{io.ErrShortWrite}
		}
	}
}

func (p *pump) end(err error) {
	p.c.rd.pump.Store(nil)
	p.c.readMu.Unlock()
	var we writerError
	if errors.As(err, &we) {
		err = we.error
	} else if err = p.c.opError("read", err); errors.Is(err, io.EOF) {
		err = nil
	}
	p.done(p.total, err)
}

// writerError is a failure of the writer and not of the flow.
type writerError struct{ error }
