package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"weft/internal/kind"
)

var (
	errClientGone = errors.New("client went away")
	errRunning    = errors.New("a program was already started on this channel")
	errTargetGone = kind.New(kind.Unavailable, "the target closed the connection")
)

// session is the state of one call of Serve.
type session struct {
	p        *Proxy
	s        Session
	client   *clientConn
	upstream net.Conn

	// Written by the goroutine of serve only, until the client is authenticated.
	handshakeTimer *time.Timer
	// disconnects says that a second attempt is ended by SSH_MSG_DISCONNECT; fixed before the handshake.
	disconnects bool
	preAuth     ssh.ServerPreAuthConn
	upMeta      ssh.ConnMetadata
	asked       bool
	loginErr    error
	result      Result
	up, down    ssh.Conn

	// upGone and clientGone are closed when the library has stopped reading from that side.
	upGone, clientGone chan struct{}

	bytesUp, bytesDown atomic.Uint64
	exitStatus         atomic.Pointer[uint32]
	ending             atomic.Bool     // the end is told by cut; no channel need speak of it
	done               <-chan struct{} // closed when the session is to end
	refusals           *rate.Limiter   // spaces out what leads to an event
	opens              *rate.Limiter   // spaces out session channels, each of which can put a command on record
	forwardOpens       *rate.Limiter   // the same for what the client forwards
	backOpens          *rate.Limiter   // bounds what the target opens

	forwards  *Forwards
	listeners listeners
	agent     atomic.Pointer[use] // set once the agent was granted
	listens   atomic.Bool         // something was granted that lets the target open channels
	wg        sync.WaitGroup      // every goroutine of the session

	// mu guards the following.
	mu         sync.Mutex
	channels   map[*channel]struct{}
	opened     int           // channels so far, those of forwardings too
	forwarding int           // connections that are forwarded
	opening    int           // of these, not open yet
	x11        []x11Grant    // of channels that are open
	closing    bool          // nothing further is accepted
	noMore     bool          // no further session channel is accepted
	notices    []string      // for the first channel that can show them
	idle       chan struct{} // set by drain, closed when the last channel is gone
}

func newSession(p *Proxy, client, upstream net.Conn, s Session) *session {
	x := &session{
		p: p, s: s,
		client:       &clientConn{Conn: client, gate: newGate()},
		upstream:     upstream,
		upGone:       make(chan struct{}),
		clientGone:   make(chan struct{}),
		channels:     make(map[*channel]struct{}),
		refusals:     rate.NewLimiter(50, 100),
		opens:        rate.NewLimiter(rate.Limit(p.limits.ChannelsPerSecond), p.limits.Channels),
		forwardOpens: rate.NewLimiter(rate.Limit(p.limits.ForwardsPerSecond), p.limits.Forwards),
		backOpens:    rate.NewLimiter(rate.Limit(p.limits.ForwardsPerSecond), p.limits.Forwards),
		forwards:     s.Forwards,
	}
	if x.forwards == nil {
		x.forwards = NewForwards()
	}
	x.client.preAuthLeft.Store(p.limits.PreAuthBytes)
	x.client.overflow = func() { p.stats.preAuthOverflows.Add(1) }
	return x
}

func (x *session) serve(ctx context.Context) Result {
	x.done = ctx.Done()
	chans, reqs, err := x.authenticate(ctx)
	if err == nil {
		x.p.stats.loginsAllowed.Add(1)
		err = x.run(ctx, chans, reqs)
	}
	// Already closed in most cases; what a second close has to say is of no use to anybody.
	_ = x.client.Close()
	_ = x.upstream.Close()
	drain(x.preAuth)
	drain(x.upMeta)
	x.wg.Wait()
	x.result.Err = err
	x.result.BytesUp, x.result.BytesDown = x.bytesUp.Load(), x.bytesDown.Load()
	x.result.ExitStatus = x.exitStatus.Load()
	return x.result
}

// authenticate runs the client's handshake, in whose course the target is logged in to.
func (x *session) authenticate(ctx context.Context) (<-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	tctx, stopTimer := context.WithTimeoutCause(ctx, x.p.limits.Authentication, errAuthTimeout)
	defer stopTimer()
	actx, cancel := context.WithCancelCause(tctx)
	defer cancel(nil)
	x.client.gone = func(err error) { cancel(fmt.Errorf("%w: %w", errClientGone, err)) }
	x.handshakeTimer = time.AfterFunc(x.p.limits.Handshake, func() { cancel(errHandshakeTimeout) })
	defer x.handshakeTimer.Stop()
	// The end of the context ends the upstream login, whose banner gets a moment to reach the client.
	closed := make(chan struct{})
	stop := context.AfterFunc(actx, func() {
		defer close(closed)
		t := time.NewTimer(cutGrace)
		defer t.Stop()
		select {
		case <-t.C:
		case <-x.clientGone:
		}
		_ = x.client.Close()
	})

	conn, chans, reqs, err := ssh.NewServerConn(x.client, x.serverConfig(actx))
	if err == nil {
		x.client.open.Store(true)
		x.down = conn
		if stop() {
			return chans, reqs, nil
		}
		if errors.Is(context.Cause(actx), errClientGone) {
			x.wg.Go(func() { <-closed })
			return chans, reqs, nil // logged in and left: an end as any other
		}
		<-closed
		_ = conn.Close()
		x.wg.Go(func() { ssh.DiscardRequests(reqs) })
		x.wg.Go(func() { x.refuseChannels(chans) })
		return nil, nil, fmt.Errorf("authenticate client: %w", context.Cause(actx))
	}
	if !stop() {
		<-closed
	}
	return nil, nil, x.authError(actx, err)
}

// authError picks the most telling of the errors around a client that was not let in.
func (x *session) authError(ctx context.Context, err error) error {
	if x.loginErr != nil {
		return x.loginErr
	}
	if !x.asked {
		x.p.stats.handshakesFailed.Add(1)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errClientGone) {
		err = cause
	}
	return fmt.Errorf("client handshake: %w", err)
}

// adoptUpstream starts to serve what the target asks for: what the client has asked it for, and nothing else, but that must be
// answered or the library stops reading.
func (x *session) adoptUpstream(conn ssh.Conn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	x.up = conn
	x.wg.Go(func() {
		defer close(x.upGone)
		// hostkeys-00@openssh.com is an offer to learn further keys that we do not take; a keepalive counts as
		// answered by a failure too (RFC 4254 section 4).
		ssh.DiscardRequests(reqs)
	})
	x.wg.Go(func() { x.serveTarget(chans) })
}

// run relays until one side or ctx ends it.
func (x *session) run(ctx context.Context, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) error {
	x.wg.Go(func() {
		defer close(x.clientGone)
		x.serveGlobal(ctx, reqs)
	})
	x.wg.Go(func() { x.serveChannels(ctx, chans) })
	var err error
	select {
	case <-ctx.Done():
	case <-x.clientGone:
		x.drain(ctx)
	case <-x.upGone:
		err = fmt.Errorf("relay: %w", errTargetGone)
		x.drain(ctx)
	}
	if ctx.Err() != nil {
		x.cut(ctx)
		err = fmt.Errorf("session ended: %w", context.Cause(ctx))
	}
	return err
}

// drain lets what one side sent before it went away reach the other.
func (x *session) drain(ctx context.Context) {
	idle := make(chan struct{})
	x.mu.Lock()
	x.noMore, x.closing = true, true
	x.idle = idle
	x.idleLocked()
	x.mu.Unlock()
	t := time.NewTimer(drainGrace)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	case <-ctx.Done():
	}
}

// cut tells every channel why the session ends and closes both sides, all within cutGrace and closeGrace: a client
// that does not read cannot hold it up.
func (x *session) cut(ctx context.Context) {
	x.p.stats.sessionsCut.Add(1)
	x.ending.Store(true)
	text := line("session ended: %s", causeText(context.Cause(ctx)))
	x.mu.Lock()
	x.noMore, x.closing = true, true
	var told sync.WaitGroup
	for c := range x.channels {
		x.wg.Add(1)
		told.Add(1)
		go func() {
			defer x.wg.Done()
			defer told.Done()
			c.say(text)
		}()
	}
	x.mu.Unlock()
	done := make(chan struct{})
	x.wg.Go(func() { told.Wait(); close(done) })
	waitFor(done, cutGrace)
	_ = x.upstream.Close()
	closeWrite(x.client.Conn)
	waitFor(x.clientGone, closeGrace)
	_ = x.client.Close()
}

func waitFor(done <-chan struct{}, limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// event reports one, with detail as pairs of key and value.
func (x *session) event(typ string, detail ...string) {
	if x.s.OnEvent == nil {
		return
	}
	e := Event{Type: typ, Detail: make(map[string]string, len(detail)/2)}
	for i := 0; i+1 < len(detail); i += 2 {
		e.Detail[detail[i]] = detail[i+1]
	}
	x.s.OnEvent(e)
}

// serveChannels accepts session channels up to the limit, forwards what the rules of the login allow, and refuses everything else.
func (x *session) serveChannels(ctx context.Context, chans <-chan ssh.NewChannel) {
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			x.openSession(ctx, nc)
		case typeDirectTCP, typeDirectSocket:
			x.openLocal(ctx, nc)
		default:
			x.throttle(ctx, x.refusals)
			x.refuseChannel(nc)
		}
	}
}

func (x *session) openSession(ctx context.Context, nc ssh.NewChannel) {
	x.throttle(ctx, x.opens)
	c, reason := x.admitChannel()
	if c == nil {
		x.throttle(ctx, x.refusals)
		x.p.stats.channelsOverLimit.Add(1)
		x.event(EventRefused, "request", "session", "reason", reason)
		_ = nc.Reject(ssh.ResourceShortage, prefix+reason) // an error is the end of the connection, seen elsewhere
		return
	}
	x.wg.Go(func() {
		defer x.forget(c)
		c.serve(ctx, nc)
	})
}

// admitChannel reserves a place for a session channel, or says why there is none.
func (x *session) admitChannel() (*channel, string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.noMore {
		return nil, "no further sessions on this connection"
	}
	if len(x.channels) >= x.p.limits.Channels {
		return nil, fmt.Sprintf("more than %d sessions on one connection", x.p.limits.Channels)
	}
	x.opened++
	x.p.stats.channels.Add(1)
	c := newChannel(x, strconv.Itoa(x.opened))
	x.channels[c] = struct{}{}
	return c, ""
}

func (x *session) forget(c *channel) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.channels, c)
	x.endX11Locked(c)
	x.idleLocked()
}

// idleLocked tells drain when nothing is open any more.
func (x *session) idleLocked() {
	if x.idle != nil && len(x.channels) == 0 && x.forwarding == 0 {
		close(x.idle)
		x.idle = nil
	}
}

// throttle waits for l, which holds up this client and nobody else. It returns at once when ctx is done.
func (x *session) throttle(ctx context.Context, l *rate.Limiter) {
	if l.Allow() {
		return
	}
	x.p.stats.requestsThrottled.Add(1)
	_ = l.Wait(ctx) // fails only when ctx ends, and then nothing needs to be slowed down
}
