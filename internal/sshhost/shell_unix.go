//go:build unix

package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

const shellSupported = true

var signalNumbers = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT,
	"KILL": syscall.SIGKILL, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// startShell starts the configured shell; the process is killed when the client closes the channel.
func (s *session) startShell(ctx context.Context, command string, interactive bool) (program, error) {
	args := []string{"-c", command}
	if interactive {
		args = nil
	}
	cmd := exec.CommandContext(ctx, s.host.cfg.Shell, args...)
	cmd.WaitDelay = time.Second // for grandchildren that hold the output open
	cmd.Env = append(os.Environ(), "USER="+s.user, "LOGNAME="+s.user)
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var wait func() error
	var err error
	if s.pty != nil {
		wait, err = s.startOnTerminal(cmd)
	} else {
		wait, err = s.startOnPipes(cmd)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.host.cfg.Shell, err)
	}
	s.signal = func(name string) {
		if n, ok := signalNumbers[name]; ok {
			_ = cmd.Process.Signal(n) // the process may have ended
		}
	}
	return func(context.Context) uint32 { return processStatus(wait()) }, nil
}

func processStatus(err error) uint32 {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := e.ExitCode(); code >= 0 {
			return uint32(code)
		}
		return 255
	}
	return 1
}

// startOnPipes has standard input end when the client's does.
func (s *session) startOnPipes(cmd *exec.Cmd) (func() error, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = s.ch, s.ch.Stderr()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.wg.Go(func() { // ends with the channel
		_, _ = io.Copy(in, s.ch) // the process may close its input early
		_ = in.Close()
	})
	return cmd.Wait, nil
}

// startOnTerminal copies between the channel and a new pseudo-terminal.
func (s *session) startOnTerminal(cmd *exec.Cmd) (func() error, error) {
	cmd.Env = append(cmd.Env, "TERM="+s.pty.Term)
	f, err := pty.StartWithSize(cmd, winsize(s.pty.Columns, s.pty.Rows))
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // held to set the size, which uses the file's number, and to close it
	closed := false
	s.resize = func(cols, rows uint32) {
		mu.Lock()
		defer mu.Unlock()
		if !closed {
			_ = pty.Setsize(f, winsize(cols, rows)) // the program runs on in the old size
		}
	}
	s.wg.Go(func() { _, _ = io.Copy(f, s.ch) }) // ends with the channel
	var out sync.WaitGroup
	out.Go(func() { _, _ = io.Copy(s.ch, f) }) // ends with EIO when the last process has closed the terminal
	return func() error {
		err := cmd.Wait()
		out.Wait()
		mu.Lock()
		defer mu.Unlock()
		closed = true
		return errors.Join(err, f.Close())
	}, nil
}

func winsize(cols, rows uint32) *pty.Winsize {
	return &pty.Winsize{Cols: uint16(min(cols, 0xffff)), Rows: uint16(min(rows, 0xffff))}
}
