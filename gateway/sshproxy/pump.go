package sshproxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// An idle session should hold little memory, and a busy one should move many packets per call. So a pump waits with a
// small buffer and takes a large one from the pool as soon as a read fills the small one.
const (
	smallBuffer = 1 << 10
	largeBuffer = 128 << 10
)

var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

// pump copies src to dst until src ends (nil) or dst does not take more (its error), and adds to n what it copied.
// At most one buffer is in flight; the windows of both channels bound the rest. tap is shown each piece before it is
// written.
func pump(dst io.Writer, src io.Reader, n *atomic.Uint64, tap func([]byte)) error {
	small := make([]byte, smallBuffer)
	for {
		r, err := pumpOnce(dst, src, n, small, tap)
		if err == nil && r == len(small) {
			err = pumpLarge(dst, src, n, tap)
		}
		if err != nil {
			return ignoreEOF(err)
		}
	}
}

// errSource is the end of the source, to tell it from an io.EOF of the destination, which the SSH library returns from
// writes to a channel that was closed.
var errSource = errors.New("source ended")

func ignoreEOF(err error) error {
	if errors.Is(err, errSource) {
		return nil
	}
	return err
}

// pumpLarge copies with a large buffer until a read would have fitted the small one.
func pumpLarge(dst io.Writer, src io.Reader, n *atomic.Uint64, tap func([]byte)) error {
	b := largeBuffers.Get().(*[]byte)
	defer largeBuffers.Put(b)
	for {
		if r, err := pumpOnce(dst, src, n, *b, tap); err != nil || r < smallBuffer {
			return err
		}
	}
}

// pumpOnce moves one read and returns its length.
func pumpOnce(dst io.Writer, src io.Reader, n *atomic.Uint64, buf []byte, tap func([]byte)) (int, error) {
	r, rerr := src.Read(buf)
	if r > 0 {
		tap(buf[:r])
		w, werr := dst.Write(buf[:r])
		n.Add(uint64(w))
		if werr != nil {
			return r, werr
		}
	}
	if rerr != nil {
		return r, errSource
	}
	return r, nil
}
