package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"weft/agent/relay"
	"weft/internal/localsock"
)

// caller is what a connection must offer.
type caller interface {
	Caller() (localsock.Caller, error)
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// callerOf names the caller of a request; unknown is an error, never a default.
func callerOf(r *http.Request) (localsock.Caller, error) {
	c, ok := r.Context().Value(connKey{}).(caller)
	if !ok {
		return localsock.Caller{}, localsock.ErrUnknownPeer
	}
	return c.Caller()
}

// quota counts uses in total and by account. Safe for concurrent use.
type quota struct {
	total, perUser int

	mu    sync.Mutex // guards what follows
	used  int
	users map[string]int
}

func newQuota(total, perUser int) *quota {
	return &quota{total: total, perUser: perUser, users: make(map[string]int)}
}

func (q *quota) take(user string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used >= q.total || q.users[user] >= q.perUser {
		return false
	}
	q.used++
	q.users[user]++
	return true
}

func (q *quota) give(user string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used--
	if q.users[user]--; q.users[user] == 0 {
		delete(q.users, user)
	}
}

// overflow is how many connections over the limit are told so at a time; more are closed.
const overflow = 32

// limitListener marks connections over the limits; they get an answer that says so.
type limitListener struct {
	net.Listener
	s           *Server
	quota, over *quota
}

func (s *Server) limit(ln net.Listener) net.Listener {
	return &limitListener{
		Listener: ln, s: s,
		quota: newQuota(s.cfg.MaxConns, s.cfg.MaxConnsPerUser), over: newQuota(overflow, overflow),
	}
}

func (l *limitListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		user := "unknown" // Windows: known when the request has been read
		c, ok := nc.(caller)
		if !ok {
			_ = nc.Close() // no identity, no service
			continue
		}
		if id, err := c.Caller(); err == nil {
			user = id.String()
		}
		if l.quota.take(user) {
			return &countedConn{Conn: nc, caller: c, free: sync.OnceFunc(func() { l.quota.give(user) })}, nil
		}
		l.s.overConns.Add(1)
		if l.over.take(user) {
			return &countedConn{Conn: nc, caller: c, over: true, free: sync.OnceFunc(func() { l.over.give(user) })}, nil
		}
		_ = nc.Close()
	}
}

// isOver reports whether a request came over a connection that is one too many.
func isOver(r *http.Request) bool {
	c, ok := r.Context().Value(connKey{}).(*countedConn)
	return ok && c.over
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	net.Conn
	caller
	over   bool
	inHead atomic.Bool // a request has begun and its head is not read yet
	free   func()
}

func (c *countedConn) Close() error {
	c.free()
	return c.Conn.Close()
}

// client returns the connection underneath, whose descriptor the relay can wait on.
func (c *countedConn) client() (relay.Client, bool) {
	nc := c.Conn
	if u, ok := nc.(interface{ Unwrap() net.Conn }); ok {
		if rc, ok := u.Unwrap().(relay.Client); ok {
			return rc, true
		}
	}
	rc, ok := nc.(relay.Client)
	return rc, ok
}
