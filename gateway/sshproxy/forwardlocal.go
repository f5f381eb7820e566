package sshproxy

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

// openLocal serves a channel of the client that asks the target to connect to something.
func (x *session) openLocal(ctx context.Context, nc ssh.NewChannel) {
	x.throttle(ctx, x.forwardOpens)
	to, err := x.localTarget(nc)
	if err != nil || !x.forwards.claim(to.use, x.rules) {
		x.throttle(ctx, x.refusals)
		x.refuseLocal(nc, to, err)
		return
	}
	f, reason := x.admitForward()
	if f == nil {
		x.forwards.drop(to.use)
		x.throttle(ctx, x.refusals)
		x.p.stats.forwardsOverLimit.Add(1)
		x.event(EventRefused, "request", nc.ChannelType(), "reason", reason, "destination", to.destination)
		_ = nc.Reject(ssh.ResourceShortage, prefix+reason) // an error is the end of the connection, seen elsewhere
		return
	}
	f.direction, f.destination, f.origin, f.use = ForwardLocal, to.destination, to.origin, to.use
	x.wg.Go(func() {
		defer f.end()
		f.serve(nc, x.up, to.payload(), true)
	})
}

// localTarget is where a local forwarding goes.
type localTarget struct {
	use         *use
	destination string
	origin      string
	payload     func() []byte // for the target, once it is allowed
}

func (x *session) localTarget(nc ssh.NewChannel) (localTarget, error) {
	if nc.ChannelType() == typeDirectSocket {
		m, err := parseDirectSocket(nc.ExtraData())
		if err != nil {
			return localTarget{}, err
		}
		to := localTarget{destination: socketText(m.Path), payload: func() []byte { return ssh.Marshal(directSocket{Path: m.Path}) }}
		to.use = &use{
			what:    "forwarding to " + to.destination,
			allowed: func(r *access.SSHRules) bool { return r.PermitDialSocket(m.Path) },
		}
		return to, nil
	}
	m, err := parseTCPChannel(nc.ExtraData())
	if err != nil {
		return localTarget{}, err
	}
	var ask string // as which host the target is asked, in the spelling of the rules that allowed it
	to := localTarget{destination: hostPort(m.Host, m.Port), origin: origin(m.OriginHost, m.OriginPort)}
	if r, ok := x.canonical(m); ok {
		ask, to.destination = r, hostPort(r, m.Port)
	}
	to.payload = func() []byte {
		return ssh.Marshal(tcpChannel{ask, m.Port, originHost(m.OriginHost), m.OriginPort})
	}
	to.use = &use{
		what: "forwarding to " + to.destination,
		allowed: func(r *access.SSHRules) bool {
			now, ok := r.PermitDial(m.Host, m.Port)
			return ok && now == ask // or the target was asked for something else
		},
	}
	return to, nil
}

// canonical asks the rules of now how the target is to be asked for a destination.
func (x *session) canonical(m tcpChannel) (string, bool) {
	return x.rules().PermitDial(m.Host, m.Port)
}

// refuseLocal rejects a local forwarding that the login may not have, or that makes no sense.
func (x *session) refuseLocal(nc ssh.NewChannel, to localTarget, err error) {
	reason := refusedChannels[nc.ChannelType()]
	switch d := x.s.Authorize(x.result.Login); {
	case err != nil:
		reason += " in this form: " + err.Error()
	case !d.Allow:
		reason = d.Message()
	case d.SSHRules() != nil && d.SSHRules().LocalForwarding != nil:
		reason = fmt.Sprintf("policy %s does not allow forwarding to %s", strconv.Quote(d.Policy.Name), to.destination)
	}
	x.p.stats.forwardingsRefused.Add(1)
	detail := []string{"request", nc.ChannelType(), "reason", reason}
	if to.destination != "" {
		detail = append(detail, "destination", to.destination)
	}
	x.event(EventRefused, detail...)
	_ = nc.Reject(ssh.Prohibited, prefix+clean(reason)) // an error is the end of the connection, seen elsewhere
}
