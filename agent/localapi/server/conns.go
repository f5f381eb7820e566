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

// move gives a use to another account, and reports whether that has room for it.
func (q *quota) move(from, to string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.users[to] >= q.perUser {
		return false
	}
	if q.users[from]--; q.users[from] == 0 {
		delete(q.users, from)
	}
	q.users[to]++
	return true
}

// unknown is the account of connections whose caller is not known yet: on Windows it is when the first request has been
// read.
const unknown = "unknown"

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
		user := unknown
		c, ok := nc.(caller)
		if !ok {
			_ = nc.Close() // no identity, no service
			continue
		}
		if id, err := c.Caller(); err == nil {
			user = id.String()
		}
		if l.quota.take(user) {
			return newCountedConn(nc, c, l.quota, user), nil
		}
		l.s.overConns.Add(1)
		if l.over.take(user) {
			over := newCountedConn(nc, c, l.over, user)
			over.over = true
			return over, nil
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

	mu    sync.Mutex // guards what follows
	quota *quota     // nil: the place was given back
	user  string
}

func newCountedConn(nc net.Conn, c caller, q *quota, user string) *countedConn {
	return &countedConn{Conn: nc, caller: c, quota: q, user: user}
}

func (c *countedConn) Close() error {
	c.mu.Lock()
	if c.quota != nil {
		c.quota.give(c.user)
		c.quota = nil
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// settle counts the connection as that of user once that is known, and reports whether the user has room for it.
func (c *countedConn) settle(user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.user != unknown || c.quota == nil {
		return true
	}
	if !c.quota.move(c.user, user) {
		return false
	}
	c.user = user
	return true
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
