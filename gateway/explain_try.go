package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/gateway/audit"
	"weft/gateway/connectors"
	"weft/gateway/enforce"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
	"weft/internal/connwire"
	"weft/internal/kind"
	"weft/targets"
	"weft/tunnel"
)

// try opens the flow as the data path would: it counts against the limits, is on record, and can be cut.
func (x *explanation) try(ctx context.Context, view *enforce.View, v enforce.Verdict) {
	if x.g.draining() {
		x.fail(api.StepConnect, api.CodeGatewayDraining, "the gateway takes no new connections: it is being stopped or drained")
		return
	}
	live, left := x.g.connectors.Presence(v.Route.Tunnel)
	name := x.tunnelName(view, v.Route.Tunnel)
	switch {
	case live == 0 && left.IsZero():
		x.fail(api.StepConnect, api.CodeConnectorMissing, "no connector of %s has come to this gateway", name)
		return
	case live == 0:
		x.fail(api.StepConnect, api.CodeConnectorDown, "the last connector of %s went %s ago", name, time.Since(left).Round(time.Second))
		return
	}
	s, err := x.enter(ctx, view, v)
	if err != nil {
		x.notEntered(err)
		return
	}
	reason, err := x.dial(ctx, s, v, fmt.Sprintf("%d of %s", live, name))
	x.g.finish(ctx, s, reason, err)
}

// enter takes a place in the table and writes the line that says what it is for.
func (x *explanation) enter(ctx context.Context, view *enforce.View, v enforce.Verdict) (*sessions.Session, error) {
	src, _ := view.Source(v.Device, x.q.VNET, x.q.Destination.Addr())
	f := tunnel.Flow{Source: netip.AddrPortFrom(src, 0), Destination: x.q.Destination}
	s, err := x.g.enter(ctx, f, targets.TransportTCP, v)
	if err != nil {
		return nil, err
	}
	e := x.g.event(audit.FlowOpen, s)
	e.Type = "explain"
	if err := x.g.audit.Write(e); err != nil {
		x.g.table.Remove(s)
		x.g.counts.deny(endAuditFailed)
		return nil, fmt.Errorf("%w: %w", errNoRecord, err)
	}
	if err := keep(x.g.view.Load(), s); err != nil {
		s.Cut(err)
	}
	return s, nil
}

var errNoRecord = errors.New("not on record")

func (x *explanation) notEntered(err error) {
	switch {
	case errors.Is(err, sessions.ErrLimit):
		x.fail(api.StepConnect, api.CodeSessionLimit, "the device, or the gateway, has as many flows open as it may")
	case errors.Is(err, errNoRecord):
		x.fail(api.StepConnect, api.CodeAuditUnavailable, "the gateway cannot put the flow on record")
	default:
		x.fail(api.StepConnect, api.CodeTargetUnreachable, "the gateway could not open the flow")
	}
}

// dial goes on to the target and returns the end of the flow for the record.
func (x *explanation) dial(ctx context.Context, s *sessions.Session, v enforce.Verdict, via string) (string, error) {
	begin := time.Now()
	upstream, err := x.g.dialTCP(ctx, s)
	if err != nil {
		x.notDialled(err, via)
		return reasonOf(err), err
	}
	defer upstream.Abort()
	x.ok(api.StepConnect, "connected: %s", via)
	x.ok(api.StepTCP, "the target took the connection in %s", time.Since(begin).Round(time.Millisecond))
	if v.Decision.Protocol != targets.SSH {
		x.ok(api.StepHostKey, "%s has no host key", v.Decision.Protocol)
		x.ok(api.StepSSHLogin, "%s has no logins", v.Decision.Protocol)
		return endClosed, nil
	}
	s.OnCut(func(error) { upstream.Abort() })
	return x.ssh(ctx, s, upstream)
}

func (x *explanation) notDialled(err error, via string) {
	connected := func() { x.ok(api.StepConnect, "connected: %s", via) }
	at := x.q.Destination
	switch {
	case errors.Is(err, connwire.ErrRefused):
		connected()
		x.fail(api.StepTCP, api.CodeTargetRefused, "%s refused the connection", at)
	case errors.Is(err, connwire.ErrTimeout):
		connected()
		x.fail(api.StepTCP, api.CodeTargetTimeout, "%s did not answer within %s", at, dialTimeout)
	case errors.Is(err, connwire.ErrUnreachable):
		connected()
		x.fail(api.StepTCP, api.CodeTargetUnreachable, "the connector has no way to %s", at.Addr())
	case errors.Is(err, connwire.ErrNotRouted):
		x.fail(api.StepConnect, api.CodeNotRoutedByPeer, "the connector does not serve %s", at.Addr())
	case errors.Is(err, connwire.ErrLimit):
		x.fail(api.StepConnect, api.CodeConnectorLimit, "the connector has as many flows as it takes")
	default:
		x.fail(api.StepConnect, api.CodeConnectorDown, "the connector went away")
	}
}

// ssh looks at the target's host key and, for a UNIX user, logs in by a certificate and leaves.
func (x *explanation) ssh(ctx context.Context, s *sessions.Session, upstream connwire.Conn) (string, error) {
	sx := &sshSession{g: x.g, s: s, source: connectors.SourceAddr(upstream)}
	defer sx.ended()
	defer sx.endRecording(ctx, &sshproxy.Result{}) // a login is recorded, also one that does nothing
	var key string
	check := func(k ssh.PublicKey) error {
		proof, err := proveHost(x.g.view.Load().Self().SSHTargetCAs, s, k, x.g.now())
		pinned := false
		if err == nil {
			pinned, err = x.g.pins.compare(s.VNET, s.Destination, proof)
		}
		switch {
		case err != nil:
			// The alarm and its line are those of the data path.
			return sx.checkHostKey(ctx, k)
		case proof.authority != "":
			key = fmt.Sprintf("%s has a certificate of the trusted authority %s", ssh.FingerprintSHA256(proof.key), proof.authority)
		case pinned:
			key = fmt.Sprintf("%s is the one on record", ssh.FingerprintSHA256(proof.key))
		default:
			key = fmt.Sprintf("%s; none is on record yet, so the first login will pin it", ssh.FingerprintSHA256(proof.key))
		}
		return nil
	}
	certify := func(ctx context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
		if err := sx.onLogin(login, sx.authorize(login)); err != nil {
			return nil, err
		}
		return sx.certify(ctx, pub, login)
	}
	res := x.g.proxy.Check(ctx, upstream, sshproxy.CheckRequest{
		Login: x.q.Login, Certify: certify, CheckHostKey: check, HostCertificate: len(targetCAs(x.g.view.Load().Self().SSHTargetCAs, s)) > 0,
	})
	if res.Stage == sshproxy.CheckCertificate {
		x.unknown(api.StepHostKey, "not looked at: there is no certificate to log in with")
		x.notCertified(res.Err)
		return endLoginDenied, res.Err
	}
	switch res.Stage {
	case sshproxy.CheckHandshake:
		x.fail(api.StepHostKey, api.CodeNotSSH, "what answers at %s does not complete an SSH handshake", x.q.Destination)
	case sshproxy.CheckKey:
		x.fail(api.StepHostKey, api.CodeHostKeyChanged, "%s", kindText(res.Err, "the host key is not the one on record"))
	case sshproxy.CheckLogin:
		x.ok(api.StepHostKey, "%s", key)
		x.fail(api.StepSSHLogin, api.CodeSSHLoginRefused, "the target's sshd did not accept the certificate for %q", x.q.Login)
	default:
		x.ok(api.StepHostKey, "%s", key)
		if x.q.Login == "" {
			x.unknown(api.StepSSHLogin, "no UNIX user was asked about")
		} else {
			x.ok(api.StepSSHLogin, "the target's sshd let %q in, by a certificate", x.q.Login)
		}
		return endClosed, nil
	}
	return endLoginDenied, res.Err
}

func (x *explanation) notCertified(err error) {
	if errors.Is(err, errNoCA) {
		x.fail(api.StepSSHLogin, api.CodeNoSSHCA, "the account has no SSH certificate authority")
		return
	}
	x.fail(api.StepSSHLogin, api.CodeNotSigned, "control did not sign a certificate for this login")
}

// kindText is the message of an error that was written for users, else the fallback.
func kindText(err error, fallback string) string {
	if e, ok := errors.AsType[*kind.Error](err); ok {
		return e.Message
	}
	return fallback
}
