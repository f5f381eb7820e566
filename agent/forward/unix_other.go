//go:build !unix

package forward

import (
	"context"
	"errors"
	"syscall"

	"weft/agent/fault"
	"weft/internal/kind"
)

// listenUnix: a socket file has no permissions on this system, so it would be everybody's.
func listenUnix(_ context.Context, path string) (listener, error) {
	return nil, fault.New(string(kind.Invalid), "Unix sockets are not offered on this system: %s", path).WithHint("use a port")
}

// wsaAddrInUse is WSAEADDRINUSE; WSAEACCES is what a port in exclusive use answers.
const (
	wsaAddrInUse = syscall.Errno(10048)
	wsaAccess    = syscall.Errno(10013)
)

func isInUse(err error) bool { return errors.Is(err, wsaAddrInUse) || errors.Is(err, wsaAccess) }
