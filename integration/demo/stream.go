package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// stream is a session on a host that prints "N NAME" ten times a second; it watches that N counts up by one and
// that NAME stays.
type stream struct {
	host string
	end  func() error
	done chan struct{}

	mu   sync.Mutex
	more *sync.Cond
	// The fields below are guarded by mu.
	lines  int
	err    error
	closed bool
}

func (d *demo) openStream(ctx context.Context, host string) (*stream, error) {
	if d.goSSH {
		return d.openGoStream(ctx, host)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the step
	cmd := d.sshCommand(ctx, login, host, "ticks")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	return newStream(host, out, func() error {
		cancel()
		_ = cmd.Wait() // it was killed: that is how it ends
		return nil
	}), nil
}

func (d *demo) openGoStream(ctx context.Context, host string) (*stream, error) {
	c, err := d.goClient(ctx, context.WithoutCancel(ctx), login, host)
	if err != nil {
		return nil, err
	}
	s, err := c.NewSession()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	out, err := s.StdoutPipe()
	if err == nil {
		err = s.Start("ticks")
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return newStream(host, out, func() error {
		_ = c.Close() // the session goes on for ever: closing is how it ends
		return nil
	}), nil
}

func newStream(host string, r io.Reader, end func() error) *stream {
	s := &stream{host: host, end: end, done: make(chan struct{})}
	s.more = sync.NewCond(&s.mu)
	go s.read(r)
	return s
}

func (s *stream) read(r io.Reader) {
	defer close(s.done)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		s.add(lines.Text())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.closed {
		s.err = errors.Join(errors.New("the stream ended"), lines.Err())
	}
	s.more.Broadcast()
}

func (s *stream) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.more.Broadcast()
	number, name, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	switch {
	case s.err != nil:
	case err != nil || n != s.lines+1:
		s.err = fmt.Errorf("%w: line %d of the stream is %q", errUnexpected, s.lines+1, line)
	case name != s.host:
		s.err = fmt.Errorf("%w: the stream of %s is now %s's", errUnexpected, s.host, name)
	default:
		s.lines = n
	}
}

func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines
}

// await blocks until n lines have come, something is wrong with the stream, or ctx ends.
func (s *stream) await(ctx context.Context, n int) (int, error) {
	stop := context.AfterFunc(ctx, s.more.Broadcast)
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.lines < n && s.err == nil && ctx.Err() == nil {
		s.more.Wait()
	}
	if s.err == nil && s.lines < n {
		return s.lines, fmt.Errorf("the stream stands still at line %d: %w", s.lines, ctx.Err())
	}
	return s.lines, s.err
}

func (s *stream) stop() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.end()
	<-s.done
	return err
}
