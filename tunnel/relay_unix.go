//go:build unix

package tunnel

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// socketSource reads from a socket without holding a buffer while it is
// idle: the buffer is borrowed when the runtime's poller says that there is
// data.
type socketSource struct{ rc syscall.RawConn }

func newSocketSource(sc syscall.Conn) (*socketSource, bool) {
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, false
	}
	return &socketSource{rc}, true
}

// read waits for data and returns it in a buffer that is then the caller's.
func (s *socketSource) read() (buf *[relayBytes]byte, n int, err error) {
	var rerr error
	err = s.rc.Read(func(fd uintptr) bool {
		buf = relayBuffers.Get().(*[relayBytes]byte)
		n, rerr = readNow(fd, buf[:])
		if errors.Is(rerr, syscall.EAGAIN) {
			relayBuffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	switch {
	case buf == nil:
		return nil, 0, err // the socket was closed, or its deadline passed
	case rerr != nil:
		err = os.NewSyscallError("read", rerr)
	case n == 0:
		err = io.EOF
	}
	if err != nil {
		relayBuffers.Put(buf)
		return nil, 0, err
	}
	return buf, n, nil
}

// tryRead reads what there is; 0 and no error mean nothing.
func (s *socketSource) tryRead(b []byte) (n int, err error) {
	var rerr error
	if err := s.rc.Read(func(fd uintptr) bool {
		n, rerr = readNow(fd, b)
		return true
	}); err != nil {
		return 0, err
	}
	switch {
	case errors.Is(rerr, syscall.EAGAIN):
		return 0, nil
	case rerr != nil:
		return 0, os.NewSyscallError("read", rerr)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func readNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
