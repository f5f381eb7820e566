package sshproxy

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

// listenKey names a listener of the target as both sides name it: the host as the client sent it, or the path of a socket.
type listenKey struct {
	host   string
	port   uint32
	socket string
}

func (k listenKey) String() string {
	if k.socket != "" {
		return socketText(k.socket)
	}
	return listenText(k.host, k.port)
}

// listener is a listener of the target that was granted, or is being asked for.
type listener struct {
	key     listenKey
	use     *use
	settled chan struct{} // closed when the client knows the answer
}

// listeners are those of a session.
type listeners struct {
	// mu guards the following.
	mu   sync.Mutex
	open map[listenKey]*listener
	// choosing is a listener whose port the target has yet to choose; one at a time, since requests are answered in order.
	choosing *listener
}

// add reserves key; false when it is taken or there are limit of them.
func (l *listeners) add(e *listener, limit int) (reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.open) >= limit:
		return fmt.Sprintf("more than %d remote forwardings on one SSH connection", limit)
	case l.open[e.key] != nil:
		return e.key.String() + " is forwarded already"
	}
	if e.key.socket == "" && e.key.port == 0 {
		l.choosing = e
		return ""
	}
	if l.open == nil {
		l.open = make(map[listenKey]*listener)
	}
	l.open[e.key] = e
	return ""
}

// chosen gives the listener that is being chosen the port that the target chose; false when it has that one already.
func (l *listeners) chosen(port uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.choosing
	key := listenKey{host: e.key.host, port: port}
	if l.open[key] != nil {
		return false
	}
	if l.open == nil {
		l.open = make(map[listenKey]*listener)
	}
	e.key = key
	l.open[key] = e
	l.choosing = nil
	return true
}

func (l *listeners) get(key listenKey) *listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[key]
}

// find returns the listener with a key, or the one that may become it.
func (l *listeners) find(key listenKey) *listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.open[key]; e != nil {
		return e
	}
	if e := l.choosing; e != nil && key.socket == "" && e.key.host == key.host {
		return e
	}
	return nil
}

func (l *listeners) remove(e *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.choosing == e {
		l.choosing = nil
		return
	}
	delete(l.open, e.key)
}

// await returns the listener with a key once the client knows of it; nil when there is none. While the target chooses a port,
// nobody knows yet whether it is this one.
func (l *listeners) await(key listenKey, gone ...<-chan struct{}) *listener {
	for {
		e := l.find(key)
		if e == nil {
			return nil
		}
		select {
		case <-e.settled:
			if l.get(key) == e {
				return e
			}
		case <-gone[0]:
			return nil
		case <-gone[1]:
			return nil
		}
	}
}

// listen answers tcpip-forward and streamlocal-forward@openssh.com. It does not return before the client has its answer.
func (x *session) listen(ctx context.Context, req *ssh.Request) {
	ok, payload, e := x.askToListen(ctx, req)
	_ = req.Reply(ok, payload) // an error is the end of the connection
	if e != nil {
		close(e.settled)
	}
}

func (x *session) askToListen(ctx context.Context, req *ssh.Request) (ok bool, payload []byte, e *listener) {
	x.throttle(ctx, x.forwardOpens)
	e, err := newListener(req)
	if err != nil || !x.forwards.claim(e.use, x.rules) {
		x.throttle(ctx, x.refusals)
		x.refuseListen(req, e, err)
		return false, nil, nil
	}
	fail := func(reason string) (bool, []byte, *listener) {
		x.forwards.drop(e.use)
		x.event(EventRefused, "request", req.Type, "reason", reason, "destination", e.key.String())
		x.notice(line("%s", reason))
		return false, nil, nil
	}
	if reason := x.listeners.add(e, x.p.limits.Listeners); reason != "" {
		x.throttle(ctx, x.refusals)
		x.p.stats.forwardsOverLimit.Add(1)
		return fail(reason)
	}
	x.event(EventForward, "direction", ForwardListen, "destination", e.key.String())
	select {
	case <-x.done: // whoever keeps the record could not, and ends the session for it
		x.listeners.remove(e)
		return fail("the session is ending")
	default:
	}
	asked := e.key
	x.listens.Store(true)
	// The target is asked for an answer even when the client wants none, so that the record knows.
	ok, payload, err = x.up.SendRequest(req.Type, true, req.Payload)
	reason := ""
	switch {
	case err != nil:
		reason = "the target closed the connection"
	case !ok:
		reason = "the target refused to listen on " + asked.String()
	case asked.socket == "" && asked.port == 0:
		reason = x.choose(payload)
	default:
		payload = nil // RFC 4254 section 7.1: only a port that was chosen
	}
	if reason != "" {
		x.listeners.remove(e)
		x.forwards.drop(e.use)
		x.event(EventForwardEnd, "direction", ForwardListen, "destination", asked.String(), "reason", reason)
		x.notice(line("%s", reason))
		close(e.settled) // to nothing
		return false, nil, nil
	}
	if e.key != asked {
		x.event(EventForward, "direction", ForwardListen, "destination", e.key.String(), "origin", asked.String())
	}
	return true, payload, e
}

// choose takes the port that the target chose, or says what is wrong with it.
func (x *session) choose(payload []byte) (reason string) {
	port, err := parseAllocated(payload)
	if err != nil || !x.listeners.chosen(port) {
		return "the target chose no port to listen on"
	}
	return ""
}

func newListener(req *ssh.Request) (*listener, error) {
	e := &listener{settled: make(chan struct{})}
	var allowed func(*access.SSHRules) bool
	if req.Type == reqSocketListen {
		m, err := parseSocketListen(req.Payload)
		if err != nil {
			return nil, err
		}
		e.key = listenKey{socket: m.Path}
		allowed = func(r *access.SSHRules) bool { return r.PermitListenSocket(m.Path) }
	} else {
		m, err := parseTCPListen(req.Payload)
		if err != nil {
			return nil, err
		}
		if m.Port == 0 && !req.WantReply {
			return nil, errForwardMessage // nobody would learn the port
		}
		e.key = listenKey{host: m.Host, port: m.Port}
		allowed = func(r *access.SSHRules) bool { return r.PermitListen(m.Host, m.Port) }
	}
	e.use = &use{what: "forwarding of " + e.key.String() + " on the target", allowed: allowed}
	return e, nil
}

// refuseListen reports a remote forwarding that the login may not have.
func (x *session) refuseListen(req *ssh.Request, e *listener, err error) {
	reason := refusedGlobal[req.Type]
	d := x.s.Authorize(x.result.Login)
	rules := d.SSHRules()
	detail := []string{"request", req.Type}
	switch {
	case err != nil:
		reason += " in this form: " + err.Error()
		detail = append(detail, "reason", reason)
	default:
		to := listenAddress(req.Type, req.Payload)
		if !d.Allow {
			reason = d.Message()
			detail = append(detail, "reason", reason)
		} else if rules != nil && rules.RemoteForwarding != nil {
			reason = "policy " + strconv.Quote(d.Policy.Name) + " does not allow forwarding of " + e.key.String() + " on the target"
			detail = append(detail, "reason", reason)
		} else {
			detail = append(detail, "reason", reason)
			reason += " (" + to + ")"
		}
		detail = append(detail, "destination", to)
	}
	x.p.stats.forwardingsRefused.Add(1)
	x.event(EventRefused, detail...)
	x.notice(line("%s", reason))
}

// unlisten answers cancel-tcpip-forward and cancel-streamlocal-forward@openssh.com: the target is asked only for what it was
// asked for before.
func (x *session) unlisten(req *ssh.Request) bool {
	var key listenKey
	if req.Type == reqSocketCancel {
		m, err := parseSocketListen(req.Payload)
		if err != nil {
			return false
		}
		key.socket = m.Path
	} else {
		m, err := parseTCPListen(req.Payload)
		if err != nil {
			return false
		}
		key.host, key.port = m.Host, m.Port
	}
	e := x.listeners.get(key)
	if e == nil {
		return false
	}
	if ok, _, err := x.up.SendRequest(req.Type, true, req.Payload); !ok || err != nil {
		return false
	}
	x.listeners.remove(e)
	x.forwards.drop(e.use)
	x.event(EventForwardEnd, "direction", ForwardListen, "destination", key.String())
	return true
}

// The global requests of remote forwarding.
const (
	reqTCPListen    = "tcpip-forward"
	reqTCPCancel    = "cancel-tcpip-forward"
	reqSocketListen = "streamlocal-forward@openssh.com"
	reqSocketCancel = "cancel-streamlocal-forward@openssh.com"
)
