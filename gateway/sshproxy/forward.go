package sshproxy

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// The directions of a forwarding, as events have them.
const (
	ForwardLocal  = "local"  // the client opens a connection that the target makes: -L, -D, -W, -J
	ForwardRemote = "remote" // somebody connected to a listener of the target: -R
	ForwardAgent  = "agent"  // something on the target speaks to the client's agent: -A
	ForwardX11    = "x11"    // something on the target speaks to the client's display: -X
	ForwardListen = "listen" // from now on the target may open the latter three; destination says which
)

// The channel types that carry a forwarding.
const (
	typeDirectTCP       = "direct-tcpip"
	typeDirectSocket    = "direct-streamlocal@openssh.com"
	typeForwardedTCP    = "forwarded-tcpip"
	typeForwardedSocket = "forwarded-streamlocal@openssh.com"
	typeAgent           = "auth-agent@openssh.com"
	typeX11             = "x11"
)

// forward is one connection that is forwarded.
type forward struct {
	x           *session
	id          string // numbers it among the channels
	direction   string
	destination string
	origin      string // "": not known
	use         *use   // nil until it is claimed
	up, down    atomic.Uint64
}

// admitForward reserves a place for a forwarding, or says why there is none. It must be given back by endForward.
func (x *session) admitForward() (*forward, string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closing:
		return nil, "the session is ending"
	case x.forwarding >= x.p.limits.Forwards:
		return nil, fmt.Sprintf("more than %d forwarded connections on one SSH connection", x.p.limits.Forwards)
	case x.opening >= x.p.limits.ForwardsPending:
		return nil, fmt.Sprintf("more than %d forwarded connections that are being opened", x.p.limits.ForwardsPending)
	}
	if x.p.forwards.Add(1) > int64(x.p.limits.TotalForwards) {
		x.p.forwards.Add(-1)
		return nil, "the gateway carries no more forwarded connections at the moment"
	}
	x.opened++
	x.forwarding++
	x.opening++
	x.p.stats.forwards.Add(1)
	return &forward{x: x, id: strconv.Itoa(x.opened)}, ""
}

// opened gives back the place among those that are being opened.
func (f *forward) opened() {
	f.x.mu.Lock()
	defer f.x.mu.Unlock()
	f.x.opening--
}

func (f *forward) end() {
	x := f.x
	if f.use != nil {
		x.forwards.drop(f.use)
	}
	x.p.forwards.Add(-1)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forwarding--
	x.idleLocked()
}

// begin puts the forwarding on record. It is false when the session ends for it.
func (f *forward) begin() bool {
	detail := []string{"direction", f.direction, "destination", f.destination, "channel", f.id}
	if f.origin != "" {
		detail = append(detail, "origin", f.origin)
	}
	f.x.event(EventForward, detail...)
	select {
	case <-f.x.done:
		return false
	default:
		return true
	}
}

// finish puts its end on record; reason says why it came to nothing.
func (f *forward) finish(reason string) {
	up, down := f.up.Load(), f.down.Load()
	detail := []string{
		"direction", f.direction, "destination", f.destination, "channel", f.id,
		"bytes_up", strconv.FormatUint(up, 10), "bytes_down", strconv.FormatUint(down, 10),
	}
	if reason != "" {
		detail = append(detail, "reason", reason)
	}
	f.x.event(EventForwardEnd, detail...)
}

// serve opens the counterpart of nc on conn, the target's or the client's, and relays until both are closed.
func (f *forward) serve(nc ssh.NewChannel, conn ssh.Conn, payload []byte, toTarget bool) {
	opening := true
	defer func() {
		if opening {
			f.opened()
		}
	}()
	reject := func(code ssh.RejectionReason, reason string) {
		_ = nc.Reject(code, prefix+reason) // an error is the end of the connection, seen elsewhere
		f.finish(reason)
	}
	if !f.begin() {
		_ = nc.Reject(ssh.Prohibited, prefix+"the session is ending") // as above
		return
	}
	far, farReqs, err := f.x.openChannel(conn, nc.ChannelType(), payload)
	if err != nil {
		refusal, ok := errors.AsType[*ssh.OpenChannelError](err)
		switch {
		case !ok:
			reject(ssh.ConnectionFailed, "the connection has ended")
		case toTarget:
			reject(refusal.Reason, "the target refused: "+clean(short(refusal.Message)))
		default:
			reject(refusal.Reason, "the client refused: "+clean(short(refusal.Message)))
		}
		return
	}
	near, nearReqs, err := nc.Accept()
	if err != nil {
		_ = far.Close() // that side is gone, and with it the session
		ssh.DiscardRequests(farReqs)
		f.finish("the connection has ended")
		return
	}
	opening = false
	f.opened()
	if toTarget {
		f.relay(near, far, nearReqs, farReqs)
	} else {
		f.relay(far, near, farReqs, nearReqs)
	}
	f.finish("")
}

// relay carries data both ways, the end of each direction, and the close, which comes when both directions have ended
// or either side has closed and what it sent before has been delivered.
func (f *forward) relay(client, target ssh.Channel, clientReqs, targetReqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	upDone, downDone, targetEnd := make(chan struct{}), make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		defer close(upDone)
		f.pump(target, client, &f.up, &f.x.bytesUp)
	})
	wg.Go(func() {
		defer close(downDone)
		f.pump(client, target, &f.down, &f.x.bytesDown)
	})
	wg.Go(func() { f.x.discardStray(client.Stderr()) })
	wg.Go(func() { f.x.discardStray(target.Stderr()) })
	wg.Go(func() {
		<-upDone
		<-downDone
		_ = client.Close() // fails when that side closed first, here and below
		_ = target.Close()
	})
	wg.Go(func() {
		refuseRequests(targetReqs)
		close(targetEnd)
		<-downDone
		_ = client.Close()
	})
	refuseRequests(clientReqs)
	t := time.NewTimer(drainGrace)
	defer t.Stop()
	select {
	case <-upDone:
	case <-targetEnd:
	case <-f.x.done:
	case <-t.C:
	}
	_ = target.Close()
	wg.Wait()
}

// pump is one direction. Its end is the end of dst's, unless dst takes no more: then it is closed, which is seen elsewhere.
func (f *forward) pump(dst, src ssh.Channel, own, all *atomic.Uint64) {
	total := func(b []byte) {
		all.Add(uint64(len(b)))
		f.x.p.stats.forwardBytes.Add(uint64(len(b)))
	}
	if pump(dst, src, own, total) == nil {
		_ = dst.CloseWrite() // fails when dst has closed
	}
}

// refuseRequests answers the requests of a channel that knows none, until it is closed.
func refuseRequests(reqs <-chan *ssh.Request) {
	for req := range reqs {
		_ = req.Reply(false, nil) // fails when the channel is closed
	}
}

// openChannel opens a channel on conn. The library may miss the answer when the connection ends at that very moment, so the
// end is watched beside it; and whoever asked for the channel may have left.
func (x *session) openChannel(conn ssh.Conn, typ string, payload []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	got := make(chan openResult, 1)
	go func() {
		ch, reqs, err := conn.OpenChannel(typ, payload)
		got <- openResult{ch, reqs, err}
	}()
	select {
	case r := <-got:
		return r.ch, r.reqs, r.err
	case <-x.upGone:
	case <-x.clientGone:
	}
	return nil, nil, errEnded
}

var errEnded = errors.New("the connection has ended")
