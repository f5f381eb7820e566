// Package sshdtest serves the real sshd to tests: one process for each connection (sshd -i), so that no port is guessed and a change
// of its configuration or files counts from the next connection on. It skips where there is none.
package sshdtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

const sshdPath = "/usr/sbin/sshd"

// Server is sshd, run by the current user, who is the only one that can log in.
type Server struct {
	// Addr is where it is reached.
	Addr netip.AddrPort
	// User is the one who can log in.
	User string
	// HostKey is its only host key.
	HostKey ssh.Signer

	tb  testing.TB
	dir string

	mu sync.Mutex
	// The fields below are guarded by mu.
	log bytes.Buffer
}

// Start serves until the test ends. Options stand before those that are always there, of which the first counts.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	if _, err := os.Stat(sshdPath); err != nil {
		tb.Skipf("%s is not installed", sshdPath)
	}
	if os.Getuid() == 0 {
		// Its privilege separation directory, which the service's start makes; it holds nothing.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			tb.Skipf("sshd as root needs /run/sshd: %v", err)
		}
	}
	u, err := user.Current()
	if err != nil {
		tb.Skipf("the current user has no name: %v", err)
	}
	s := &Server{User: u.Username, tb: tb, dir: tb.TempDir()}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	if s.HostKey, err = ssh.NewSignerFromKey(private); err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		tb.Fatal(err)
	}
	s.Write("hostkey", pem.EncodeToMemory(block))
	s.Configure(options...)
	if out, err := exec.CommandContext(tb.Context(), sshdPath, "-t", "-f", s.Path("sshd_config")).CombinedOutput(); err != nil {
		tb.Skipf("sshd does not run here: %v: %s", err, out)
	}
	s.serve()
	return s
}

// Path is that of one of its files.
func (s *Server) Path(name string) string { return filepath.Join(s.dir, name) }

// Write replaces one of its files and returns its path.
func (s *Server) Write(name string, data []byte) string {
	s.tb.Helper()
	if err := os.WriteFile(s.Path(name), data, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return s.Path(name)
}

// Configure replaces the options.
func (s *Server) Configure(options ...string) {
	s.tb.Helper()
	lines := append(slices.Clone(options), "HostKey "+s.Path("hostkey"), "PidFile none", "UsePAM no", "PubkeyAuthentication yes",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "AuthorizedKeysFile none", "StrictModes no", "PermitRootLogin yes",
		"LogLevel VERBOSE")
	s.Write("sshd_config", []byte(strings.Join(lines, "\n")+"\n"))
}

// Log is what all processes have said.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// logWriter adds to a server's log.
type logWriter struct{ s *Server }

func (w logWriter) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.log.Write(b)
}

func (s *Server) serve() {
	ln, err := (&net.ListenConfig{}).Listen(s.tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.tb.Fatal(err)
	}
	if s.Addr, err = netip.ParseAddrPort(ln.Addr().String()); err != nil {
		s.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.tb.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.one(ctx, c) })
		}
	})
	s.tb.Cleanup(func() {
		cancel()
		if err := ln.Close(); err != nil {
			s.tb.Error(err)
		}
		wg.Wait()
		if s.tb.Failed() {
			s.tb.Logf("sshd: %s", s.Log())
		}
	})
}

// one has a process serve a connection. How it ends is the business of whoever connected.
func (s *Server) one(ctx context.Context, c net.Conn) {
	f, err := fileOf(c)
	if err != nil {
		return
	}
	cmd := exec.CommandContext(ctx, sshdPath, "-i", "-e", "-f", s.Path("sshd_config"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, logWriter{s}
	err = cmd.Start()
	if cerr := f.Close(); err != nil || cerr != nil {
		return
	}
	_ = cmd.Wait()
}

// fileOf takes the socket out of a connection.
func fileOf(c net.Conn) (*os.File, error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("no TCP connection"), c.Close())
	}
	f, err := t.File()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return f, c.Close()
}
