package sshproxy

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
)

// gateBytes is what a client may send between its new keys and the start of authentication: an SSH_MSG_EXT_INFO and
// its service request, some 150 bytes. It is less than seventeen packets of the smallest size, 28 bytes.
const gateBytes = 16 * 28

// gate holds back what a client sends beyond its service request until that has been answered. More than sixteen
// packets there, and the library leaks its reader when the first of them is wrong; see drain, which needs a hold of
// the connection that the library gives only once authentication starts.
//
// The key exchange is in the clear, so that its end can be seen: the client's SSH_MSG_NEWKEYS (RFC 4253 section 7.3).
// What cannot be followed passes: the library's reader fails on it by itself.
type gate struct {
	seen    []byte // of the clear part, not yet followed
	greeted bool   // the version line is over
	secret  bool   // new keys are in use, and left counts
	left    int
	passing bool // nothing to follow any more
	open    chan struct{}
	closed  chan struct{}
	once    sync.Once // for closed
}

func newGate() *gate {
	return &gate{left: gateBytes, open: make(chan struct{}), closed: make(chan struct{})}
}

// admit says how many of the bytes b may go on now. It waits until at least one may, or an end.
func (g *gate) admit(b []byte) (int, error) {
	if g.passing {
		return len(b), nil
	}
	select {
	case <-g.open:
		g.passing, g.seen = true, nil
		return len(b), nil
	default:
	}
	if !g.secret {
		return g.follow(b), nil
	}
	if g.left > 0 {
		n := min(g.left, len(b))
		g.left -= n
		return n, nil
	}
	select {
	case <-g.open:
		return len(b), nil
	case <-g.closed:
		return 0, net.ErrClosed
	}
}

// follow reads packets in the clear; what comes with the new keys and after them is left for the next call.
func (g *gate) follow(b []byte) int {
	before := len(g.seen)
	g.seen = append(g.seen, b...)
	used := 0
	for {
		rest := g.seen[used:]
		n, newKeys, ok := g.unit(rest)
		if !ok {
			g.passing, g.seen = true, nil
			return len(b)
		}
		if n == 0 {
			g.seen = bytes.Clone(rest)
			return len(b)
		}
		used += n
		if newKeys {
			g.secret, g.seen = true, nil
			return used - before // after what earlier calls have passed on
		}
	}
}

// unit measures the line or packet at the start of b: zero when it is not complete, not ok when it is neither.
func (g *gate) unit(b []byte) (n int, newKeys, ok bool) {
	if !g.greeted {
		n = bytes.IndexByte(b, '\n') + 1
		g.greeted = n > 0 && bytes.HasPrefix(b, []byte("SSH-"))
		return n, false, len(b) <= 64<<10
	}
	if len(b) < 6 {
		return 0, false, true
	}
	size := binary.BigEndian.Uint32(b)
	if size < 2 || size > 256<<10 {
		return 0, false, false
	}
	if uint64(len(b)) < 4+uint64(size) {
		return 0, false, true
	}
	return 4 + int(size), b[5] == 21, true // SSH_MSG_NEWKEYS
}
