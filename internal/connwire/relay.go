package connwire

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// Conn is a connection whose directions end separately.
type Conn interface {
	net.Conn
	CloseWrite() error
	Abort()
}

// Counts are the bytes of a relayed flow so far: Up from the client, Down to
// it. They may be read while the flow runs.
type Counts struct{ Up, Down atomic.Int64 }

// ErrReset is what Relay returns when one side did not end in order.
var ErrReset = errors.New("flow was reset")

// Relay copies both ways between client and upstream until both directions
// ended, each with its half-close, and closes both. When one side fails, both
// are aborted, so that an abnormal end never looks like an orderly one, and
// the first error is returned wrapped in ErrReset. It uses the caller's
// goroutine and one more.
func Relay(client, upstream Conn, c *Counts) error {
	up := make(chan error, 1)
	go func() { up <- relayOneWay(upstream, client, &c.Up, client, upstream) }()
	downErr := relayOneWay(client, upstream, &c.Down, client, upstream)
	upErr := <-up
	err := errors.Join(downErr, upErr)
	if err != nil {
		return errors.Join(ErrReset, err)
	}
	return errors.Join(ignoreClosed(client.Close()), ignoreClosed(upstream.Close()))
}

// relayOneWay copies src to dst, then ends dst's stream; a failure aborts both sides.
func relayOneWay(dst, src Conn, count *atomic.Int64, client, upstream Conn) error {
	_, err := io.Copy(countingWriter{dst, count}, readerOf(src))
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		client.Abort()
		upstream.Abort()
	}
	return err
}

// readerOf prefers the reader that holds no buffer while it waits.
func readerOf(c Conn) io.Reader {
	if sc, ok := c.(*SocketConn); ok {
		return sc.idleReader()
	}
	return c
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// countingWriter counts what was written. It hides the ReadFrom of what it wraps: the source's WriteTo does the work.
type countingWriter struct {
	w io.Writer
	n *atomic.Int64
}

func (w countingWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.n.Add(int64(n))
	return n, err
}
