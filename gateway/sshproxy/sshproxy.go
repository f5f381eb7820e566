// Package sshproxy terminates SSH at the gateway: it speaks to the user's unchanged client on one side and
// to the target's unchanged sshd on the other, so that the UNIX user is checked against the decision and the upstream
// login is made with a certificate that lives for minutes.
//
// A session goes through four stages. The client's key exchange comes first and touches nothing else. Its first
// authentication request names the UNIX user; the decision is asked for and put on record, and a refusal ends here, with
// a banner (RFC 4252 section 5.4) and without one byte to the target. Only then is the target spoken to: key exchange,
// host key check, a fresh key and its certificate, login. When that has succeeded the client is told that it is
// authenticated, whatever method it asked with, because its identity is that of the tunnel and not of a key. Then
// session channels are relayed one to one until either side or the context ends it.
//
// Forwarding - of ports and sockets in either direction, of the agent, of X11 - is refused unless the rules of the policy
// that grants the login allow it, as of the moment when it is asked for; see access.SSHRules. What the target opens is accepted
// only if it was granted before. Everything else that is not a session channel, and every request that is not on the
// list in request.go, is refused with a reason. The package decides nothing about who may log in; it asks Session.Authorize.
package sshproxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

// Session is one client connection to one target; the gateway fills it in. All functions but OnEvent and Tap are required.
type Session struct {
	ID     string
	Email  string
	Target string // what to call the target in messages: hostname (address, VNET name)
	// Authorize decides for a UNIX user; it must be access.Evaluate with Login set. It gets the name exactly as the
	// client sent it, but never an empty one or one longer than Limits.UsernameBytes: those are refused beforehand. It is
	// called again for the user of the session, from any goroutine, whenever something is to be forwarded.
	Authorize func(login string) access.Decision
	// Certify has control sign pub for login; the certificate has that one principal.
	Certify func(ctx context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error)
	// CheckHostKey pins the target's host key on first use and refuses a change. It is called again, from another
	// goroutine, when keys are exchanged anew in the course of a session.
	CheckHostKey func(key ssh.PublicKey) error
	// OnLogin is called before the upstream login of an allowed user and at every refusal, so that it is on record first.
	// An error refuses the login (fail closed).
	OnLogin func(login string, d access.Decision) error
	// OnEvent reports what happens inside (exec, subsystem, forwardings and refused ones, exit status). It is called from several
	// goroutines at once and holds up the channel that it speaks of, so it must be quick. When it ends
	// the context of Serve before it returns, the shell, command, subsystem or forwarding that it was told of is not started. Nil:
	// nobody asks.
	OnEvent func(Event)
	// Tap returns what a channel is to be shown to, by its number from 1. Nil, or a nil Tap: nothing.
	Tap func(channel int) Tap
	// Forwards is filled with what the session forwards, for whoever ends sessions when policy changes. Nil: nobody asks.
	Forwards *Forwards
}

func (s *Session) validate() error {
	if s.Authorize == nil || s.Certify == nil || s.CheckHostKey == nil || s.OnLogin == nil {
		return errors.New("ssh session: Authorize, Certify, CheckHostKey and OnLogin are required")
	}
	return nil
}

// The types of an Event.
const (
	EventShell     = "shell"
	EventExec      = "exec"      // Detail: command
	EventSubsystem = "subsystem" // Detail: subsystem
	EventRefused   = "refused"   // Detail: request, reason, and for a forwarding its destination
	EventExit      = "exit"      // Detail: status, or signal
	// Detail: direction (ForwardLocal and the like), destination, origin where it is known.
	EventForward = "forward"
	// Detail: direction, destination, bytes_up and bytes_down (to and from the target) of a connection, reason if it failed.
	EventForwardEnd = "forward_end"
)

// Event is something that happened in a session.
type Event struct {
	Type   string            // one of the above
	Detail map[string]string // as said there; "channel" numbers the channel from 1
}

// Config of a Proxy.
type Config struct {
	// HostKeys are presented to clients.
	HostKeys []ssh.Signer
	// HostCertificates returns those that are presented as well, to clients that ask for them; it is called for
	// each connection. Nil: there are none.
	HostCertificates func() []ssh.Signer
	// Limits bound what one connection can ask for; a zero field means its documented default.
	Limits Limits
}

// Result says how a session ended.
type Result struct {
	Login string
	Err   error
	// Refused is set when the login was refused by policy.
	Refused *access.Decision
	// BytesUp and BytesDown count channel data to and from the target.
	BytesUp, BytesDown uint64
	// ExitStatus is that of the command or shell that ended last; nil when none reported one.
	ExitStatus *uint32
}

// Proxy serves SSH sessions. It is safe for concurrent use and holds nothing of a session once Serve has returned.
type Proxy struct {
	hostKeys []ssh.Signer
	certs    func() []ssh.Signer
	limits   Limits
	stats    counters
	forwards atomic.Int64 // open now
}

// New validates cfg.
func New(cfg Config) (*Proxy, error) {
	if len(cfg.HostKeys) == 0 {
		return nil, errors.New("ssh proxy: no host key")
	}
	if slices.Contains(cfg.HostKeys, nil) {
		return nil, errors.New("ssh proxy: nil host key")
	}
	certs := cfg.HostCertificates
	if certs == nil {
		certs = func() []ssh.Signer { return nil }
	}
	return &Proxy{hostKeys: slices.Clone(cfg.HostKeys), certs: certs, limits: cfg.Limits.withDefaults()}, nil
}

// Serve runs one session on both connections and returns when it is over; it closes both. ctx ends it; the
// cause of ctx (context.Cause) is shown to the user. Nothing is written to upstream before the login is authorized.
// All goroutines of the session have ended when it returns.
func (p *Proxy) Serve(ctx context.Context, client, upstream net.Conn, s Session) Result {
	p.stats.sessions.Add(1)
	if err := s.validate(); err != nil {
		return Result{Err: errors.Join(err, client.Close(), upstream.Close())}
	}
	return newSession(p, client, upstream, s).serve(ctx)
}
