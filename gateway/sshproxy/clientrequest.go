package sshproxy

import (
	"strconv"

	"golang.org/x/crypto/ssh"
)

// refusedRequests are channel requests for a forwarding, in words for the user.
var refusedRequests = map[string]string{
	"x11-req":                    "X11 forwarding is not allowed through this gateway",
	"auth-agent-req@openssh.com": "agent forwarding is not allowed through this gateway",
	"auth-agent-req":             "agent forwarding is not allowed through this gateway",
}

// quietRequests are answered with a failure as every server does that does not know them: probes that expect just that.
var quietRequests = map[string]bool{
	"keepalive@openssh.com":              true,
	"winadj@putty.projects.tartarus.org": true,
	"simple@putty.projects.tartarus.org": true,
	"xon-xoff":                           true,
}

// clientRequest relays one request of the client and answers it with the target's answer.
func (c *channel) clientRequest(req *ssh.Request) {
	ok := false
	switch req.Type {
	case "env":
		ok = c.env(req)
	case "pty-req":
		ok = c.ptyRequest(req)
	case "shell":
		c.start(req, EventShell, "", "", nil)
		return
	case "exec":
		command, err := parseCommand(req.Payload, c.x.p.limits.CommandBytes)
		c.start(req, EventExec, "command", command, err)
		return
	case "subsystem":
		name, err := parseSubsystem(req.Payload)
		c.start(req, EventSubsystem, "subsystem", name, err)
		return
	case "window-change":
		w, err := parseWindowChange(req.Payload)
		if err == nil {
			c.tap.Resize(int(w.Columns), int(w.Rows))
			ok = c.ask(req)
		}
	case "signal":
		name, err := parseSignal(req.Payload)
		if err == nil {
			c.tap.Signal(name)
			ok = c.ask(req)
		}
	case "break":
		_, err := parseBreak(req.Payload)
		if err == nil {
			c.tap.Break()
			ok = c.ask(req)
		}
	case "eow@openssh.com":
		ok = c.ask(req)
	case "auth-agent-req@openssh.com":
		ok = c.agentRequest(req)
	case "x11-req":
		ok = c.x11Request(req)
	default:
		c.refuse(req.Type)
	}
	_ = req.Reply(ok, nil) // fails when the client has closed
}

// ask relays req and returns the target's answer; false also when there is none.
func (c *channel) ask(req *ssh.Request) bool {
	ok, err := c.up.SendRequest(req.Type, req.WantReply, req.Payload)
	return ok && err == nil
}

// start relays the request that makes the target run something. The target is asked for a reply even when the client
// does not want one, because data must not be sent before it.
func (c *channel) start(req *ssh.Request, event, key, value string, err error) {
	if err == nil && c.running {
		err = errRunning
	}
	if err != nil {
		c.x.p.stats.requestsRefused.Add(1)
		c.event(EventRefused, "request", req.Type, "reason", err.Error())
		c.answer()
		c.say(line("%s refused: %s", req.Type, err))
		_ = req.Reply(false, nil) // fails when the client has closed
		return
	}
	if key == "" {
		c.event(event)
	} else {
		c.event(event, key, value)
	}
	c.tap.Start(event, value)
	select {
	case <-c.x.done: // whoever keeps the record could not, and ends the session for it: then nothing runs
		c.answer()
		_ = req.Reply(false, nil) // as above
		return
	default:
	}
	c.starting.Store(true)
	ok, err := c.up.SendRequest(req.Type, true, req.Payload)
	c.running = ok && err == nil
	_ = req.Reply(c.running, nil) // as above
	c.showNotices()               // before the target's output, whose end could come first
	c.answer()
	if c.running {
		close(c.started)
	}
}

func (c *channel) ptyRequest(req *ssh.Request) bool {
	p, err := parsePTY(req.Payload)
	if err != nil || c.ptyAsked || c.running {
		c.x.p.stats.requestsRefused.Add(1)
		return false
	}
	c.ptyAsked = true
	ok, err := c.up.SendRequest(req.Type, true, req.Payload)
	c.pty.Store(ok && err == nil)
	if ok && err == nil {
		c.tap.PTY(p.Term, int(p.Columns), int(p.Rows), []byte(p.Modes))
	}
	return ok && err == nil
}

// env passes on a variable of the list. Like sshd it says nothing of others: clients send what they have.
func (c *channel) env(req *ssh.Request) bool {
	e, err := parseEnv(req.Payload)
	size := len(e.Name) + len(e.Value)
	if err != nil || c.running || !envAllowed(e.Name) ||
		c.envCount >= c.x.p.limits.EnvCount || c.envBytes+size > c.x.p.limits.EnvBytes {
		c.x.p.stats.envIgnored.Add(1)
		return false
	}
	c.envCount++
	c.envBytes += size
	c.tap.Env(e.Name, e.Value)
	return c.ask(req)
}

// refuse reports a request that is not relayed, once for each type, and tells the user when something runs.
func (c *channel) refuse(typ string) {
	if quietRequests[typ] {
		return
	}
	reason, forwarding := refusedRequests[typ]
	typ = short(typ)
	if forwarding {
		c.x.p.stats.forwardingsRefused.Add(1)
	} else {
		c.x.p.stats.requestsRefused.Add(1)
		reason = "the request " + strconv.Quote(typ) + " is not allowed through this gateway"
	}
	if c.refused[typ] || len(c.refused) >= maxGlobalNotices {
		return
	}
	c.refused[typ] = true
	c.event(EventRefused, "request", typ, "reason", reason)
	if c.running {
		c.say(line("%s", reason))
		return
	}
	c.notices = append(c.notices, line("%s", reason))
}

// showNotices says what was refused so far, on this channel and on the connection.
func (c *channel) showNotices() {
	for _, n := range append(c.x.takeNotices(), c.notices...) {
		c.write(n)
	}
	c.notices = nil
}

func formatUint(v uint32) string { return strconv.FormatUint(uint64(v), 10) }
