//go:build unix

package cli

import (
	"errors"
	"syscall"
)

// isGone reports whether err says that the other side closed the connection
// altogether: after its last byte was read, that is no failure.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}
