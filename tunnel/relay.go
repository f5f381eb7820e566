package tunnel

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

const (
	// relayBytes is what a copy borrows while data moves. Measured: 256 KiB is
	// no faster.
	relayBytes = 32 << 10
	// relayIdleBytes is what a copy holds while it waits for a reader that
	// cannot be asked whether it has data.
	relayIdleBytes = 1 << 10
)

var relayBuffers = sync.Pool{New: func() any { return new([relayBytes]byte) }}

// WriteTo copies what the other end sends to w until its end of stream. It
// borrows a buffer only while there is data.
func (c *TCPConn) WriteTo(w io.Writer) (int64, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	var total int64
	for {
		var buf *[relayBytes]byte
		n := 0
		err := c.rd.do(c.wq, func() tcpip.Error {
			buf = relayBuffers.Get().(*[relayBytes]byte)
			var terr tcpip.Error
			if n, terr = c.tryRead(buf[:]); terr != nil {
				relayBuffers.Put(buf)
			}
			return terr
		})
		if err != nil {
			if err = c.opError("read", err); errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
		m, err := w.Write(buf[:n])
		relayBuffers.Put(buf)
		total += int64(m)
		if err != nil {
			return total, err
		}
		if m < n {
			return total, io.ErrShortWrite
		}
	}
}

// ReadFrom copies r to the other end until r's end. While r has nothing it
// holds no buffer if r is a socket whose readiness can be waited for, and a
// small one otherwise; what a socket has is sent by a worker, so that the
// goroutine that waits needs little stack.
func (c *TCPConn) ReadFrom(r io.Reader) (int64, error) {
	if sc, ok := r.(syscall.Conn); ok {
		if s, ok := newSocketSource(sc); ok {
			return c.readFromSocket(s)
		}
	}
	next := readerSource(r)
	var total int64
	for {
		n, err := next(c.writeAll)
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// writeAll is Write that waits for no other.
func (c *TCPConn) writeAll(b []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n, err := c.writeLocked(b)
	return n, c.opError("write", err)
}

// readFromSocket waits for data on the caller's goroutine, and has a worker
// send it and what follows at once.
func (c *TCPConn) readFromSocket(s *socketSource) (int64, error) {
	var total int64
	var buf *[relayBytes]byte
	var n int
	done := make(chan error, 1)
	send := func() {
		var err error
		for err == nil && n > 0 {
			var m int
			m, err = c.writeAll(buf[:n])
			total += int64(m)
			if err == nil {
				n, err = s.tryRead(buf[:])
			}
		}
		relayBuffers.Put(buf)
		done <- err
	}
	for {
		var err error
		if buf, n, err = s.read(); err == nil {
			c.workers.run(send)
			err = <-done
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// source reads once and gives what it read to write.
type source func(write func([]byte) (int, error)) (int, error)

// readerSource reads from any reader: with a small buffer first, and with a
// large one as long as the reader keeps filling what it is given.
func readerSource(r io.Reader) source {
	small := make([]byte, relayIdleBytes)
	busy := false
	return func(write func([]byte) (int, error)) (int, error) {
		b := small
		if busy {
			buf := relayBuffers.Get().(*[relayBytes]byte)
			defer relayBuffers.Put(buf)
			b = buf[:]
		}
		n, rerr := r.Read(b)
		busy = n >= relayIdleBytes
		return deliver(b[:n], rerr, write)
	}
}

// deliver writes b, then reports the reader's error.
func deliver(b []byte, rerr error, write func([]byte) (int, error)) (int, error) {
	if len(b) == 0 {
		return 0, rerr
	}
	n, err := write(b)
	if err != nil {
		return n, err
	}
	return n, rerr
}
