package localsock

import (
	"errors"
	"fmt"
	"net"
)

// Inherited makes a Listener of a socket that a service manager has opened and listens on for this process (socket
// activation); path is what users call it. Its directory, mode and removal are the manager's affair: Close leaves the
// file. What a client sees as the other side is then the manager, since the kernel names the process that called
// listen(2); callers are named as ever.
func Inherited(ln net.Listener, path string) (*Listener, error) {
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("take over local socket: a %T is no Unix socket: %w", ln, errors.ErrUnsupported)
	}
	ul.SetUnlinkOnClose(false)
	if path == "" {
		path = ul.Addr().String()
	}
	return &Listener{ln: ul, path: path}, nil
}
