package sshproxy

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// What is not relayed unless the policy allows it, or never, in words for the user.
var refusedChannels = map[string]string{
	"direct-tcpip":                      "port forwarding is not allowed through this gateway",
	"direct-streamlocal@openssh.com":    "forwarding to a socket is not allowed through this gateway",
	"forwarded-tcpip":                   "remote port forwarding is not allowed through this gateway",
	"forwarded-streamlocal@openssh.com": "forwarding of a socket is not allowed through this gateway",
	"x11":                               "X11 forwarding is not allowed through this gateway",
	"auth-agent@openssh.com":            "agent forwarding is not allowed through this gateway",
	"auth-agent":                        "agent forwarding is not allowed through this gateway",
	"tun@openssh.com":                   "tunnel devices are not allowed through this gateway",
}

var refusedGlobal = map[string]string{
	"tcpip-forward":                   "remote port forwarding is not allowed through this gateway",
	"streamlocal-forward@openssh.com": "remote forwarding of a socket is not allowed through this gateway",
}

// quietGlobal are global requests that are answered with a failure as sshd would, and no word about it: a keepalive
// wants any answer, the others are questions that only follow offers which we do not make.
var quietGlobal = map[string]bool{
	"keepalive@openssh.com":         true,
	"keepalive@golang.org":          true,
	"hostkeys-prove-00@openssh.com": true,
	"hostkeys-00@openssh.com":       true,
}

// refuseChannel rejects a channel that is not a session, with a reason that clients show.
func (x *session) refuseChannel(nc ssh.NewChannel) {
	reason, known := refusedChannels[nc.ChannelType()]
	code := ssh.Prohibited
	if known {
		x.p.stats.forwardingsRefused.Add(1)
	} else {
		x.p.stats.requestsRefused.Add(1)
		reason, code = "channels of this type are not allowed through this gateway", ssh.UnknownChannelType
	}
	detail := []string{"request", short(nc.ChannelType()), "reason", reason}
	if d := destination(nc.ChannelType(), nc.ExtraData()); d != "" {
		detail = append(detail, "destination", d)
	}
	x.event(EventRefused, detail...)
	_ = nc.Reject(code, prefix+reason) // an error is the end of the connection, seen elsewhere
}

// refuseChannels serves the target's side of a login that came to nothing.
func (x *session) refuseChannels(chans <-chan ssh.NewChannel) {
	for nc := range chans {
		x.refuseChannel(nc)
	}
}

// serveGlobal answers the client's global requests until the connection ends, in their order (RFC 4254 section 4). The answers
// are given by a goroutine of their own: some wait for the target, and the end of the client must be seen meanwhile.
func (x *session) serveGlobal(ctx context.Context, reqs <-chan *ssh.Request) {
	queue := make(chan *ssh.Request, maxGlobalPending)
	defer close(queue)
	x.wg.Go(func() {
		for req := range queue {
			x.global(ctx, req)
		}
	})
	ended := false
	for req := range reqs {
		select {
		case queue <- req:
		default: // no client asks for that much without waiting for an answer
			if !ended {
				x.p.stats.globalsOverLimit.Add(1)
			}
			ended = true
			_ = x.client.Close()
		}
	}
}

// global answers one request; a reply fails when the connection has ended.
func (x *session) global(ctx context.Context, req *ssh.Request) {
	switch req.Type {
	case "no-more-sessions@openssh.com":
		x.mu.Lock()
		x.noMore = true
		x.mu.Unlock()
		_ = req.Reply(true, nil)
	case reqTCPListen, reqSocketListen:
		x.listen(ctx, req)
	case reqTCPCancel, reqSocketCancel:
		_ = req.Reply(x.unlisten(req), nil)
	default:
		x.refuseGlobal(ctx, req)
		_ = req.Reply(false, nil)
	}
}

func (x *session) refuseGlobal(ctx context.Context, req *ssh.Request) {
	if quietGlobal[req.Type] {
		return
	}
	x.throttle(ctx, x.refusals)
	x.p.stats.requestsRefused.Add(1)
	x.event(EventRefused, "request", short(req.Type), "reason", "unknown request")
}

// notice keeps text for the next channel that can show it: a failed global request has no room for a reason.
func (x *session) notice(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.notices) < maxGlobalNotices {
		x.notices = append(x.notices, text)
	}
}

func (x *session) takeNotices() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := x.notices
	x.notices = nil
	return n
}

// destination reads where a refused forwarding would have gone, for the record; "" when it does not say.
func destination(typ string, data []byte) string {
	switch typ {
	case "direct-tcpip", "forwarded-tcpip": // RFC 4254 section 7.2
		var m tcpChannel
		if ssh.Unmarshal(data, &m) != nil {
			return ""
		}
		return hostPort(m.Host, m.Port)
	case "direct-streamlocal@openssh.com":
		var m directSocket
		if ssh.Unmarshal(data, &m) != nil {
			return ""
		}
		return short(m.Path)
	}
	return ""
}

// listenAddress reads what a refused remote forwarding would have listened on.
func listenAddress(typ string, data []byte) string {
	switch typ {
	case "tcpip-forward": // RFC 4254 section 7.1
		var m tcpListen
		if ssh.Unmarshal(data, &m) != nil {
			return ""
		}
		return hostPort(m.Host, m.Port)
	case "streamlocal-forward@openssh.com":
		var m socketListen
		if ssh.Unmarshal(data, &m) != nil {
			return ""
		}
		return short(m.Path)
	}
	return ""
}

func hostPort(host string, port uint32) string {
	return net.JoinHostPort(short(host), strconv.FormatUint(uint64(port), 10))
}

// short bounds a text that the client chose before it goes on record.
func short(s string) string {
	const limit = 256
	if len(s) <= limit {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes)", s[:limit], len(s))
}
