package sshproxy

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// CheckStage says where a check ended.
type CheckStage int

// The stages, in their order.
const (
	CheckPassed      CheckStage = iota // nothing failed
	CheckCertificate                   // there is no certificate to log in with
	CheckHandshake                     // what answers is no SSH server that can be talked to
	CheckKey                           // the host key was not accepted
	CheckLogin                         // the login was not accepted
)

// CheckResult is the end of a check.
type CheckResult struct {
	Stage CheckStage
	Err   error // nil when it passed
}

// errSeen ends a handshake that was made for the host key alone.
var errSeen = errors.New("host key seen")

// CheckRequest says what Check is to find out.
type CheckRequest struct {
	// Login is the UNIX user; "" ends the check after the host key.
	Login string
	// Certify, CheckHostKey and HostCertificate are as in Session.
	Certify         func(context.Context, ssh.PublicKey, string) (*ssh.Certificate, error)
	CheckHostKey    func(ssh.PublicKey) error
	HostCertificate bool
}

// Check does with a target what a login does, and leaves at once: key exchange, host key, and for a login a fresh key
// with its certificate and authentication. An empty login ends after the host key. It opens no channel, and closes
// upstream. ctx ends it.
func (p *Proxy) Check(ctx context.Context, upstream net.Conn, r CheckRequest) CheckResult {
	login := r.Login
	defer func() { _ = upstream.Close() }() // what was to be learned is learned
	ctx, cancel := context.WithTimeout(ctx, p.limits.Handshake)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = upstream.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	cfg := &ssh.ClientConfig{
		Config: sshConfig(), User: login, ClientVersion: version, HostKeyAlgorithms: hostKeyAlgorithms(r.HostCertificate),
		BannerCallback: func(string) error { return nil },
	}
	if login != "" {
		signer, err := certifyKey(ctx, login, r.Certify)
		if err != nil {
			return CheckResult{CheckCertificate, err}
		}
		cfg.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	}
	var keyErr error
	seen := false
	cfg.HostKeyCallback = callback(func(key ssh.PublicKey) error {
		seen = true
		if keyErr = r.CheckHostKey(key); keyErr == nil && login == "" {
			return errSeen
		}
		return keyErr
	})
	conn, chans, reqs, err := ssh.NewClientConn(upstream, "target", cfg)
	if err == nil {
		_ = conn.Close() // the login is what was asked for
		go ssh.DiscardRequests(reqs)
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "nothing was asked for")
		}
		return CheckResult{Stage: CheckPassed}
	}
	switch {
	case keyErr != nil:
		return CheckResult{CheckKey, keyErr}
	case seen && login == "":
		return CheckResult{Stage: CheckPassed}
	case seen:
		return CheckResult{CheckLogin, err}
	default:
		return CheckResult{CheckHandshake, err}
	}
}
