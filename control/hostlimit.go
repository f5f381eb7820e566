package control

import (
	"net"
	"net/netip"
	"sync"
)

// hostListener bounds the connections of one host, so that nobody takes all of them by opening connections, for which
// no credential is asked. What is over the bound is closed before a byte was read.
type hostListener struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Addr]int // guarded by mu; bounded by the number of open connections
}

func newHostListener(l net.Listener, most int) *hostListener {
	return &hostListener{Listener: l, most: most, open: map[netip.Addr]int{}}
}

// Accept waits for a connection that may stay.
func (l *hostListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(remoteAddr(c.RemoteAddr().String()))
		if l.take(host) {
			return &hostConn{Conn: c, free: sync.OnceFunc(func() { l.give(host) })}, nil
		}
		_ = c.Close() // nobody to tell
	}
}

func (l *hostListener) take(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[host] >= l.most {
		return false
	}
	l.open[host]++
	return true
}

func (l *hostListener) give(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[host]--; l.open[host] == 0 {
		delete(l.open, host)
	}
}

// hostConn gives its place back when it is closed.
type hostConn struct {
	net.Conn
	free func()
}

func (c *hostConn) Close() error {
	c.free()
	return c.Conn.Close()
}
