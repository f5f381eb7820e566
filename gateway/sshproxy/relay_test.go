package sshproxy_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"weft/gateway/sshproxy"
)

func TestServe_Exec(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	s := newSSHSession(t, c)
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	err := s.Run("hostname; whoami; err to stderr; exit 7")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("Run = %v, want exit status 7", err)
	}
	if out.String() != "host-a\nroot\n" || errOut.String() != "to stderr\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errOut.String())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	r := w.result()
	if r.Err != nil || r.Login != "root" || r.Refused != nil || r.BytesDown != uint64(out.Len()+errOut.Len()) {
		t.Errorf("result %+v", r)
	}
	if r.ExitStatus == nil || *r.ExitStatus != 7 {
		t.Errorf("exit status %v, want 7", r.ExitStatus)
	}
	if e := w.eventsOf(sshproxy.EventExec); len(e) != 1 || !strings.HasPrefix(e[0].Detail["command"], "hostname;") {
		t.Errorf("exec events %v", e)
	}
	if e := w.eventsOf(sshproxy.EventExit); len(e) != 1 || e[0].Detail["status"] != "7" {
		t.Errorf("exit events %v", e)
	}
}

func TestServe_HalfClose(t *testing.T) {
	w := hostWorld(t)
	s := newSSHSession(t, w.dial("root"))
	s.Stdin = strings.NewReader(strings.Repeat("x", 3<<20))
	out, err := s.Output("wc; hostname")
	if err != nil || string(out) != "3145728\nhost-a\n" {
		t.Errorf("%q, %v", out, err)
	}
}
