//go:build unix

package connwire

import (
	"io"
	"net"
	"os"
	"syscall"
)

// readBorrowed reads once into a borrowed buffer, which it takes only when the
// runtime's poller says that there is something to read.
func (r socketReader) readBorrowed() (buf *[copyBytes]byte, n int, err error) {
	rc, err := r.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var rerr error
	err = rc.Read(func(fd uintptr) bool {
		buf = copyBuffers.Get().(*[copyBytes]byte)
		for {
			n, rerr = syscall.Read(int(fd), buf[:])
			if rerr != syscall.EINTR {
				break
			}
		}
		if rerr == syscall.EAGAIN {
			copyBuffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	switch {
	case buf == nil:
		return nil, 0, &net.OpError{Op: "read", Net: "tcp", Source: r.LocalAddr(), Addr: r.RemoteAddr(), Err: err}
	case rerr != nil:
		return buf, 0, &net.OpError{
			Op: "read", Net: "tcp", Source: r.LocalAddr(), Addr: r.RemoteAddr(), Err: os.NewSyscallError("read", rerr),
		}
	case n == 0:
		return buf, 0, io.EOF
	default:
		return buf, n, nil
	}
}
