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
func socketSource(sc syscall.Conn) (source, bool) {
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, false
	}
	return func(write func([]byte) (int, error)) (int, error) {
		var buf *[relayBytes]byte
		n := 0
		var rerr error
		err := rc.Read(func(fd uintptr) bool {
			buf = relayBuffers.Get().(*[relayBytes]byte)
			for {
				n, rerr = syscall.Read(int(fd), buf[:])
				if !errors.Is(rerr, syscall.EINTR) {
					break
				}
			}
			if errors.Is(rerr, syscall.EAGAIN) {
				relayBuffers.Put(buf)
				buf = nil
				return false
			}
			return true
		})
		if buf == nil {
			return 0, err // the socket was closed, or its deadline passed
		}
		defer relayBuffers.Put(buf)
		if rerr != nil {
			return 0, os.NewSyscallError("read", rerr)
		}
		if n == 0 {
			return 0, io.EOF
		}
		return deliver(buf[:n], nil, write)
	}, true
}
