// Package sshproxy terminates SSH at the gateway: it speaks to the user's unchanged client on one side and
// to the target's unchanged sshd on the other, so that the UNIX user is checked against the decision and the upstream
// login is made with a certificate that lives for minutes.
package sshproxy

import (
	"context"
	"net"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

// Session is one client connection to one target; the gateway fills it in.
type Session struct {
	ID     string
	Email  string
	Target string // what to call the target in messages: hostname (address, VNET name)
	// Authorize decides for a UNIX user; it must be access.Evaluate with Login set.
	Authorize func(login string) access.Decision
	// Certify has control sign pub for login; the certificate has that one principal.
	Certify func(ctx context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error)
	// CheckHostKey pins the target's host key on first use and refuses a change.
	CheckHostKey func(key ssh.PublicKey) error
	// OnLogin is called before the upstream login of an allowed user and at every refusal, so that it is on record first.
	// An error refuses the login (fail closed).
	OnLogin func(login string, d access.Decision) error
	// OnEvent reports what happens inside (exec, subsystem, refused forwarding, exit status).
	OnEvent func(Event)
}

// Event is something that happened in a session.
type Event struct {
	Type   string            // "shell", "exec", "subsystem", "refused", "exit"
	Detail map[string]string // command, subsystem, request, status, signal
}

// Config of a Proxy.
type Config struct {
	// HostKeys are presented to clients.
	HostKeys []ssh.Signer
}

// Result says how a session ended.
type Result struct {
	Login string
	Err   error
	// Refused is set when the login was refused by policy.
	Refused *access.Decision
}

// Serve runs one session on both connections and returns when it is over; it closes both. ctx ends it; the
// cause of ctx (context.Cause) is shown to the user.
//
//	func New(cfg Config) (*Proxy, error)
//	func (p *Proxy) Serve(ctx context.Context, client, upstream net.Conn, s Session) Result
type server interface {
	Serve(ctx context.Context, client, upstream net.Conn, s Session) Result
}
