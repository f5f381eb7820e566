package api

import (
	"context"
	"net"
	"sync"
)

// openConns knows the connections of a client, so that they can be ended. Safe for concurrent use.
type openConns struct {
	mu   sync.Mutex
	open map[*openConn]struct{}
}

func newOpenConns() *openConns { return &openConns{open: make(map[*openConn]struct{})} }

// openConn leaves the set when it is closed.
type openConn struct {
	net.Conn
	set *openConns
}

func (c *openConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.open, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// dialer is d.DialContext that enters what it opens.
func (s *openConns) dialer(d *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &openConn{Conn: nc, set: s}
		s.mu.Lock()
		s.open[c] = struct{}{}
		s.mu.Unlock()
		return c, nil
	}
}

func (s *openConns) closeAll() {
	s.mu.Lock()
	all := make([]*openConn, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // its requests are over, or learn of it by their own errors
	}
}
