package sshproxy

import (
	"golang.org/x/crypto/ssh"

	"weft/access"
)

// serveTarget serves the channels that the target opens: what it was asked for, and nothing else. It never waits, since that
// would hold up everything that the target sends.
func (x *session) serveTarget(chans <-chan ssh.NewChannel) {
	for nc := range chans {
		switch nc.ChannelType() {
		case typeForwardedTCP, typeForwardedSocket, typeAgent, typeX11:
			x.openBack(nc)
		default:
			x.refuseBack(nc)
		}
	}
}

// refuseBack rejects a channel of the target. One that asks too often is on record often enough.
func (x *session) refuseBack(nc ssh.NewChannel) {
	if x.refusals.Allow() {
		x.refuseChannel(nc)
		return
	}
	x.p.stats.requestsRefused.Add(1)
	_ = nc.Reject(ssh.Prohibited, prefix+"not allowed through this gateway") // an error is the end of the connection
}

func (x *session) openBack(nc ssh.NewChannel) {
	reject := func() {
		x.p.stats.forwardsOverLimit.Add(1)
		_ = nc.Reject(ssh.ResourceShortage, prefix+"too many forwarded connections") // as above
	}
	if !x.listens.Load() { // nothing was ever granted: no need to look closer
		x.refuseBack(nc)
		return
	}
	if !x.backOpens.Allow() {
		reject()
		return
	}
	f, _ := x.admitForward()
	if f == nil {
		reject()
		return
	}
	x.wg.Go(func() {
		defer f.end()
		payload, ok := x.granted(f, nc)
		if !ok {
			f.opened()
			x.refuseBack(nc)
			return
		}
		f.serve(nc, x.down, payload, false)
	})
}

// granted finds what allows a channel of the target, fills in f, and returns the payload for the client.
func (x *session) granted(f *forward, nc ssh.NewChannel) (payload []byte, ok bool) {
	data := nc.ExtraData()
	switch nc.ChannelType() {
	case typeForwardedTCP:
		m, err := parseTCPChannel(data)
		if err != nil {
			return nil, false
		}
		f.direction, f.destination, f.origin = ForwardRemote, listenText(m.Host, m.Port), origin(m.OriginHost, m.OriginPort)
		m.OriginHost = originHost(m.OriginHost)
		e := x.listeners.await(listenKey{host: m.Host, port: m.Port}, x.upGone, x.clientGone)
		return ssh.Marshal(m), e != nil && f.claim(e.use.what, e.use.allowed)
	case typeForwardedSocket:
		m, err := parseForwardedSocket(data)
		if err != nil {
			return nil, false
		}
		f.direction, f.destination = ForwardRemote, socketText(m.Path)
		e := x.listeners.await(listenKey{socket: m.Path}, x.upGone, x.clientGone)
		return ssh.Marshal(forwardedSocket{Path: m.Path}), e != nil && f.claim(e.use.what, e.use.allowed)
	case typeAgent:
		f.direction, f.destination = ForwardAgent, ForwardAgent
		return nil, len(data) == 0 && x.agent.Load() != nil && f.claim(agentUse, (*access.SSHRules).PermitAgent)
	case typeX11:
		m, err := parseX11Channel(data)
		if err != nil {
			return nil, false
		}
		f.direction, f.destination, f.origin = ForwardX11, ForwardX11, origin(m.OriginHost, m.OriginPort)
		m.OriginHost = originHost(m.OriginHost)
		return ssh.Marshal(m), f.claim(x11Use, (*access.SSHRules).PermitX11) && x.takeX11()
	}
	return nil, false
}

// claim holds the connection itself to the rules, as long as it lasts: what it came by, a listener that was cancelled or a
// channel that asked for X11, can be gone before it.
func (f *forward) claim(what string, allowed func(*access.SSHRules) bool) bool {
	u := &use{what: what, allowed: allowed}
	if !f.x.forwards.claim(u, f.x.rules) {
		return false
	}
	f.use = u // dropped by end
	return true
}

// What the agent and X11 are called when the rules do not cover them any more.
const (
	agentUse = "agent forwarding"
	x11Use   = "X11 forwarding"
)

// x11Grant is an accepted x11-req.
type x11Grant struct {
	c      *channel
	single bool // it allows one connection
	used   bool // and that was made
	use    *use
}

// takeX11 finds a request that allows a connection to the display; one for a single connection is used up.
func (x *session) takeX11() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.x11 {
		if g := &x.x11[i]; !g.used {
			g.used = g.single
			return true
		}
	}
	return false
}

// agentRequest relays auth-agent-req@openssh.com when the login may have it. The grant is the connection's: sshd's
// socket lives as long.
func (c *channel) agentRequest(req *ssh.Request) (ok bool) {
	x := c.x
	if c.agentAsked || len(req.Payload) > 0 {
		c.x.p.stats.requestsRefused.Add(1)
		return false
	}
	u := &use{what: agentUse, allowed: (*access.SSHRules).PermitAgent}
	if !x.forwards.claim(u, x.rules) {
		c.refuse(req.Type)
		return false
	}
	c.agentAsked = true
	if !c.grant(req, ForwardAgent) {
		x.forwards.drop(u)
		return false
	}
	if !x.agent.CompareAndSwap(nil, u) {
		x.forwards.drop(u) // another channel's counts
	}
	x.listens.Store(true)
	return true
}

// x11Request relays x11-req, its cookie untouched, when the login may have it. The grant ends with the channel.
func (c *channel) x11Request(req *ssh.Request) (ok bool) {
	x := c.x
	m, err := parseX11Request(req.Payload)
	if err == nil && c.x11Asked {
		c.x.p.stats.requestsRefused.Add(1)
		return false
	}
	u := &use{what: x11Use, allowed: (*access.SSHRules).PermitX11}
	if err != nil || !x.forwards.claim(u, x.rules) {
		c.refuse(req.Type)
		return false
	}
	c.x11Asked = true
	if !c.grant(req, ForwardX11) {
		x.forwards.drop(u)
		return false
	}
	x.mu.Lock()
	x.x11 = append(x.x11, x11Grant{c: c, single: m.Single, use: u})
	x.mu.Unlock()
	x.listens.Store(true)
	return true
}

// grant puts on record what the target may do from now on, and asks it.
func (c *channel) grant(req *ssh.Request, what string) bool {
	c.event(EventForward, "direction", ForwardListen, "destination", what)
	select {
	case <-c.x.done: // whoever keeps the record could not, and ends the session for it
		return false
	default:
	}
	ok, err := c.up.SendRequest(req.Type, true, req.Payload)
	if ok && err == nil {
		return true
	}
	c.event(EventForwardEnd, "direction", ForwardListen, "destination", what, "reason", "the target refused")
	return false
}

// endX11Locked takes back what a channel was granted.
func (x *session) endX11Locked(c *channel) {
	kept := x.x11[:0]
	for _, g := range x.x11 {
		if g.c == c {
			x.forwards.drop(g.use)
			continue
		}
		kept = append(kept, g)
	}
	clear(x.x11[len(kept):])
	x.x11 = kept
}
