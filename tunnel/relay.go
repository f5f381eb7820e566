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
// small one otherwise.
func (c *TCPConn) ReadFrom(r io.Reader) (int64, error) {
	next := readerSource(r)
	if sc, ok := r.(syscall.Conn); ok {
		if s, ok := socketSource(sc); ok {
			next = s
		}
	}
	var total int64
	for {
		n, err := next(func(b []byte) (int, error) {
			c.writeMu.Lock()
			defer c.writeMu.Unlock()
			n, werr := c.writeLocked(b)
			return n, c.opError("write", werr)
		})
		total += int64(n)
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
