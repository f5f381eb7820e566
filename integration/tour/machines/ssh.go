package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// server is one machine's SSH server: commands, and the sftp that scp speaks.
type server struct {
	config *ssh.ServerConfig
	home   string
	wg     sync.WaitGroup
}

// serverConfig lets in the holder of a certificate of ca for the user that is asked for, and nobody else.
func serverConfig(ca ssh.PublicKey) (*ssh.ServerConfig, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	checker := &ssh.CertChecker{
		IsUserAuthority:          func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), ca.Marshal()) },
		SupportedCriticalOptions: []string{"source-address"},
	}
	config := &ssh.ServerConfig{PublicKeyCallback: checker.Authenticate}
	config.AddHostKey(signer)
	return config, nil
}

// serve ends with ctx, after the last connection.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // Accept tells of it
	defer stop()
	defer s.wg.Wait()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		s.wg.Go(func() { s.connection(ctx, c) })
	}
}

// connection serves one client; who breaks the protocol loses it.
func (s *server) connection(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // it has ended or is to end
	defer stop()
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(requests) // ends with conn
	for nc := range channels {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "sessions only") // the next read sees a lost connection
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.session(ctx, ch, reqs) })
	}
}

// session runs the first command that is asked for, and nothing after it.
func (s *server) session(ctx context.Context, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer func() { _ = ch.Close() }()
	for r := range reqs {
		argv := command(r)
		if r.WantReply {
			_ = r.Reply(argv != nil, nil) // what follows sees a lost connection
		}
		if argv == nil {
			continue
		}
		go ssh.DiscardRequests(reqs) // ends with the channel
		status := s.run(ctx, ch, argv)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status})) // a lost client asks no more
		return
	}
}

// command is what the request asks to run; nil for anything else.
func command(r *ssh.Request) []string {
	var text struct{ Text string }
	if (r.Type != "exec" && r.Type != "subsystem") || ssh.Unmarshal(r.Payload, &text) != nil {
		return nil
	}
	if r.Type == "exec" {
		return []string{"/bin/sh", "-c", text.Text}
	}
	if path := sftpServer(); text.Text == "sftp" && path != "" {
		return []string{path}
	}
	return nil
}

// sftpServer is where systems keep OpenSSH's.
func sftpServer() string {
	for _, p := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

// run runs argv at home with the channel as its streams and returns its status.
func (s *server) run(ctx context.Context, ch ssh.Channel, argv []string) uint32 {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = s.home, append(os.Environ(), "HOME="+s.home)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = ch, ch.Stderr(), time.Second
	// A pipe of our own: Wait is not to wait for a client that has nothing more to say and does not close.
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 127
	}
	go func() {
		_, _ = io.Copy(in, ch) // ends with the channel, or when the program no longer reads
		_ = in.Close()
	}()
	err = cmd.Wait()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok && ee.ExitCode() >= 0 {
		return uint32(ee.ExitCode())
	}
	if err != nil {
		return 255
	}
	return 0
}
