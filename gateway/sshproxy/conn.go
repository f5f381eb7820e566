package sshproxy

import (
	"errors"
	"net"
	"sync/atomic"
)

var errPreAuthBytes = errors.New("client sent too much before it was authenticated")

// clientConn is the client's connection as the SSH library sees it. It bounds what comes in before authentication and
// says when the client is gone, which the library does not while an authentication callback runs.
type clientConn struct {
	net.Conn
	// preAuthLeft is how much may still come; negative values are only reached once. Without meaning once open is set.
	preAuthLeft atomic.Int64
	open        atomic.Bool
	// gone is called with the first error of Read; overflow when the bound is crossed.
	gone     func(error)
	overflow func()
}

func (c *clientConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && !c.open.Load() && c.preAuthLeft.Add(-int64(n)) < 0 {
		c.overflow()
		n, err = 0, errPreAuthBytes
	}
	if err != nil {
		c.gone(err)
	}
	return n, err
}

// closeWrite sends a FIN where the connection can, so that the peer reads what was written before it sees the end.
func closeWrite(c net.Conn) {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // the connection is closed right after in any case
	}
}
