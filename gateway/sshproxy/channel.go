package sshproxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"
)

// channel relays one session channel: data both ways with the windows of both sides, requests in their order, the end
// of each direction, and the close once everything before it has been delivered.
type channel struct {
	x     *session
	id    string
	limit *rate.Limiter
	tap   Tap

	down, up         ssh.Channel
	downReqs, upReqs <-chan *ssh.Request

	started    chan struct{} // the target runs something: the client's data may flow
	starting   atomic.Bool   // the target was asked to run something; answered follows
	answered   chan struct{} // the client knows: the target's data may flow
	answerOnce sync.Once
	stdinDone  chan struct{}
	outputDone chan struct{}
	outputs    atomic.Int32  // pumps of output that still run
	clientEnd  chan struct{} // the client closed the channel
	targetEnd  chan struct{} // the target closed the channel

	// Used by the goroutine of the client's requests only.
	ptyAsked   bool
	running    bool
	agentAsked bool
	x11Asked   bool
	envCount   int
	envBytes   int
	refused    map[string]bool // request types that were refused and reported
	notices    []string        // to show once something runs

	exited   chan struct{} // the target reported an exit status or signal
	exitOnce sync.Once

	pty atomic.Bool
	// errMu serializes writes to the client's standard error, which the target's output and our messages share.
	// It is held over a write that can block; whoever needs an end closes the connection.
	errMu   sync.Mutex
	eofSent bool
}

func newChannel(x *session, id string) *channel {
	return &channel{
		x: x, id: id,
		limit:      rate.NewLimiter(rate.Limit(x.p.limits.RequestsPerSecond), x.p.limits.RequestsPerSecond),
		started:    make(chan struct{}),
		answered:   make(chan struct{}),
		stdinDone:  make(chan struct{}),
		outputDone: make(chan struct{}),
		clientEnd:  make(chan struct{}),
		targetEnd:  make(chan struct{}),
		exited:     make(chan struct{}),
		refused:    make(map[string]bool),
	}
}

// serve opens the channel's counterpart and relays until both are closed.
func (c *channel) serve(ctx context.Context, nc ssh.NewChannel) {
	var err error
	c.up, c.upReqs, err = c.x.openChannel(c.x.up, "session", nil)
	if err != nil {
		// A failing reply means that the connection has ended, which is noticed elsewhere.
		if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			_ = nc.Reject(refusal.Reason, prefix+"the target refused: "+clean(short(refusal.Message)))
		} else {
			_ = nc.Reject(ssh.ConnectionFailed, prefix+"the target closed the connection")
		}
		return
	}
	c.down, c.downReqs, err = nc.Accept()
	if err != nil {
		_ = c.up.Close() // the client is gone, and with it the session
		ssh.DiscardRequests(c.upReqs)
		return
	}
	c.relay(ctx)
}

// openResult is the answer to an OpenChannel.
type openResult struct {
	ch   ssh.Channel
	reqs <-chan *ssh.Request
	err  error
}

func (c *channel) relay(ctx context.Context) {
	var wg sync.WaitGroup
	c.tap = c.x.tap(c.id)
	defer c.tap.Close()
	c.outputs.Store(2)
	wg.Go(c.pumpStdin)
	wg.Go(func() { c.pumpOutput(c.down, c.up, c.tap.Output) })
	wg.Go(func() { c.pumpOutput(lockedStderr{c}, c.up.Stderr(), c.tap.Stderr) })
	wg.Go(func() { c.x.discardStray(c.down.Stderr()) })
	wg.Go(c.serveTarget)
	c.serveClient(ctx)
	wg.Wait()
}

// pumpStdin begins when something runs: sshd drops what comes before.
func (c *channel) pumpStdin() {
	defer close(c.stdinDone)
	select {
	case <-c.started:
	case <-c.clientEnd:
		select {
		case <-c.started: // it may have started, sent and closed at once
		default:
			return
		}
	}
	if pump(c.up, c.down, &c.x.bytesUp, c.tap.Input) == nil {
		_ = c.up.CloseWrite() // fails when the target has closed, which serveTarget sees
	}
}

// pumpOutput begins when the client has its answer, so that no output precedes it. The last of both ends the direction.
func (c *channel) pumpOutput(dst io.Writer, src io.Reader, tap func([]byte)) {
	select {
	case <-c.answered:
	case <-c.targetEnd:
		c.awaitAnswer()
	}
	_ = pump(dst, src, &c.x.bytesDown, tap) // a client that takes no more closes the channel, which serveClient sees
	if c.outputs.Add(-1) > 0 {
		return
	}
	c.awaitExit()
	c.errMu.Lock()
	c.eofSent = true
	_ = c.down.CloseWrite() // as above
	c.errMu.Unlock()
	close(c.outputDone)
}

// discardStray drops extended data where it means nothing, so that it cannot pile up.
func (x *session) discardStray(src io.Reader) {
	b := make([]byte, 256)
	for {
		n, err := src.Read(b)
		x.p.stats.strayStderr.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// serveTarget relays the target's requests; when they end the target has closed the channel, and so do we, after the
// output has been delivered.
func (c *channel) serveTarget() {
	for req := range c.upReqs {
		c.targetRequest(req)
	}
	close(c.targetEnd)
	<-c.outputDone
	_ = c.down.Close() // fails when the client closed first
}

func (c *channel) targetRequest(req *ssh.Request) {
	c.awaitAnswer()
	switch req.Type {
	case "exit-status":
		if status, err := parseExitStatus(req.Payload); err == nil {
			c.x.exitStatus.Store(&status)
			c.event(EventExit, "status", formatUint(status))
			c.tap.Exit(status)
			c.tell(c.down, req)
			c.exitOnce.Do(func() { close(c.exited) })
		}
	case "exit-signal":
		if sig, err := parseExitSignal(req.Payload); err == nil {
			c.event(EventExit, "signal", short(sig.Signal))
			c.tap.ExitSignal(short(sig.Signal))
			c.tell(c.down, req)
			c.exitOnce.Do(func() { close(c.exited) })
		}
	case "eow@openssh.com":
		c.tell(c.down, req)
	}
	// keepalive@openssh.com, and whatever else wants a reply: a failure is one. xon-xoff (RFC 4254 section 6.8) is
	// advice for a terminal that is not ours.
	_ = req.Reply(false, nil)
}

// tell relays a request that wants no reply. It fails when that side has closed, which its own goroutine sees.
func (c *channel) tell(to ssh.Channel, req *ssh.Request) {
	_, _ = to.SendRequest(req.Type, false, req.Payload)
}

// awaitExit holds back the end of output until the exit status has been relayed or there will be none. OpenSSH's client
// closes a channel as soon as both directions have ended, the SSH library answers with a close of its own, and a status
// that sshd sends later, as it may, would be lost: the user would see 255. The price is that a program which closes its
// output and runs on is seen to have closed it when it ends.
func (c *channel) awaitExit() {
	select {
	case <-c.exited:
	case <-c.clientEnd:
	case <-c.targetEnd:
		c.explainLoss()
	}
}

// explainLoss speaks when the target's channel ended with its connection, which to the client would look as if its
// program had ended.
func (c *channel) explainLoss() {
	t := time.NewTimer(lossGrace) // the channels end a moment before the connection is known to have ended
	defer t.Stop()
	select {
	case <-c.exited:
		return
	default:
	}
	select {
	case <-c.exited:
	case <-t.C:
	case <-c.x.upGone:
		if !c.x.ending.Load() {
			c.say(line("the connection to %s was lost", c.x.s.Target))
		}
	}
}

// serveClient relays the client's requests; when they end the client has closed the channel. What it sent before gets
// a moment to reach the target.
func (c *channel) serveClient(ctx context.Context) {
	for req := range c.downReqs {
		c.x.throttle(ctx, c.limit)
		c.clientRequest(req)
	}
	close(c.clientEnd)
	c.answer()
	t := time.NewTimer(drainGrace)
	defer t.Stop()
	select {
	case <-c.stdinDone:
	case <-c.targetEnd:
	case <-ctx.Done():
	case <-t.C:
	}
	_ = c.up.Close() // fails when the target closed first
}

// awaitAnswer holds back what a program says or how it ends until the client knows that it runs: a quick one can be
// over before the target's answer has been relayed.
func (c *channel) awaitAnswer() {
	if c.starting.Load() {
		<-c.answered
	}
}

func (c *channel) answer() { c.answerOnce.Do(func() { close(c.answered) }) }

func (c *channel) event(typ string, detail ...string) {
	c.x.event(typ, append(detail, "channel", c.id)...)
}

// lockedStderr is the client's standard error for the pump.
type lockedStderr struct{ c *channel }

func (w lockedStderr) Write(b []byte) (int, error) {
	w.c.errMu.Lock()
	defer w.c.errMu.Unlock()
	return w.c.down.Stderr().Write(b)
}

// say writes a message of ours to the client's standard error, if the client listens by now. It can block as long as the
// client does not read.
func (c *channel) say(text string) {
	select {
	case <-c.answered:
		c.write(text)
	default:
	}
}

func (c *channel) write(text string) {
	if c.pty.Load() {
		text = "\r\n" + strings.ReplaceAll(text, "\n", "\r\n")
	}
	c.errMu.Lock()
	defer c.errMu.Unlock()
	if c.eofSent {
		return
	}
	_, _ = io.WriteString(c.down.Stderr(), text) // a client that is gone need not be told
}
