package sshproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/internal/kind"
)

var (
	errHandshakeTimeout = kind.New(kind.Timeout, "the SSH handshake took too long")
	errAuthTimeout      = kind.New(kind.Timeout, "the login took too long")
	errTriedAgain       = errors.New("client tried again after its login was refused")
)

// serverConfig is the client's side. Every method leads to the same question, because none of them proves anything that
// the tunnel has not: OpenSSH begins with "none" and is done; some clients insist on another.
func (x *session) serverConfig(ctx context.Context) *ssh.ServerConfig {
	login := func(m ssh.ConnMetadata) error { return x.login(ctx, m.User()) }
	cfg := &ssh.ServerConfig{
		Config:                  sshConfig(),
		ServerVersion:           version,
		PublicKeyAuthAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
		// Attempts are bounded by login itself, which hangs up on the second one after a refusal.
		MaxAuthTries:         -1,
		NoClientAuth:         true,
		NoClientAuthCallback: func(m ssh.ConnMetadata) (*ssh.Permissions, error) { return nil, login(m) },
		PasswordCallback:     func(m ssh.ConnMetadata, _ []byte) (*ssh.Permissions, error) { return nil, login(m) },
		PublicKeyCallback:    func(m ssh.ConnMetadata, _ ssh.PublicKey) (*ssh.Permissions, error) { return nil, login(m) },
		KeyboardInteractiveCallback: func(m ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			if err := login(m); err != nil {
				return nil, err
			}
			// RFC 4256 section 3.2 lets a server ask nothing, and some clients wait for the question.
			_, err := ask("", "", nil, nil)
			return nil, err
		},
		PreAuthConnCallback: func(c ssh.ServerPreAuthConn) {
			x.preAuth = c
			x.client.admitAuth()
		},
	}
	cfg.Ciphers = x.client.peekCiphers(cfg.Ciphers)
	if x.disconnects = x.client.beginsWithNone(); x.disconnects {
		// The first "none" is not counted, so a refused client has its banner and its failure; the library answers a
		// further attempt with SSH_MSG_DISCONNECT. That ends a client whose ProxyCommand goes on waiting for its input
		// when the connection is gone, as netcat does.
		cfg.MaxAuthTries = 1
	}
	cfg.KeyExchanges = serverKeyExchanges(cfg.KeyExchanges)
	exchanges := newKeyExchangeLimiter(x.p.limits)
	for _, k := range slices.Concat(x.p.hostKeys, x.p.certs()) {
		cfg.AddHostKey(x.pace(k, exchanges))
	}
	return cfg
}

// login answers an authentication request. It runs in the goroutine of serve, one call at a time. The first call
// decides; later ones get the same answer for the same user. After a refusal the client has had its banner and its
// failure, so a further attempt ends the connection: otherwise it would go on to ask its user for a password that could
// not help.
func (x *session) login(ctx context.Context, user string) error {
	if x.asked {
		if x.loginErr == nil && user == x.result.Login {
			return nil
		}
		if !x.disconnects {
			_ = x.client.Close() // nothing more to say to it
		}
		return errTriedAgain
	}
	x.asked = true
	x.handshakeTimer.Stop()
	x.result.Login = user
	err := x.admit(ctx, user)
	x.loginErr = err
	return err
}

// admit decides, records, and logs in upstream.
func (x *session) admit(ctx context.Context, user string) error {
	d, refusal := x.authorize(user)
	if err := x.s.OnLogin(x.result.Login, d); err != nil {
		x.p.stats.loginsFailed.Add(1)
		return x.fail(fmt.Errorf("record login: %w", err),
			"login to %s refused: the gateway cannot record it; ask the administrator to check the gateway's audit log", x.s.Target)
	}
	if !d.Allow {
		x.p.stats.loginsRefused.Add(1)
		x.result.Refused = &d
		return x.fail(fmt.Errorf("login refused: %s", d.Reason), "login to %s as %q refused: %s", x.s.Target, x.result.Login, refusal)
	}
	if err := x.dialUpstream(ctx, user); err != nil {
		x.p.stats.loginsFailed.Add(1)
		return err
	}
	return nil
}

// authorize asks for the decision. Two names never reach the policy: the empty one, which to access.Evaluate is the
// question whether the flow may be opened, and one too long for any system.
func (x *session) authorize(user string) (access.Decision, string) {
	switch {
	case user == "":
		return access.Decision{Reason: access.LoginNotPermitted}, "the user name is empty"
	case len(user) > x.p.limits.UsernameBytes:
		x.result.Login = user[:x.p.limits.UsernameBytes] + "..."
		return access.Decision{Reason: access.LoginNotPermitted},
			fmt.Sprintf("the user name is longer than %d bytes", x.p.limits.UsernameBytes)
	}
	d := x.s.Authorize(user)
	if d.Allow {
		return d, ""
	}
	return d, d.Message()
}

// fail returns an error that carries a banner for the client.
func (x *session) fail(err error, format string, args ...any) error {
	return &ssh.BannerError{Err: err, Message: line(format, args...)}
}

// upstreamLogin is one attempt to log in to the target, and at which stage it is.
type upstreamLogin struct {
	hostKeyErr error
	reached    bool // the target presented a host key
	partial    bool // it took the certificate and wants more
	// bound says to which address the certificate was bound, as the end of a sentence; "": to none.
	bound string
}

// dialUpstream logs in to the target as user and leaves the connection in x.up.
func (x *session) dialUpstream(ctx context.Context, user string) error {
	signer, err := x.certify(ctx, user)
	if err != nil {
		return x.fail(err, "login to %s as %q failed: no certificate: %s", x.s.Target, user,
			x.endText(ctx, err, "the control plane did not sign one; ask the administrator to look at its log"))
	}
	hctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(x.p.limits.Handshake, func() { cancel(errHandshakeTimeout) })
	defer timer.Stop()
	unlink := context.AfterFunc(hctx, func() { _ = x.upstream.Close() }) // makes the handshake fail
	defer unlink()

	l := upstreamLogin{bound: boundTo(signer)}
	conn, chans, reqs, err := ssh.NewClientConn(x.upstream, x.s.Target, x.clientConfig(user, signer, &l, timer))
	if err == nil && !unlink() {
		err = fmt.Errorf("log in to the target: %w", context.Cause(hctx))
		_ = conn.Close()
		x.wg.Go(func() { ssh.DiscardRequests(reqs) })
		x.wg.Go(func() { x.refuseChannels(chans) })
	}
	if err != nil {
		if cause := context.Cause(hctx); cause != nil {
			err = fmt.Errorf("log in to the target: %w", cause)
		}
		return x.fail(fmt.Errorf("upstream login as %q: %w", user, err), "login to %s as %q failed: %s",
			x.s.Target, user, x.explain(hctx, &l, err))
	}
	x.upMeta = conn
	x.adoptUpstream(conn, chans, reqs)
	return nil
}

func (x *session) clientConfig(user string, signer ssh.Signer, l *upstreamLogin, kex *time.Timer) *ssh.ClientConfig {
	banners := 0
	exchanges := newKeyExchangeLimiter(x.p.limits)
	return &ssh.ClientConfig{
		Config:            sshConfig(),
		User:              user,
		ClientVersion:     version,
		HostKeyAlgorithms: hostKeyAlgorithms(x.s.HostCertificate),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: callback(func(key ssh.PublicKey) error {
			l.reached = true
			kex.Stop()
			x.paceKeys(exchanges)
			l.hostKeyErr = x.s.CheckHostKey(key)
			return l.hostKeyErr
		}),
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			x.upMeta = c.Metadata
			l.partial = l.partial || len(c.PartialSuccessMethods) > 0
			return nil, nil
		},
		BannerCallback: func(msg string) error {
			if banners++; banners > maxUpstreamBanners || len(msg) > maxBannerBytes {
				return nil
			}
			return x.preAuth.SendAuthBanner(clean(msg))
		},
	}
}

// endText says why a step failed: for the user's own text in err or the end of ctx, that; else fallback.
func (x *session) endText(ctx context.Context, err error, fallback string) string {
	if cause := context.Cause(ctx); cause != nil {
		return causeText(cause)
	}
	return userText(err, fallback)
}

// explain says what is wrong with the target and who can mend it.
func (x *session) explain(ctx context.Context, l *upstreamLogin, err error) string {
	_, negotiation := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	switch {
	case l.hostKeyErr != nil:
		return userText(l.hostKeyErr, "the target's host key is not the one on record, so nothing was sent to it") +
			"; if the key was changed on purpose, ask the administrator to accept the new one"
	case context.Cause(ctx) != nil:
		return causeText(context.Cause(ctx))
	case negotiation:
		return "its SSH server offers only algorithms that are no longer safe; ask the administrator to update it"
	case !l.reached:
		return "what answers at its SSH port does not complete an SSH handshake; ask the administrator to check the server"
	case l.partial:
		return "its sshd accepted the certificate but asks for a second method; " +
			"ask the administrator to remove AuthenticationMethods for this user"
	}
	return "its sshd did not accept the certificate; ask the administrator to check that TrustedUserCAKeys names the SSH CA " +
		"of this account (weft ssh-ca check), that the user exists there, and that the clocks agree" + l.bound
}

// callback adapts a check of the key alone.
func callback(check func(ssh.PublicKey) error) ssh.HostKeyCallback {
	return func(_ string, _ netAddr, key ssh.PublicKey) error { return check(key) }
}
