// Package relay joins a local connection and a flow of the tunnel. It waits on the
// caller's goroutine, and on one more if the flow is no Pumper, and holds no buffer of
// its own: the flow borrows one only while there is data.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// Flow is the tunnel's side of a relay.
type Flow interface {
	net.Conn
	io.WriterTo
	io.ReaderFrom
	CloseWrite() error
	// Abort resets the flow, so that its other end cannot take it for an orderly end.
	Abort()
}

// Pumper is a Flow that copies to the client without a goroutine while there is
// nothing to copy. It calls done once.
type Pumper interface {
	Pump(w io.Writer, done func(n int64, err error))
}

// Client is the local side: a TCP or Unix connection, or a pipe.
type Client interface {
	net.Conn
	CloseWrite() error
}

// Result says what a relay carried.
type Result struct {
	Sent     int64 // bytes from the client to the flow
	Received int64 // bytes from the flow to the client
	Err      error // nil when both directions ended in order
}

// Run copies both ways until both have ended, and closes both. The end of one
// direction is passed on as a half-close. An error in either, or the end of ctx,
// aborts both: what was cut must not look like an end of file. first is what was
// read from the client already; it is sent before anything else.
func Run(ctx context.Context, c Client, f Flow, first []byte) Result {
	abort := func() {
		Abort(c)
		f.Abort()
	}
	stop := context.AfterFunc(ctx, abort)
	defer stop()
	var r Result
	var downErr error
	done := make(chan struct{})
	down := func(n int64, err error) {
		defer close(done)
		r.Received = n
		if downErr = halfClose(c, err); downErr != nil {
			abort()
		}
	}
	if p, ok := f.(Pumper); ok {
		p.Pump(c, down)
	} else {
		go func() { down(f.WriteTo(c)) }()
	}
	upErr := copyUp(f, c, first, &r.Sent)
	if upErr = halfClose(f, upErr); upErr != nil {
		abort()
	}
	<-done
	_ = c.Close() // both directions have ended; what matters was said above
	_ = f.Close()
	r.Err = errors.Join(wrap("client to target", upErr), wrap("target to client", downErr))
	if ctx.Err() != nil {
		r.Err = context.Cause(ctx)
	}
	return r
}

func copyUp(f Flow, c Client, first []byte, n *int64) error {
	if len(first) > 0 {
		m, err := f.Write(first)
		*n = int64(m)
		if err != nil {
			return err
		}
	}
	m, err := f.ReadFrom(c)
	*n += m
	return err
}

// halfClose passes an orderly end on. A side that is already gone has been told enough.
func halfClose(w interface{ CloseWrite() error }, err error) error {
	if err != nil {
		return err
	}
	err = w.CloseWrite()
	if errors.Is(err, syscall.ENOTCONN) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func wrap(direction string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("relay %s: %w", direction, err)
}

// Abort closes a local connection so that its other end sees a reset where the
// transport has one.
func Abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // fails only on a connection that is closed already
	}
	_ = c.Close()
}
