// Package sshhost is a small SSH server that plays target machines in the demo and in tests. It is real SSH: it trusts
// one user CA as sshd does with TrustedUserCAKeys, and accepts only certificates whose principal is the user. What it
// runs is a handful of built-in commands (see commands.go), or real ones by /bin/sh when Config.Shell asks for it.
// It is not meant for anything else: it forwards nothing, has no other authentication, and no per-user rights.
package sshhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Config of a Host.
type Config struct {
	HostKey ssh.Signer
	// UserCA signs the certificates that are accepted.
	UserCA ssh.PublicKey
	// Users exist here; a certificate for another is refused.
	Users []string
	// Name is what the host calls itself: `hostname` prints it.
	Name string
	// Shell runs commands by this program with -c (such as "/bin/sh"), as the user of this process and with a
	// pseudo-terminal when asked for one; "" has the built-in commands only. It needs a unix system.
	Shell string
	// Handshake bounds version exchange, key exchange and login; 0 means 10 s.
	Handshake time.Duration
}

func (c *Config) validate() error {
	switch {
	case c.HostKey == nil || c.UserCA == nil:
		return errors.New("ssh host: host key and user CA are required")
	case c.Name == "" || len(c.Users) == 0:
		return errors.New("ssh host: name and users are required")
	case c.Shell != "" && !shellSupported:
		return fmt.Errorf("ssh host: shell: %w", errors.ErrUnsupported)
	}
	return nil
}

// Host serves SSH connections. It is safe for concurrent use.
type Host struct {
	cfg Config
}

// New validates cfg.
func New(cfg Config) (*Host, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Users = slices.Clone(cfg.Users)
	if cfg.Handshake <= 0 {
		cfg.Handshake = 10 * time.Second
	}
	return &Host{cfg: cfg}, nil
}

// Serve accepts connections until ctx ends (nil) or ln fails. It closes ln and returns after the last connection.
func (h *Host) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return errors.Join(fmt.Errorf("accept: %w", err), ln.Close())
		}
		wg.Go(func() { h.ServeConn(ctx, conn) })
	}
}

// ServeConn serves one connection until it or ctx ends, and closes it.
func (h *Host) ServeConn(ctx context.Context, conn net.Conn) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	timer := time.AfterFunc(h.cfg.Handshake, cancel)
	sc, chans, reqs, err := ssh.NewServerConn(conn, h.serverConfig())
	timer.Stop()
	if err != nil {
		return // closed by the library; there is nobody to tell
	}
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	for nc := range chans {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.Prohibited, "only sessions here") // fails when the connection has ended
			continue
		}
		ch, creqs, err := nc.Accept()
		if err != nil {
			continue
		}
		s := &session{host: h, user: sc.User(), ch: ch}
		wg.Go(func() { s.serve(ctx, creqs) })
	}
}

func (h *Host) serverConfig() *ssh.ServerConfig {
	checker := &ssh.CertChecker{
		IsUserAuthority: func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), h.cfg.UserCA.Marshal()) },
	}
	cfg := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-WeftHost",
		PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !slices.Contains(h.cfg.Users, m.User()) {
				return nil, fmt.Errorf("no user %q", m.User())
			}
			if cert, ok := key.(*ssh.Certificate); !ok || len(cert.ValidPrincipals) == 0 {
				// The checker takes a certificate without principals to be good for everybody; sshd does not.
				return nil, errors.New("only certificates with a principal")
			}
			return checker.Authenticate(m, key)
		},
	}
	cfg.AddHostKey(h.cfg.HostKey)
	return cfg
}
