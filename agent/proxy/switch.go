package proxy

import (
	"errors"
	"net"
	"sync"
)

// Switch is a listener whose address can be changed while a Server serves it: connections that were accepted stay open.
// Without a listener, Accept waits for one. Make it with NewSwitch. Safe for concurrent use.
type Switch struct {
	mu      sync.Mutex // guards what follows
	ln      net.Listener
	changed chan struct{} // closed and replaced at each change
	closed  bool
}

var _ net.Listener = (*Switch)(nil)

// NewSwitch returns a switch that listens at ln; nil: nowhere yet.
func NewSwitch(ln net.Listener) *Switch {
	return &Switch{ln: ln, changed: make(chan struct{})}
}

// Set takes over ln (nil: listen nowhere) and closes the listener before it.
func (s *Switch) Set(ln net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		if ln == nil {
			return net.ErrClosed
		}
		return errors.Join(net.ErrClosed, ln.Close())
	}
	old := s.ln
	s.ln = ln
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

// current returns the listener, and what is closed when there is another.
func (s *Switch) current() (net.Listener, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ln, s.changed, s.closed
}

// Accept waits for a connection at whatever address is set.
func (s *Switch) Accept() (net.Conn, error) {
	for {
		ln, changed, closed := s.current()
		if closed {
			return nil, net.ErrClosed
		}
		if ln == nil {
			<-changed
			continue
		}
		c, err := ln.Accept()
		if err == nil {
			return c, nil
		}
		if now, _, closed := s.current(); now != ln && !closed {
			continue // it was closed because there is another
		}
		return nil, err
	}
}

// Close ends Accept for good.
func (s *Switch) Close() error {
	s.mu.Lock()
	ln, was := s.ln, s.closed
	s.closed = true
	if !was {
		close(s.changed)
	}
	s.mu.Unlock()
	if was {
		return net.ErrClosed
	}
	if ln == nil {
		return nil
	}
	return ln.Close()
}

// Addr returns where the switch listens; nil: nowhere.
func (s *Switch) Addr() net.Addr {
	ln, _, _ := s.current()
	if ln == nil {
		return nil
	}
	return ln.Addr()
}
