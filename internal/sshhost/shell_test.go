//go:build unix

package sshhost_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/internal/sshhost"
)

func withShell(c *sshhost.Config) { c.Shell = "/bin/sh" }

func TestShell_Exec(t *testing.T) {
	c := newHost(t, withShell).login(t)
	s := newSession(t, c)
	if err := s.Setenv("LC_WEFT", "yes"); err != nil {
		t.Fatal(err)
	}
	s.Stdin = strings.NewReader("abc")
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	err := s.Run(`cat; echo " $LC_WEFT $USER"; echo oops >&2; exit 5`)
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 5 {
		t.Errorf("Run = %v, want 5", err)
	}
	if out.String() != "abc yes root\n" || errOut.String() != "oops\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errOut.String())
	}
}

func TestShell_Terminal(t *testing.T) {
	s := newSession(t, newHost(t, withShell).login(t))
	var out syncBuffer
	s.Stdout = &out
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	if err := s.Shell(); err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	if err := s.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("stty size; test -t 1 && echo is-a-$TERM; exit 4\n")); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*ssh.ExitError](s.Wait())
	if !ok || exit.ExitStatus() != 4 {
		t.Errorf("exit %v, want 4", exit)
	}
	if got := out.String(); !strings.Contains(got, "50 132\r\n") || !strings.Contains(got, "is-a-xterm\r\n") {
		t.Errorf("screen %q", got)
	}
}

func TestShell_SignalAndClose(t *testing.T) {
	c := newHost(t, withShell).login(t)
	s := newSession(t, c)
	var out syncBuffer
	s.Stdout = &out
	if err := s.Start(`trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done`); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return out.String() == "ready\n" })
	if err := s.Signal(ssh.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit, ok := errors.AsType[*ssh.ExitError](s.Wait()); !ok || exit.ExitStatus() != 9 || out.String() != "ready\ngot it\n" {
		t.Errorf("%v, %q", exit, out.String())
	}
	// Closing the channel ends the process, or the host could not end.
	hung := newSession(t, c)
	if err := hung.Start("sleep 1000"); err != nil {
		t.Fatal(err)
	}
	if err := hung.Close(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatal("not in time")
		case <-tick.C:
		}
	}
}
