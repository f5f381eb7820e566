package connwire

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// copyBytes is what a copy borrows while data moves.
const copyBytes = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// Stream is a QUIC stream as a net.Conn with half-close and abort. Unlike the
// stream itself, it may be closed while another goroutine writes.
type Stream struct {
	*quic.Stream
	local, remote net.Addr

	writeMu sync.Mutex // held while writing
	fin     bool       // under writeMu
	closed  atomic.Bool
}

// NewStream wraps s; the addresses are what LocalAddr and RemoteAddr answer.
func NewStream(s *quic.Stream, local, remote net.Addr) *Stream {
	return &Stream{Stream: s, local: local, remote: remote}
}

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// Read implements net.Conn.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	return n, s.mapError(err)
}

// Write implements net.Conn.
func (s *Stream) Write(b []byte) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.fin {
		return 0, net.ErrClosed
	}
	n, err := s.Stream.Write(b)
	return n, s.mapError(err)
}

// CloseWrite sends FIN after everything written.
func (s *Stream) CloseWrite() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.fin {
		return nil
	}
	s.fin = true
	return s.Stream.Close()
}

// Close ends the stream: what was written is delivered, what comes is not read.
// A write that is under way is cut off, and then the other end sees an abort.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	s.CancelRead(StreamDone)
	if !s.writeMu.TryLock() {
		s.CancelWrite(StreamAbort)
		return nil
	}
	defer s.writeMu.Unlock()
	if s.fin {
		return nil
	}
	s.fin = true
	_ = s.Stream.Close() // fails only when the other end wants no more, and then it is closed
	return nil
}

// Abort resets both directions at once.
func (s *Stream) Abort() {
	s.closed.Store(true)
	s.CancelRead(StreamAbort)
	s.CancelWrite(StreamAbort)
}

// WriteTo copies until the end of the stream. It borrows a buffer only while there is data.
func (s *Stream) WriteTo(w io.Writer) (int64, error) {
	var total int64
	var probe [1]byte
	for {
		if _, err := s.Peek(probe[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return total, s.drainEOF()
			}
			return total, s.mapError(err)
		}
		n, err := s.copyOnce(w)
		total += n
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// drainEOF reads the end itself: a peek leaves it, and the stream counts as
// complete only when it was read.
func (s *Stream) drainEOF() error {
	var b [1]byte
	if _, err := s.Stream.Read(b[:]); err != nil && !errors.Is(err, io.EOF) {
		return s.mapError(err)
	}
	return nil
}

func (s *Stream) copyOnce(w io.Writer) (int64, error) {
	buf := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buf)
	n, rerr := s.Stream.Read(buf[:])
	if n > 0 {
		m, err := w.Write(buf[:n])
		if err != nil {
			return int64(m), err
		}
	}
	if rerr != nil && !errors.Is(rerr, io.EOF) {
		rerr = s.mapError(rerr)
	}
	return int64(n), rerr
}

// mapError gives the end of our own making the name that callers of net know.
func (s *Stream) mapError(err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // only the bare EOF is the end of a stream
		return err
	}
	if s.closed.Load() {
		return net.ErrClosed
	}
	return err
}
