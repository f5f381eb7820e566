package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/integration/lab"
)

// sshCommand is the system's ssh, by warp-cli, with nothing of the user's own configuration and files.
func (d *demo) sshCommand(ctx context.Context, user, where, command string) *exec.Cmd {
	return lab.Command{Args: []string{
		d.bin.CLI, "--socket", d.socket, "ssh", "-F", "none",
		"-o", "UserKnownHostsFile=" + filepath.Join(d.dir, "known_hosts"), "-o", "StrictHostKeyChecking=accept-new",
		"-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o", "IdentityFile=none", "-T",
		user + "@" + where, "--", command,
	}}.Exec(ctx)
}

// ssh runs one command on a target and returns its standard output.
func (d *demo) ssh(ctx context.Context, user, where, command string) (string, error) {
	if d.goSSH {
		return d.sshByGo(ctx, user, where, command)
	}
	cmd := d.sshCommand(ctx, user, where, command)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("warp-cli ssh %s@%s %q: %w\n%s", user, where, command, err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// sshByGo is for systems without ssh: Go's client over the agent's dial, that is over warp-cli nc.
func (d *demo) sshByGo(ctx context.Context, user, where, command string) (string, error) {
	c, err := d.goClient(ctx, ctx, user, where)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession()
	if err != nil {
		return "", fmt.Errorf("open a session on %s: %w", where, err)
	}
	var out, stderr bytes.Buffer
	s.Stdout, s.Stderr = &out, &stderr
	if err := s.Run(command); err != nil {
		return "", fmt.Errorf("%q on %s: %w\n%s", command, where, err, stderr.String())
	}
	return out.String(), nil
}

// goClient logs in; ctx bounds that, and life ends the connection.
func (d *demo) goClient(ctx, life context.Context, user, where string) (*ssh.Client, error) {
	conn, err := d.dial(life, where)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the handshake then fails
	defer stop()
	var banner strings.Builder
	cc, chans, reqs, err := ssh.NewClientConn(conn, where, &ssh.ClientConfig{
		User: user,
		// The gateway presents its key to a demo that has never seen it: this is the first contact.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		BannerCallback:  func(s string) error { banner.WriteString(s); return nil },
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log in to %s as %s: %w\n%s", where, user, err, banner.String()), conn.Close())
	}
	return ssh.NewClient(cc, chans, reqs), nil
}

// dial opens a connection to port 22 of a target through warp-cli nc; it ends with ctx.
func (d *demo) dial(ctx context.Context, where string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := lab.Command{Args: []string{d.bin.CLI, "--socket", d.socket, "nc", where, "22"}}.Exec(ctx)
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		cancel()
		return nil, fmt.Errorf("start warp-cli nc: %w", err)
	}
	return &pipeConn{Reader: stdout, Writer: stdin, end: sync.OnceValue(func() error {
		cancel()
		_ = cmd.Wait() // it was killed: that is how it ends
		return nil
	})}, nil
}

// pipeConn is a program's standard streams as a connection without deadlines.
type pipeConn struct {
	io.Reader
	io.Writer
	end func() error
}

// Close ends the program; the SSH client calls it more than once.
func (c *pipeConn) Close() error { return c.end() }

func (*pipeConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (*pipeConn) RemoteAddr() net.Addr             { return pipeAddr{} }
func (*pipeConn) SetDeadline(time.Time) error      { return nil }
func (*pipeConn) SetReadDeadline(time.Time) error  { return nil }
func (*pipeConn) SetWriteDeadline(time.Time) error { return nil }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "warp-cli nc" }
