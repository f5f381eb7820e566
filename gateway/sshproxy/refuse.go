package sshproxy

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// What is not relayed, in words for the user.
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
	"keepalive@openssh.com":                  true,
	"keepalive@golang.org":                   true,
	"hostkeys-prove-00@openssh.com":          true,
	"hostkeys-00@openssh.com":                true,
	"cancel-tcpip-forward":                   true,
	"cancel-streamlocal-forward@openssh.com": true,
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

// refuseChannels serves the target's side: it has nothing to open, since nothing was asked for that would lead to it.
func (x *session) refuseChannels(chans <-chan ssh.NewChannel) {
	for nc := range chans {
		x.refuseChannel(nc)
	}
}

// serveGlobal answers the client's global requests until the connection ends.
func (x *session) serveGlobal(ctx context.Context, reqs <-chan *ssh.Request) {
	for req := range reqs {
		x.global(ctx, req)
		_ = req.Reply(req.Type == "no-more-sessions@openssh.com", nil) // an error is the end of the connection
	}
}

func (x *session) global(ctx context.Context, req *ssh.Request) {
	if quietGlobal[req.Type] {
		return
	}
	if req.Type == "no-more-sessions@openssh.com" {
		x.mu.Lock()
		x.noMore = true
		x.mu.Unlock()
		return
	}
	x.throttle(ctx, x.refusals)
	reason, known := refusedGlobal[req.Type]
	if !known {
		x.p.stats.requestsRefused.Add(1)
		x.event(EventRefused, "request", short(req.Type), "reason", "unknown request")
		return
	}
	x.p.stats.forwardingsRefused.Add(1)
	detail := []string{"request", req.Type, "reason", reason}
	if d := listenAddress(req.Type, req.Payload); d != "" {
		detail = append(detail, "destination", d)
		reason += " (" + d + ")"
	}
	x.event(EventRefused, detail...)
	x.notice(line("%s", reason))
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
		var m struct {
			Host       string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}
		if ssh.Unmarshal(data, &m) != nil {
			return ""
		}
		return hostPort(m.Host, m.Port)
	case "direct-streamlocal@openssh.com":
		var m struct {
			Path      string
			Reserved  string
			Reserved2 uint32
		}
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
		var m struct {
			Host string
			Port uint32
		}
		if ssh.Unmarshal(data, &m) != nil {
			return ""
		}
		return hostPort(m.Host, m.Port)
	case "streamlocal-forward@openssh.com":
		var m struct{ Path string }
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
