package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/audit"
	"weft/gateway/connectors"
	"weft/gateway/enforce"
	"weft/gateway/recording"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
	"weft/internal/connwire"
	"weft/internal/kind"
	"weft/targets"
)

// sshCutGrace is how long the proxy may take to tell the user why a session is cut.
const sshCutGrace = 500 * time.Millisecond

// serveSSH terminates SSH. The proxy asks for every decision; it makes none.
func (g *Gateway) serveSSH(ctx context.Context, s *sessions.Session, client, upstream connwire.Conn) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last atomic.Pointer[time.Timer]
	s.OnCut(func(cause error) {
		cancel(cause)
		last.Store(time.AfterFunc(sshCutGrace, func() {
			client.Abort()
			upstream.Abort()
		}))
	})
	x := &sshSession{g: g, s: s, source: connectors.SourceAddr(upstream), forwards: sshproxy.NewForwards()}
	defer x.ended()
	s.OnRecheck(x.recheckForwards)
	res := g.proxy.Serve(ctx, &countedConn{Conn: client, counts: &s.Counts}, upstream, sshproxy.Session{
		ID: s.ID, Email: s.Email,
		Target:          fmt.Sprintf("%s (%s, %s)", s.Hostname, s.Destination.Addr(), s.VNETName),
		Authorize:       x.authorize,
		Certify:         x.certify,
		CheckHostKey:    func(key ssh.PublicKey) error { return x.checkHostKey(ctx, key) },
		HostCertificate: len(targetCAs(g.view.Load().Self().SSHTargetCAs, s)) > 0,
		OnLogin:         x.onLogin,
		OnEvent:         func(e sshproxy.Event) { x.onEvent(ctx, e) },
		OnLive:          x.onLive,
		Tap:             x.tap,
		Forwards:        x.forwards,
	})
	x.endRecording(ctx, &res)
	if t := last.Load(); t != nil {
		t.Stop()
	}
	switch {
	case res.Refused != nil:
		return endLoginDenied, res.Err
	case res.Err != nil:
		return endReset, res.Err
	default:
		return endClosed, nil
	}
}

// sshSession answers the proxy's questions about one session.
type sshSession struct {
	g *Gateway
	s *sessions.Session
	// rec is set by onLogin, before any channel; nil: the session is not recorded.
	rec *recording.Session
	// source is where the target sees the connection come from, if a connector vouches for it.
	source netip.Addr
	// permits are the extensions of the certificate that the decision about the login allows; set by onLogin.
	permits []string
	// cert is that of the login.
	cert *ssh.Certificate
	// forwards is what the session forwards at the moment.
	forwards *sshproxy.Forwards
}

// authorize asks the current policy for a UNIX user.
func (x *sshSession) authorize(login string) access.Decision {
	v := x.g.decide(enforce.Flow{
		Source: x.s.Source.Addr(), Destination: x.s.Destination, Transport: targets.TransportTCP, Login: login,
	})
	d := v.Decision
	if !v.Allow {
		d.Allow = false
		if d.Reason == "" || d.Reason == access.Allowed {
			d.Reason = v.Reason
		}
	}
	return d
}

// onLogin puts the decision on record, then binds the session to the UNIX user.
func (x *sshSession) onLogin(login string, d access.Decision) error {
	e := x.g.event(audit.SSHLogin, x.s)
	e.Login, e.Reason, e.PolicyRev = login, string(d.Reason), d.Revision
	if p := d.Policy; p != nil {
		e.PolicyID, e.PolicyName = p.ID, p.Name
	}
	if a := d.Application; a != nil {
		e.ApplicationID = a.ID
	}
	if !d.Allow {
		e.Event, e.Decision = audit.SSHDenied, audit.Deny
		x.g.counts.deny(string(d.Reason))
	}
	if err := x.g.audit.Write(e); err != nil {
		x.g.counts.deny(endAuditFailed)
		return kind.New(kind.Unavailable, "the login cannot be put on record").WithCause(err)
	}
	if !d.Allow {
		return nil
	}
	x.permits = d.SSHRules().Extensions()
	// What grants the user, from now on: it says whether the session is recorded.
	x.s.SetGrant(sessions.Grant{Application: e.ApplicationID, Policy: e.PolicyID, PolicyName: e.PolicyName, Revision: d.Revision})
	x.s.SetLogin(login)
	if err := x.startRecording(); err != nil {
		return err
	}
	// The policy may have changed between the decision and now, when the table did not know the user yet.
	return keep(x.g.view.Load(), x.s)
}

// checkHostKey takes a certificate of a trusted authority, or pins the target's key on first use; anything else is an alarm and a
// refusal.
func (x *sshSession) checkHostKey(ctx context.Context, key ssh.PublicKey) error {
	proof, err := proveHost(x.g.view.Load().Self().SSHTargetCAs, x.s, key, x.g.now())
	known := false
	if err == nil {
		known, err = x.g.pins.check(x.s.VNET, x.s.Destination, proof)
	}
	if known && err == nil {
		return nil
	}
	e := x.g.event(audit.HostKeyNew, x.s)
	e.Detail = map[string]string{"type": key.Type(), "fingerprint": ssh.FingerprintSHA256(key)}
	if cert, ok := key.(*ssh.Certificate); ok {
		e.Detail["fingerprint"] = ssh.FingerprintSHA256(cert.Key)
		e.Detail["authority"] = ssh.FingerprintSHA256(cert.SignatureKey)
		e.Detail["key_id"] = clip(cert.KeyId)
	}
	if err != nil {
		e.Event, e.Decision, e.Reason, e.Error = audit.HostKeyBad, audit.Deny, hostKeyChanged, err.Error()
		if a, ok := errors.AsType[*hostAlarm](err); ok {
			e.Reason = a.reason
		}
		err = untrusted(err, key)
		x.g.counts.hostKeyAlarms.Add(1)
		x.g.log.ErrorContext(ctx, "host key of a target refused", slog.String("session_id", x.s.ID),
			slog.String("target_id", string(x.s.TargetID)), slog.String("dst", x.s.Destination.String()),
			slog.String("vnet_id", string(x.s.VNET)), slog.Any("error", err))
	}
	return errors.Join(err, x.g.audit.Write(e))
}

// onEvent puts what happens inside on record, before it happens; no record, no session.
func (x *sshSession) onEvent(ctx context.Context, ev sshproxy.Event) {
	e := x.g.event(audit.SSHEvent, x.s)
	e.Type, e.Detail = ev.Type, ev.Detail
	if x.rec != nil {
		x.recordEvent(ev)
	}
	if err := x.g.audit.Write(e); err != nil {
		x.g.log.ErrorContext(ctx, "ssh event not on record: session cut", slog.String("session_id", x.s.ID), slog.Any("error", err))
		x.s.Cut(&sessions.CutError{
			Reason: endAuditFailed, Message: "the gateway cannot record it; ask the administrator to check the gateway's audit log",
		})
	}
}

// countedConn counts the bytes of a client's connection.
type countedConn struct {
	connwire.Conn
	counts *connwire.Counts
}

var _ net.Conn = (*countedConn)(nil)

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.counts.Up.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.counts.Down.Add(int64(n))
	return n, err
}
