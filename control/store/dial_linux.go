package store

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledgedMilliseconds is how long sent data may stay unacknowledged (RFC 5482) before the connection is given up:
// Linux sends no keepalives while data is under way, and repeats it for a quarter of an hour.
const unacknowledgedMilliseconds = 20_000

func giveUpUnacknowledged(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var err error
	if controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, unacknowledgedMilliseconds)
	}); controlErr != nil {
		return controlErr
	}
	return err
}
