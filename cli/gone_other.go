//go:build !unix

package cli

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// isGone reports whether err says that the other side closed the connection
// altogether: after its last byte was read, that is no failure. A named pipe
// reports that in more ways than a socket does.
func isGone(err error) bool {
	const errBrokenPipe, errNoData = syscall.Errno(109), syscall.Errno(232)
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) ||
		errors.Is(err, errBrokenPipe) || errors.Is(err, errNoData) || errors.Is(err, errors.ErrUnsupported)
}
