package forward

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/agent/relay"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// Status is a forward with what became of it.
type Status struct {
	Spec
	State, Detail                            string
	Open                                     int64
	Accepted, Refused, Sent, Received, Drops uint64
}

// forward is one forward at work.
type forward struct {
	m    *Manager
	spec Spec // Listen is settled before it is shared
	stop atomic.Pointer[context.CancelFunc]
	done chan struct{} // closed when run has returned

	open                                     atomic.Int64
	accepted, refused, sent, received, drops atomic.Uint64

	mu            sync.Mutex // guards what follows
	state, detail string
}

func newForward(m *Manager, s Spec) *forward {
	return &forward{m: m, spec: s, done: make(chan struct{}), state: localapi.ForwardFailed, detail: "not started yet"}
}

func (f *forward) setState(state, detail string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.detail = state, detail
}

func (f *forward) status() Status {
	f.mu.Lock()
	state, detail := f.state, f.detail
	f.mu.Unlock()
	return Status{
		Spec: f.spec, State: state, Detail: detail, Open: f.open.Load(), Accepted: f.accepted.Load(),
		Refused: f.refused.Load(), Sent: f.sent.Load(), Received: f.received.Load(), Drops: f.drops.Load(),
	}
}

// end stops the forward and waits until its port is free.
func (f *forward) end() {
	if stop := f.stop.Load(); stop != nil {
		(*stop)()
		<-f.done
	}
}

// run serves; without a listener it makes one, again and again while that does not work.
func (f *forward) run(ctx context.Context, ln listener) {
	defer close(f.done)
	for ctx.Err() == nil {
		if ln == nil {
			var err error
			if ln, err = f.listen(ctx); err != nil {
				f.failed(ctx, err)
				pause(ctx, f.m.cfg.Retry)
				continue
			}
		}
		f.setState(localapi.ForwardListening, "")
		err := ln.serve(ctx, f)
		ln = nil
		if ctx.Err() == nil {
			f.failed(ctx, err)
			pause(ctx, f.m.cfg.Retry)
		}
	}
	if ln != nil {
		_ = ln.Close() // never served
	}
}

func (f *forward) failed(ctx context.Context, err error) {
	e := fault.From(err)
	state := localapi.ForwardFailed
	if e.Code == string(kind.Conflict) {
		state = localapi.ForwardBusy
	}
	f.setState(state, e.Message)
	f.m.log.DebugContext(ctx, "forward does not listen", "name", f.spec.Name, "listen", f.spec.Listen, "error", err)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// listener is the local side of a forward.
type listener interface {
	address() string
	// serve serves until ctx ends or the listener fails, and closes it.
	serve(ctx context.Context, f *forward) error
	Close() error
}

func (f *forward) listen(ctx context.Context) (listener, error) {
	switch f.spec.Network {
	case Unix:
		return listenUnix(ctx, f.spec.Listen)
	case UDP:
		return listenUDP(ctx, f.spec.Listen)
	default:
		var lc net.ListenConfig
		if f.spec.loopback() {
			lc.KeepAlive = -1
		}
		ln, err := lc.Listen(ctx, "tcp", f.spec.Listen)
		if err != nil {
			return nil, listenFault(f.spec.Listen, err)
		}
		return &streams{Listener: ln, at: ln.Addr().String()}, nil
	}
}

// listenFault says why a port cannot be had.
func listenFault(at string, err error) error {
	switch {
	case isInUse(err):
		return fault.New(string(kind.Conflict), "another program uses %s", at).
			WithHint("end it, or choose another port (0: any free one)").WithCause(err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault.New(localapi.CodePermission, "the agent may not listen at %s", at).
			WithHint("choose a port from 1024 on").WithCause(err)
	default:
		return fault.New(string(kind.Invalid), "the agent cannot listen at %s", at).
			WithHint("choose an address of this machine").WithCause(err)
	}
}

// streams accepts TCP or Unix connections.
type streams struct {
	net.Listener
	at string
}

func (l *streams) address() string { return l.at }

func (l *streams) serve(ctx context.Context, f *forward) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				// Out of descriptors, or the connection is gone already: others may follow.
				pause(ctx, 20*time.Millisecond)
				continue
			}
			return errors.Join(err, closeAgain(l.Listener))
		}
		f.accepted.Add(1)
		if f.open.Add(1) > int64(f.m.cfg.MaxConns) {
			f.open.Add(-1)
			f.refuse(ctx, c, errTooMany)
			continue
		}
		wg.Go(func() {
			defer f.open.Add(-1)
			f.connection(ctx, c)
		})
	}
}

func closeAgain(ln net.Listener) error {
	if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

var (
	errTooMany    = errors.New("too many connections through this forward")
	errNotAllowed = errors.New("the account may not use the forwards of this agent")
)

// refuse resets a connection.
func (f *forward) refuse(ctx context.Context, c net.Conn, err error) {
	f.refused.Add(1)
	f.m.log.DebugContext(ctx, "forward refused a connection", "name", f.spec.Name, "src", c.RemoteAddr(), "error", err)
	relay.Abort(c)
}

// connection owns c. The target is dialled before a byte is read; what cannot be dialled is reset.
func (f *forward) connection(ctx context.Context, c net.Conn) {
	client, ok := c.(relay.Client)
	if !ok {
		f.refuse(ctx, c, errors.New("a connection without half-close"))
		return
	}
	if err := f.authorize(c); err != nil {
		f.refuse(ctx, c, err)
		return
	}
	dctx, cancel := context.WithTimeout(origin.With(ctx, origin.Of(origin.Forward, c)), f.m.cfg.DialTimeout)
	flow, err := f.m.cfg.Dialer.DialFlow(dctx, f.dial())
	cancel()
	if err != nil {
		f.refuse(ctx, c, err)
		return
	}
	r := relay.Run(ctx, client, flow, nil)
	f.sent.Add(uint64(r.Sent))
	f.received.Add(uint64(r.Received))
	f.m.log.DebugContext(ctx, "forwarded connection ended", "name", f.spec.Name, "sent", r.Sent, "received", r.Received, "error", r.Err)
}

func (f *forward) dial() localapi.Dial {
	return localapi.Dial{Name: f.spec.Target, Port: f.spec.Port, VNET: f.spec.VNET}
}

// authorize turns other accounts of this machine away, where the system tells whose connection it is. A port
// that is not on loopback is for everybody who reaches it, which was asked for.
func (f *forward) authorize(c net.Conn) error {
	if f.spec.AllUsers || f.spec.Network == TCP && !f.spec.loopback() {
		return nil
	}
	var id localsock.Caller
	var err error
	if named, ok := c.(interface {
		Caller() (localsock.Caller, error)
	}); ok {
		id, err = named.Caller()
	} else {
		id, err = localsock.TCPPeer(c)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil // this system does not tell; the manual says so
		}
	}
	if err != nil {
		return err
	}
	if !f.m.cfg.Allow(id) {
		return errNotAllowed
	}
	return nil
}
