package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"weft/agent/localapi/client"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// maxDoorConns bounds the connections through one door.
const maxDoorConns = 256

// door is a local port or socket that leads to one target for as long as the command runs.
type door struct {
	a    *app
	to   *connection
	ln   net.Listener
	self localsock.Caller
	host string // empty for a socket
	port uint16
	path string // empty for a port

	cancel context.CancelFunc
	done   chan struct{} // closed when accept has ended
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	open  int
	moved chan struct{} // closed and replaced when open changes
}

// openDoor listens and serves until close.
func openDoor(ctx context.Context, a *app, to *connection, o *connectOptions) (*door, error) {
	self, err := localsock.Self()
	if err != nil {
		return nil, fmt.Errorf("read own identity: %w", err)
	}
	d := &door{a: a, to: to, self: self, done: make(chan struct{}), moved: make(chan struct{})}
	if o.unixPath != "" {
		err = d.listenUnix(ctx, o.unixPath)
	} else {
		err = d.listenTCP(ctx, o.localPort)
	}
	if err != nil {
		return nil, err
	}
	ctx, d.cancel = context.WithCancel(ctx)
	go d.accept(ctx)
	return d, nil
}

func (d *door) listenTCP(ctx context.Context, port string) error {
	if port == "" {
		port = "0"
	} else if _, err := parsePort("--local-port", port); err != nil {
		return err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+port)
	if err != nil {
		return &client.Error{
			Code: string(kind.Conflict), Message: "cannot listen on 127.0.0.1:" + port + ": " + err.Error(),
			Hint: "leave --local-port away to get a free one", Err: err,
		}
	}
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return errors.Join(errors.New("a listener without a port"), ln.Close())
	}
	d.ln, d.host, d.port = ln, "127.0.0.1", uint16(addr.Port)
	return nil
}

func (d *door) addr() string {
	if d.path != "" {
		return d.path
	}
	return joinHostPort(d.host, d.port)
}

func (d *door) accept(ctx context.Context) {
	defer close(d.done)
	for {
		c, err := d.ln.Accept()
		if err != nil {
			return // closed by close, or broken for good
		}
		if !d.enter() {
			abortConn(c)
			continue
		}
		d.wg.Go(func() {
			defer d.leave()
			if err := d.serve(ctx, c); err != nil {
				d.tell(err)
			}
		})
	}
}

// tell says on stderr why a connection got nowhere: the program itself only sees it end.
func (d *door) tell(err error) {
	f := d.a.describe(err)
	if f.Code == client.CodeCancelled {
		return
	}
	d.a.note("a connection to %s failed: %s", d.to.target, f.Message)
}

func (d *door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= maxDoorConns {
		return false
	}
	d.open++
	d.movedLocked()
	return true
}

func (d *door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	d.movedLocked()
}

func (d *door) movedLocked() {
	close(d.moved)
	d.moved = make(chan struct{})
}

// wait returns when ctx ends, or nil after idle without a connection.
func (d *door) wait(ctx context.Context, idle time.Duration) error {
	for {
		d.mu.Lock()
		open, moved := d.open, d.moved
		d.mu.Unlock()
		var timer <-chan time.Time
		var stop func() bool
		if idle > 0 && open == 0 {
			t := time.NewTimer(idle)
			timer, stop = t.C, t.Stop
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer:
			return nil
		case <-d.done:
			return errors.New("the local port is gone")
		case <-moved:
		}
		if stop != nil {
			stop()
		}
	}
}

// close ends every connection and waits for the last one.
func (d *door) close() {
	d.cancel()
	_ = d.ln.Close()
	<-d.done
	d.wg.Wait()
}

// serve owns c.
func (d *door) serve(ctx context.Context, c net.Conn) error {
	if err := d.admit(c); err != nil {
		abortConn(c)
		return err
	}
	s, err := d.a.client().Dial(ctx, d.to.dial)
	if err != nil {
		abortConn(c)
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		abortConn(c)
		_ = s.Close()
	})
	defer stop()
	d.copyBoth(c, s)
	return nil
}

// copyBoth relays until both directions have ended. What was cut must not look like an orderly end.
func (d *door) copyBoth(c net.Conn, s *client.Stream) {
	defer func() {
		_ = c.Close() // both directions have ended
		_ = s.Close()
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := s.ReadFrom(c); err == nil {
			err = s.CloseWrite()
			if err == nil {
				return
			}
		}
		abortConn(c)
		_ = s.Close()
	}()
	_, err := s.WriteTo(c)
	if w, ok := c.(interface{ CloseWrite() error }); err == nil && ok {
		err = w.CloseWrite()
	}
	if err != nil {
		abortConn(c)
		_ = s.Close()
	}
	<-sent
}

// admit refuses connections of other accounts of this machine, where the system tells whose they are.
func (d *door) admit(c net.Conn) error {
	var id localsock.Caller
	var err error
	if named, ok := c.(*localsock.Conn); ok {
		id, err = named.Caller()
	} else if id, err = localsock.TCPPeer(c); errors.Is(err, errors.ErrUnsupported) {
		return nil // this system does not tell; the manual says so
	}
	if err != nil {
		return fmt.Errorf("the system does not say whose connection it is: %w", err)
	}
	if !id.Privileged && !id.SameUser(d.self) {
		return &client.Error{Code: string(kind.Denied), Message: fmt.Sprintf("%s tried to use the port, which is yours alone", id)}
	}
	return nil
}

// abortConn resets a connection where the transport has a reset.
func abortConn(c io.Closer) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // fails only on a connection that is closed already
	}
	_ = c.Close()
}

// socketPathOf makes the path of a socket absolute.
func socketPathOf(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", usageError("the path %q cannot be told: %v", path, err)
	}
	return abs, nil
}
