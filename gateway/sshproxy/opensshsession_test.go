//go:build unix

package sshproxy_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"weft/internal/kind"
)

func TestOpenSSH_HostKeyChanged(t *testing.T) {
	o := newOpenSSH(t)
	o.session.CheckHostKey = func(key ssh.PublicKey) error {
		return kind.New(kind.Denied, "the host key of host-a changed to %s", ssh.FingerprintSHA256(key))
	}
	r := o.ssh("", "weft", "true")
	r.want(t, "host key changed", 255, "")
	r.wantStderr(t, "host key changed", "weft: login to host-a", "the host key of host-a changed to SHA256:")
}

// terminal is OpenSSH's client on a pseudo-terminal of ours.
type clientTerminal struct {
	cmd *exec.Cmd
	f   *os.File
	out syncBuffer
	end chan struct{}
}

func (o *openssh) terminal(t *testing.T, args ...string) *clientTerminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	o.publish()
	c := &clientTerminal{end: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, "ssh", append([]string{"-F", filepath.Join(o.dir, "config"), "-tt", "weft"}, args...)...)
	c.cmd.Env = append(os.Environ(), "TERM=xterm", "SSH_AUTH_SOCK=")
	f, err := pty.StartWithSize(c.cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	c.f = f
	go func() {
		defer close(c.end)
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			_, _ = c.out.Write(b[:n]) // a bytes.Buffer takes all
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = c.cmd.Wait() // a second call only says so
		<-c.end
		_ = f.Close()
	})
	return c
}

func (c *clientTerminal) expect(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the terminal shows %q", text), func() bool { return strings.Contains(c.out.String(), text) })
}

func TestOpenSSH_WindowChange(t *testing.T) {
	needTerminals(t)
	o := newOpenSSH(t)
	c := o.terminal(t, `trap 'stty size; exit 6' WINCH; stty size; echo ready; while :; do sleep 0.05; done`)
	c.expect(t, "24 80\r\nready")
	if err := pty.Setsize(c.f, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "50 132")
	exit, ok := errors.AsType[*exec.ExitError](c.cmd.Wait())
	if !ok || exit.ExitCode() != 6 {
		t.Errorf("exit %v, want 6", exit)
	}
}

func TestOpenSSH_CutShowsWhy(t *testing.T) {
	needTerminals(t)
	o := newOpenSSH(t)
	c := o.terminal(t, "echo ready; sleep 100")
	c.expect(t, "ready")
	start := time.Now()
	o.cut(kind.New(kind.Denied, "your access was revoked"))
	c.expect(t, "weft: session ended: your access was revoked\r\n")
	exit, ok := errors.AsType[*exec.ExitError](c.cmd.Wait())
	if !ok || exit.ExitCode() != 255 {
		t.Errorf("exit %v, want 255", exit)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	o.result()
}

// New keys are agreed on in the middle of a transfer, from both ends, and nothing is lost.
func TestOpenSSH_Rekey(t *testing.T) {
	o := newOpenSSH(t, "RekeyLimit 4M")
	data := make([]byte, 32<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(o.dir, "data"), data)
	sum := sha256.Sum256(data)
	r := o.ssh(string(data), "-o", "RekeyLimit=3M", "weft", "sha256sum")
	r.want(t, "up", 0, hex.EncodeToString(sum[:])+"  -\n")
	r = o.ssh("", "-o", "RekeyLimit=3M", "weft", "cat "+filepath.Join(o.dir, "data"))
	if got := sha256.Sum256([]byte(r.stdout)); got != sum || r.code != 0 {
		t.Errorf("down: exit %d, %d bytes that differ, %q", r.code, len(r.stdout), r.stderr)
	}
}

// A program that ends early makes the client's input end, not hang.
func TestOpenSSH_EarlyEnd(t *testing.T) {
	o := newOpenSSH(t)
	r := o.ssh(strings.Repeat("line\n", 1<<20), "weft", "head -1; exit 2")
	r.want(t, "head", 2, "line\n")
}

// Standard output closed long before the end does not cost the exit status.
func TestOpenSSH_OutputClosedEarly(t *testing.T) {
	o := newOpenSSH(t)
	r := o.ssh(strings.Repeat("x", 1<<20), "weft", "exec >&- 2>&-; cat >/dev/null; exit 3")
	r.want(t, "closed output", 3, "")
}
