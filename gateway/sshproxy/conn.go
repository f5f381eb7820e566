package sshproxy

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
)

var errPreAuthBytes = errors.New("client sent too much before it was authenticated")

// clientConn is the client's connection as the SSH library sees it. It bounds what comes in before authentication and
// says when the client is gone, which the library does not while an authentication callback runs.
type clientConn struct {
	net.Conn
	// replay is read before the connection; the first skip bytes written have been sent already. Both are used by
	// the library's one reader and one writer.
	replay []byte
	skip   int
	gate   *gate
	// preAuthLeft is how much may still come; negative values are only reached once. Without meaning once open is set.
	preAuthLeft atomic.Int64
	open        atomic.Bool
	// gone is called with the first error of Read; overflow when the bound is crossed.
	gone     func(error)
	overflow func()
}

func (c *clientConn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	if err == nil && !c.open.Load() && c.preAuthLeft.Add(-int64(n)) < 0 {
		c.overflow()
		n, err = 0, errPreAuthBytes
	}
	if err != nil {
		c.gone(err)
	}
	return n, err
}

func (c *clientConn) read(b []byte) (int, error) {
	var n int
	var err error
	if len(c.replay) == 0 {
		if n, err = c.Conn.Read(b); n == 0 {
			return 0, err
		}
	} else {
		n = copy(b, c.replay)
		c.replay = c.replay[n:]
	}
	if c.open.Load() {
		return n, err
	}
	admitted, gerr := c.gate.admit(b[:n])
	if gerr != nil {
		return 0, gerr
	}
	if admitted < n { // an error of the connection comes again when it is read next
		c.replay = append(bytes.Clone(b[admitted:n]), c.replay...)
		return admitted, nil
	}
	return n, err
}

// admitAuth lets through what follows the client's service request.
func (c *clientConn) admitAuth() { close(c.gate.open) }

func (c *clientConn) Close() error {
	c.gate.once.Do(func() { close(c.gate.closed) })
	return c.Conn.Close()
}

func (c *clientConn) Write(b []byte) (int, error) {
	if c.skip == 0 {
		return c.Conn.Write(b)
	}
	skipped := min(c.skip, len(b))
	c.skip -= skipped
	if skipped == len(b) {
		return skipped, nil
	}
	n, err := c.Conn.Write(b[skipped:])
	return skipped + n, err
}

// closeWrite sends a FIN where the connection can, so that the peer reads what was written before it sees the end.
func closeWrite(c net.Conn) {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite() // the connection is closed right after in any case
	}
}
