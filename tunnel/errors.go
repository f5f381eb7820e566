package tunnel

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Dial errors; test with errors.Is.
var (
	ErrRefused     = errors.New("connection refused")
	ErrUnreachable = errors.New("host unreachable")
	ErrProhibited  = errors.New("administratively prohibited")
	ErrTimeout     = errors.New("connection timed out")
	ErrClosed      = errors.New("tunnel closed")
)

// errReset is what a read or write returns after the other end aborted; it
// matches syscall.ECONNRESET as a kernel socket's error does.
var errReset = fmt.Errorf("connection reset by peer: %w", syscall.ECONNRESET)

// dialError maps the netstack's error of a failed connect.
func dialError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionRefused, *tcpip.ErrConnectionReset:
		return ErrRefused
	case *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable, *tcpip.ErrHostDown, *tcpip.ErrNoNet:
		return ErrUnreachable
	case *tcpip.ErrTimeout:
		return ErrTimeout
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return ErrClosed
	default:
		return errors.New(err.String())
	}
}

// ioError maps the netstack's error of a read or write on an open flow.
func ioError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionReset:
		return errReset
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return fmt.Errorf("connection aborted: %w", syscall.ECONNABORTED)
	case *tcpip.ErrConnectionRefused:
		return ErrRefused
	case *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable, *tcpip.ErrHostDown:
		return ErrUnreachable
	case *tcpip.ErrTimeout:
		return fmt.Errorf("%w: %w", ErrTimeout, os.ErrDeadlineExceeded)
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	default:
		return errors.New(err.String())
	}
}
