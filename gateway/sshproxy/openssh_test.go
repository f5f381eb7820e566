//go:build unix

package sshproxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"weft/internal/sshhost"
)

// openssh is the real sshd behind the proxy and the real clients in front of it.
type openssh struct {
	*world
	dir     string
	sshdPID int
}

const sshdPath = "/usr/sbin/sshd"

func needPrograms(tb testing.TB, names ...string) {
	tb.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			tb.Skipf("%s is not installed", n)
		}
	}
}

// needTerminals skips where an sshd of the current user could give no terminal: it wants a new one to belong to the group
// tty, which only root or the options of devpts can give it.
func needTerminals(tb testing.TB) {
	tb.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		tb.Skipf("no pseudo-terminal here: %v", err)
	}
	defer func() {
		if err := errors.Join(slave.Close(), master.Close()); err != nil {
			tb.Error(err)
		}
	}()
	group, err := user.LookupGroup("tty")
	if err != nil {
		return // then sshd wants it to belong to the user's own
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chown(slave.Name(), os.Getuid(), gid); err != nil {
		tb.Skipf("sshd as this user cannot give a terminal: %v", err)
	}
}

// newOpenSSH starts sshd as the current user, trusting a fresh CA, and a proxy in front of it.
func newOpenSSH(tb testing.TB, sshdOptions ...string) *openssh {
	tb.Helper()
	needPrograms(tb, "ssh", sshdPath)
	ca := newSigner(tb)
	dir := tb.TempDir()
	target, pid := startSSHD(tb, dir, ca, sshdOptions...)
	o := clientsFor(tb, newWorld(tb, ca, target), dir)
	o.sshdPID = pid
	return o
}

// clientsFor prepares the files of OpenSSH clients of w.
func clientsFor(tb testing.TB, w *world, dir string) *openssh {
	tb.Helper()
	host, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		tb.Fatal(err)
	}
	known := fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(w.proxyKey.PublicKey()))
	writeFile(tb, filepath.Join(dir, "known_hosts"), []byte(known))
	cfg := fmt.Sprintf("Host weft\n  HostName %s\n  Port %s\n  User %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n"+
		"  StrictHostKeyChecking yes\n  IdentityFile none\n  IdentitiesOnly yes\n  LogLevel INFO\n  ConnectTimeout 10\n  ControlPath %s\n",
		host, port, currentUser(), filepath.Join(dir, "known_hosts"), filepath.Join(dir, "ctl"))
	writeFile(tb, filepath.Join(dir, "config"), []byte(cfg))
	return &openssh{world: w, dir: dir}
}

func writeFile(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// startSSHD starts a daemon and returns its address and process; it skips when this system cannot run one.
func startSSHD(tb testing.TB, dir string, ca ssh.Signer, options ...string) (addr string, pid int) {
	tb.Helper()
	if os.Getuid() == 0 {
		// Its privilege separation directory, which the service's start makes; it holds nothing.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			tb.Skipf("sshd as root needs /run/sshd: %v", err)
		}
	}
	keyFile := filepath.Join(dir, "hostkey")
	writeHostKey(tb, keyFile)
	writeFile(tb, filepath.Join(dir, "ca.pub"), ssh.MarshalAuthorizedKey(ca.PublicKey()))
	ln := listenLoopback(tb)
	addr = ln.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		tb.Fatal(err)
	}
	lines := append(options, // the first value of a keyword counts
		"Port "+port, "ListenAddress 127.0.0.1", "HostKey "+keyFile, "PidFile none", "UsePAM no",
		"TrustedUserCAKeys "+filepath.Join(dir, "ca.pub"), "PubkeyAuthentication yes", "PasswordAuthentication no",
		"KbdInteractiveAuthentication no", "AuthorizedKeysFile none", "StrictModes no", "PermitRootLogin yes",
		"AcceptEnv *", "Subsystem sftp internal-sftp", "MaxSessions 200", "MaxStartups 200", "LogLevel INFO")
	conf := filepath.Join(dir, "sshd_config")
	writeFile(tb, conf, []byte(strings.Join(lines, "\n")+"\n"))
	var log syncBuffer
	cmd := exec.CommandContext(context.Background(), sshdPath, "-D", "-e", "-f", conf)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		tb.Skipf("start sshd: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		if err := <-done; err == nil {
			tb.Log("sshd ended by itself")
		}
		if tb.Failed() {
			tb.Logf("sshd: %s", log.String())
		}
	})
	eventually(tb, "sshd listens", func() bool {
		select {
		case err := <-done:
			done <- err
			tb.Skipf("sshd does not run here: %v: %s", err, log.String())
		default:
		}
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(tb.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return addr, cmd.Process.Pid
}

func writeHostKey(tb testing.TB, path string) {
	tb.Helper()
	_, priv := newKey(tb)
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		tb.Fatal(err)
	}
	writeFile(tb, path, pem.EncodeToMemory(block))
}

type run struct {
	stdout, stderr string
	code           int
}

// command runs a program with a deadline.
func (o *openssh) command(stdin string, name string, args ...string) run {
	o.t.Helper()
	needPrograms(o.t, name)
	o.publish()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "LC_WEFT=passed", "WEFT_SECRET=not", "DISPLAY=:99", "SSH_AUTH_SOCK=", "SSH_ASKPASS_REQUIRE=never")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.t.Fatalf("%s: %v: %s", name, err, errOut.String())
	}
	return run{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

func (o *openssh) ssh(stdin string, args ...string) run {
	o.t.Helper()
	return o.command(stdin, "ssh", append([]string{"-F", filepath.Join(o.dir, "config")}, args...)...)
}

func (r run) want(tb testing.TB, what string, code int, stdout string) {
	tb.Helper()
	if r.code != code || r.stdout != stdout {
		tb.Errorf("%s: exit %d, stdout %q, stderr %q; want exit %d, stdout %q", what, r.code, r.stdout, r.stderr, code, stdout)
	}
}

func (r run) wantStderr(tb testing.TB, what string, parts ...string) {
	tb.Helper()
	for _, p := range parts {
		if !strings.Contains(r.stderr, p) {
			tb.Errorf("%s: stderr %q lacks %q", what, r.stderr, p)
		}
	}
}

func TestOpenSSH_Commands(t *testing.T) {
	o := newOpenSSH(t)
	r := o.ssh("", "weft", "echo out; echo err >&2; exit 3")
	r.want(t, "exec", 3, "out\n")
	if r.stderr != "err\n" {
		t.Errorf("stderr %q", r.stderr)
	}
	o.ssh("", "weft", "kill -TERM $$").want(t, "killed by a signal", 255, "")
	o.ssh("hello", "weft", "cat").want(t, "half-close", 0, "hello")
	o.ssh("echo from-shell; exit 4\n", "-T", "weft").want(t, "shell", 4, "from-shell\n")
	o.ssh("", "-o", "SendEnv=LC_WEFT WEFT_SECRET", "weft", `echo "$LC_WEFT,$WEFT_SECRET"`).want(t, "environment", 0, "passed,\n")
	o.ssh("", "-N", "-f", "-o", "ExitOnForwardFailure=yes", "-L", freePort(t)+":127.0.0.1:1", "weft").want(t, "-N -f with -L", 0, "")
}

func TestOpenSSH_Terminal(t *testing.T) {
	needTerminals(t)
	o := newOpenSSH(t)
	r := o.ssh("", "-tt", "weft", "test -t 0 && echo $TERM; stty size >/dev/null && echo tty")
	if !strings.Contains(r.stdout, "tty\r\n") || r.code != 0 {
		t.Errorf("pty: %+v", r)
	}
}

func freePort(tb testing.TB) string {
	tb.Helper()
	ln := listenLoopback(tb)
	defer func() {
		if err := ln.Close(); err != nil {
			tb.Error(err)
		}
	}()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

func TestOpenSSH_Transfers(t *testing.T) {
	o := newOpenSSH(t)
	data := make([]byte, 64<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(o.dir, "src")
	writeFile(t, src, data)
	sum := sha256.Sum256(data)
	config := filepath.Join(o.dir, "config")
	batch := filepath.Join(o.dir, "batch")
	tests := []struct {
		name string
		args func(up, down string) [][]string
	}{
		{"scp", func(up, down string) [][]string {
			return [][]string{{"scp", "-q", "-F", config, src, "weft:" + up}, {"scp", "-q", "-F", config, "weft:" + up, down}}
		}},
		{"scp -O", func(up, down string) [][]string {
			return [][]string{{"scp", "-O", "-q", "-F", config, src, "weft:" + up}, {"scp", "-O", "-q", "-F", config, "weft:" + up, down}}
		}},
		{"sftp", func(up, down string) [][]string {
			writeFile(t, batch, []byte("put "+src+" "+up+"\nget "+up+" "+down+"\n"))
			return [][]string{{"sftp", "-q", "-F", config, "-b", batch, "weft"}}
		}},
		{"rsync", func(up, down string) [][]string {
			sh := "ssh -F " + config
			return [][]string{{"rsync", "-e", sh, src, "weft:" + up}, {"rsync", "-e", sh, "weft:" + up, down}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up, down := filepath.Join(t.TempDir(), "up"), filepath.Join(t.TempDir(), "down")
			for _, args := range tt.args(up, down) {
				needPrograms(t, args[0])
				if r := o.command("", args[0], args[1:]...); r.code != 0 || r.stderr != "" {
					t.Fatalf("%v: %+v", args, r)
				}
			}
			for _, f := range []string{up, down} {
				got, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if sha256.Sum256(got) != sum {
					t.Errorf("%s differs (%d bytes)", f, len(got))
				}
			}
		})
	}
}

func TestOpenSSH_ForwardingRefused(t *testing.T) {
	o := newOpenSSH(t)
	local := freePort(t)
	t.Run("-W", func(t *testing.T) {
		r := o.ssh("", "-W", "10.0.0.2:22", "weft")
		r.want(t, "-W", 255, "")
		r.wantStderr(t, "-W", "administratively prohibited", "weft: port forwarding is not allowed")
	})
	t.Run("-R", func(t *testing.T) {
		r := o.ssh("", "-R", "0:127.0.0.1:1", "weft", "true")
		r.wantStderr(t, "-R", "remote port forwarding failed", "weft: remote port forwarding is not allowed")
		r.want(t, "-R", 0, "")
	})
	t.Run("-R socket", func(t *testing.T) {
		r := o.ssh("", "-R", "/tmp/weft-no.sock:127.0.0.1:1", "weft", "true")
		r.wantStderr(t, "-R", "weft: remote forwarding of a socket is not allowed")
	})
	t.Run("-A", func(t *testing.T) {
		r := o.command("", "ssh-agent", "ssh", "-F", filepath.Join(o.dir, "config"), "-A", "weft", "echo [$SSH_AUTH_SOCK]")
		r.want(t, "-A", 0, "[]\n")
		r.wantStderr(t, "-A", "weft: agent forwarding is not allowed")
	})
	t.Run("-X", func(t *testing.T) {
		needPrograms(t, "xauth")
		r := o.ssh("", "-Y", "weft", "echo [$DISPLAY]")
		r.want(t, "-X", 0, "[]\n")
		r.wantStderr(t, "-X", "weft: X11 forwarding is not allowed")
	})
	for _, tt := range []struct{ name, flag, arg string }{
		{"-L", "-L", local + ":127.0.0.1:1"},
		{"-D", "-D", local},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stderr := o.useForward(t, tt.flag, tt.arg, local)
			if !strings.Contains(stderr, "weft: port forwarding is not allowed") {
				t.Errorf("stderr %q lacks the reason", stderr)
			}
		})
	}
	eventually(t, "each refusal is on record", func() bool { return len(o.eventsOf("refused")) >= 6 })
}

// useForward starts ssh with a local forward, connects to it, and returns what ssh says about it.
func (o *openssh) useForward(t *testing.T, flag, arg, local string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", filepath.Join(o.dir, "config"), "-N", flag, arg, "weft")
	var errOut syncBuffer
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the forward is used and refused", func() bool {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+local)
		if err != nil {
			return false
		}
		if flag == "-D" { // SOCKS5, no authentication, connect to 127.0.0.1:1
			_, err = c.Write([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 1})
		}
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(patience)) // a failure shows in the read
			_, _ = c.Read(make([]byte, 64))
		}
		_ = c.Close()
		return strings.Contains(errOut.String(), "open failed")
	})
	cancel()
	_ = cmd.Wait() // killed
	return errOut.String()
}

func TestOpenSSH_LoginRefused(t *testing.T) {
	o := newOpenSSH(t)
	r := o.ssh("", "-l", "mallory", "weft", "true")
	r.want(t, "refused login", 255, "")
	r.wantStderr(t, "refused login", `weft: login to host-a (10.0.0.1, prod) as "mallory" refused: `, "as this UNIX user")
	if n := o.upstreamIn.Load(); n != 0 {
		t.Errorf("%d bytes reached the target", n)
	}
	if res := o.result(); res.Refused == nil || res.Err == nil || res.Login != "mallory" {
		t.Errorf("result %+v", res)
	}
}

// Netcat goes on waiting for its input when the connection is gone, so ssh behind it must be told that it is over.
func TestOpenSSH_LoginRefused_BehindNetcat_regression(t *testing.T) {
	needPrograms(t, "nc")
	o := newOpenSSH(t)
	r := o.ssh("", "-o", "ProxyCommand=nc %h %p", "-l", "mallory", "weft", "true")
	r.want(t, "refused login", 255, "")
	r.wantStderr(t, "refused login", "as this UNIX user", "disconnect")
}

func TestOpenSSH_UnknownUserAndWrongCA(t *testing.T) {
	o := newOpenSSH(t)
	r := o.ssh("", "-l", "nobody-there", "weft", "true")
	r.want(t, "no such user", 255, "")
	r.wantStderr(t, "no such user", "did not accept the certificate", "TrustedUserCAKeys")
	o.ca = newSigner(t)
	r = o.ssh("", "weft", "true")
	r.want(t, "another CA", 255, "")
	r.wantStderr(t, "another CA", "did not accept the certificate", "TrustedUserCAKeys")
}

func TestOpenSSH_SecondMethodAsked(t *testing.T) {
	o := newOpenSSH(t, "AuthenticationMethods publickey,password", "PasswordAuthentication yes")
	r := o.ssh("", "weft", "true")
	r.want(t, "two methods", 255, "")
	r.wantStderr(t, "two methods", "AuthenticationMethods")
}

func TestOpenSSH_UpstreamBanner(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "banner"), []byte("authorized use only\n"))
	o := newOpenSSH(t, "Banner "+filepath.Join(dir, "banner"))
	r := o.ssh("", "weft", "true")
	r.want(t, "banner", 0, "")
	r.wantStderr(t, "banner", "authorized use only\n")
}

// Every method that a client can insist on leads in.
func TestOpenSSH_PublicKeyFirst(t *testing.T) {
	o := newOpenSSH(t)
	writeHostKey(t, filepath.Join(o.dir, "id"))
	r := o.ssh("", "-i", filepath.Join(o.dir, "id"), "weft", "echo in")
	r.want(t, "with a key", 0, "in\n")
}

func TestOpenSSH_ControlMaster(t *testing.T) {
	o := newOpenSSH(t)
	master := o.ssh("", "-M", "-N", "-f", "weft")
	master.want(t, "master", 0, "")
	for i := range 20 {
		o.ssh("", "weft", fmt.Sprintf("echo %d; exit %d", i, i)).want(t, "multiplexed", i, fmt.Sprintf("%d\n", i))
	}
	if n := len(o.results); n != 0 {
		t.Errorf("%d connections have ended, want the one master alive", n)
	}
	o.ssh("", "-O", "exit", "weft")
	if r := o.result(); r.Err != nil {
		t.Errorf("result %+v", r)
	}
}

// The small host is SSH as OpenSSH's client understands it, through the proxy and with a shell of its own.
func TestOpenSSH_ClientToSSHHost(t *testing.T) {
	needPrograms(t, "ssh")
	ca := newSigner(t)
	w := newWorld(t, ca, newHost(t, ca, func(c *sshhost.Config) { c.Users = append(c.Users, currentUser()) }))
	o := clientsFor(t, w, t.TempDir())
	o.ssh("", "weft", "hostname; exit 5").want(t, "exec", 5, "host-a\n")
	r := o.ssh("hostname\nexit 6\n", "-tt", "weft")
	if r.code != 6 || !strings.Contains(r.stdout, "host-a\r\n") {
		t.Errorf("shell: %+v", r)
	}
}
