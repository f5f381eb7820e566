//go:build unix

package sshproxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
)

// echoServer answers each connection with what it sent, in upper case, once that has ended.
func echoServer(tb testing.TB, network, address string) net.Listener {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), network, address)
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				b, _ := io.ReadAll(c)
				_, _ = c.Write(bytes.ToUpper(b))
			})
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln
}

func portOf(tb testing.TB, ln net.Listener) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// background starts ssh, which stays until the test ends.
func (o *openssh) background(t *testing.T, env []string, args ...string) *syncBuffer {
	t.Helper()
	o.publish()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ssh", append([]string{"-F", filepath.Join(o.dir, "config"), "-o", "ExitOnForwardFailure=yes"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("ssh %v: %s", args, out.String())
		}
	})
	return &out
}

// echoes sends text to an address until an answer comes, which must be the echo server's.
func echoes(t *testing.T, network, address string, hello []byte, skip int) {
	t.Helper()
	var last string
	eventually(t, "an echo from "+address, func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(append(hello, "half-closed"...)); err != nil {
			return false
		}
		if cw, ok := c.(interface{ CloseWrite() error }); !ok || cw.CloseWrite() != nil {
			return false
		}
		b, _ := io.ReadAll(c)
		last = string(b)
		return len(b) >= skip && string(b[skip:]) == "HALF-CLOSED"
	})
	_ = last
}

// forwardWorld is the real programs with rules.
func forwardWorld(t *testing.T, rules access.SSHRules, sshd ...string) *openssh {
	t.Helper()
	o := newOpenSSH(t, append(sshd, "GatewayPorts clientspecified", "StreamLocalBindUnlink yes")...)
	o.permit(rules)
	return o
}

func TestOpenSSHForward_Local(t *testing.T) {
	needPrograms(t, "ssh")
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	port := portOf(t, echo)
	dir := t.TempDir()
	echoServer(t, "unix", filepath.Join(dir, "app.sock"))
	o := forwardWorld(t, destinations("127.0.0.1:"+port, "localhost:"+port, "unix:"+filepath.Join(dir, "app.sock")))
	t.Run("-L", func(t *testing.T) {
		local := freePort(t)
		o.background(t, nil, "-N", "-L", local+":127.0.0.1:"+port, "weft")
		echoes(t, "tcp", "127.0.0.1:"+local, nil, 0)
	})
	t.Run("-L by name", func(t *testing.T) {
		local := freePort(t)
		o.background(t, nil, "-N", "-L", local+":LOCALHOST:"+port, "weft")
		echoes(t, "tcp", "127.0.0.1:"+local, nil, 0)
	})
	t.Run("-L of sockets", func(t *testing.T) {
		o.background(t, nil, "-N", "-L", filepath.Join(dir, "local.sock")+":"+filepath.Join(dir, "app.sock"), "weft")
		echoes(t, "unix", filepath.Join(dir, "local.sock"), nil, 0)
	})
	t.Run("-D", func(t *testing.T) {
		local := freePort(t)
		o.background(t, nil, "-N", "-D", local, "weft")
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		// SOCKS5: one method, none; connect to localhost by name.
		hello := append([]byte{5, 1, 0, 5, 1, 0, 3, 9}, "localhost"...)
		echoes(t, "tcp", "127.0.0.1:"+local, append(hello, byte(n>>8), byte(n)), 12)
	})
	t.Run("-W", func(t *testing.T) {
		o.ssh("half-closed", "-W", "127.0.0.1:"+port, "weft").want(t, "-W", 0, "HALF-CLOSED")
	})
	t.Run("elsewhere", func(t *testing.T) {
		r := o.ssh("", "-W", "127.0.0.1:"+freePort(t), "weft")
		r.want(t, "-W", 255, "")
		r.wantStderr(t, "-W", "administratively prohibited", `policy "ops" does not allow forwarding to 127.0.0.1:`)
	})
	eventually(t, "each is on record, with what it carried", func() bool {
		n := 0
		for _, e := range o.details(sshproxy.EventForwardEnd) {
			if e["direction"] == "local" && e["bytes_up"] == "11" && e["bytes_down"] == "11" {
				n++
			}
		}
		return n >= 5
	})
}

// Nothing answers at the destination: the client hears what the target says of it.
func TestOpenSSHForward_TargetCannotConnect(t *testing.T) {
	port := freePort(t)
	o := forwardWorld(t, destinations("127.0.0.1:"+port))
	r := o.ssh("", "-W", "127.0.0.1:"+port, "weft")
	r.want(t, "-W", 255, "")
	r.wantStderr(t, "-W", "connect failed", "weft: the target refused: Connection refused")
	eventually(t, "the end is on record", func() bool {
		ends := o.details(sshproxy.EventForwardEnd)
		return len(ends) == 1 && strings.Contains(ends[0]["reason"], "the target refused")
	})
}

// A second server is reached through the first: its own login, which the gateway cannot see into, and its destination on record.
func TestOpenSSHForward_Jump(t *testing.T) {
	needPrograms(t, "ssh", "ssh-keygen", sshdPath)
	inner := t.TempDir()
	writeHostKey(t, filepath.Join(inner, "id"))
	id, err := os.ReadFile(filepath.Join(inner, "id"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(id)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(inner, "authorized"), ssh.MarshalAuthorizedKey(signer.PublicKey()))
	addr, _ := startSSHD(t, inner, newSigner(t), "AuthorizedKeysFile "+filepath.Join(inner, "authorized"))
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	o := forwardWorld(t, destinations("127.0.0.1:"+port))
	args := []string{
		"-i", filepath.Join(inner, "id"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-J", "weft", "-p", port, "127.0.0.1", "echo inside",
	}
	o.ssh("", args...).want(t, "-J", 0, "inside\n")
	eventually(t, "it is on record", func() bool {
		ends := o.details(sshproxy.EventForwardEnd)
		return len(ends) == 1 && ends[0]["destination"] == "127.0.0.1:"+port && len(ends[0]["bytes_up"]) > 3
	})
	o.permit(access.SSHRules{})
	if r := o.ssh("", args...); r.code != 255 || r.stdout != "" {
		t.Errorf("without the rule: %+v", r)
	}
}

func TestOpenSSHForward_Remote(t *testing.T) {
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	to := "127.0.0.1:" + portOf(t, echo)
	dir := t.TempDir()
	fixed, wild := freePort(t), freePort(t)
	o := forwardWorld(t, listening("localhost:"+fixed, "*:"+wild, "127.0.0.1:0", "unix:"+filepath.Join(dir, "back.sock")))
	t.Run("-R", func(t *testing.T) {
		o.background(t, nil, "-N", "-R", fixed+":"+to, "weft")
		echoes(t, "tcp", "127.0.0.1:"+fixed, nil, 0)
	})
	t.Run("-R of all addresses", func(t *testing.T) {
		o.background(t, nil, "-N", "-R", "*:"+wild+":"+to, "weft")
		echoes(t, "tcp", "127.0.0.1:"+wild, nil, 0)
	})
	t.Run("-R of a socket", func(t *testing.T) {
		o.background(t, nil, "-N", "-R", filepath.Join(dir, "back.sock")+":"+to, "weft")
		echoes(t, "unix", filepath.Join(dir, "back.sock"), nil, 0)
	})
	t.Run("-R of a port that the target chooses", func(t *testing.T) {
		out := o.background(t, nil, "-N", "-R", "127.0.0.1:0:"+to, "weft")
		port := regexp.MustCompile(`Allocated port (\d+) for`)
		eventually(t, "the port is told", func() bool { return port.MatchString(out.String()) })
		echoes(t, "tcp", "127.0.0.1:"+port.FindStringSubmatch(out.String())[1], nil, 0)
	})
	t.Run("elsewhere", func(t *testing.T) {
		port := freePort(t)
		r := o.ssh("", "-R", port+":"+to, "weft", "true")
		r.wantStderr(t, "-R", "remote port forwarding failed", `weft: policy "ops" does not allow forwarding of localhost:`+port+" on the target")
	})
	t.Run("cancelled", func(t *testing.T) {
		port := fixed
		eventually(t, "the port is free again", func() bool {
			return o.ssh("", "-o", "ExitOnForwardFailure=yes", "-M", "-N", "-f", "-R", port+":"+to, "weft").code == 0
		})
		echoes(t, "tcp", "127.0.0.1:"+port, nil, 0)
		o.ssh("", "-O", "cancel", "-R", port+":"+to, "weft").want(t, "cancel", 0, "")
		eventually(t, "nobody listens", func() bool {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		o.ssh("", "-O", "exit", "weft")
	})
}

func TestOpenSSHForward_Agent(t *testing.T) {
	needPrograms(t, "ssh-agent", "ssh-add")
	o := forwardWorld(t, access.SSHRules{AgentForwarding: true})
	writeHostKey(t, filepath.Join(o.dir, "id"))
	script := "ssh-add -q " + filepath.Join(o.dir, "id") + " && ssh -F " + filepath.Join(o.dir, "config") + " -A weft 'ssh-add -l && ssh-add -l' && " +
		"ssh -F " + filepath.Join(o.dir, "config") + " -a weft 'echo [$SSH_AUTH_SOCK]'"
	r := o.command("", "ssh-agent", "sh", "-c", script)
	if lines := strings.Split(r.stdout, "\n"); r.code != 0 || len(lines) != 4 || !strings.Contains(lines[0], "SHA256:") || lines[1] != lines[0] || lines[2] != "[]" {
		t.Errorf("%+v", r)
	}
	n := 0
	for _, e := range o.details(sshproxy.EventForward) {
		if e["direction"] == sshproxy.ForwardAgent {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d uses of the agent on record, want 2: %v", n, o.details(sshproxy.EventForward))
	}
}

// x11Client is a program for the target that speaks to its display as X clients do: it sends the cookie that xauth knows
// (X Window System Protocol, section 8) and prints what comes back.
const x11Client = `
import os, socket, struct, subprocess, sys
display = os.environ["DISPLAY"]
host, number = display.rsplit(":", 1)
cookie = bytes.fromhex(subprocess.check_output(["xauth", "list", display], text=True).split()[2])
s = socket.create_connection((host or "127.0.0.1", 6000 + int(number.split(".")[0])))
name = b"MIT-MAGIC-COOKIE-1"
s.sendall(struct.pack("<BxHHHHxx", 0x6c, 11, 0, len(name), len(cookie)) + name + b"\0" * (-len(name) % 4) + cookie)
print(s.makefile("rb").read().decode())
`

func TestOpenSSHForward_X11(t *testing.T) {
	const python = "/usr/bin/python3"
	needPrograms(t, "xauth", python)
	o := forwardWorld(t, access.SSHRules{X11Forwarding: true}, "X11Forwarding yes", "X11UseLocalhost yes", "AddressFamily inet")
	var got syncBuffer
	ln := displayListener(t)
	number := strconv.Itoa(mustAtoi(t, portOf(t, ln)) - 6000)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 12+20+16)
			n, _ := io.ReadFull(c, b)
			_, _ = got.Write(b[:n])
			_, _ = io.WriteString(c, "screen")
			_ = c.Close()
		}
	}()
	home := t.TempDir()
	authority := filepath.Join(home, "Xauthority")
	const cookie = "00112233445566778899aabbccddeeff"
	env := append(os.Environ(), "XAUTHORITY="+authority, "DISPLAY=127.0.0.1:"+number)
	add := exec.CommandContext(t.Context(), "xauth", "-q", "add", "127.0.0.1:"+number, "MIT-MAGIC-COOKIE-1", cookie)
	add.Env = env
	if out, err := add.CombinedOutput(); err != nil {
		t.Skipf("xauth: %v: %s", err, out)
	}
	program := filepath.Join(home, "client.py")
	writeFile(t, program, []byte(x11Client))
	o.publish()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", filepath.Join(o.dir, "config"), "-Y", "weft", python+" "+program)
	cmd.Env = env
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil && strings.Contains(errOut.String(), "X11 forwarding request failed") {
		t.Fatalf("sshd gives no display: %s", errOut.String())
	}
	if string(out) != "screen\n" || err != nil {
		t.Fatalf("%q, %v: %s", out, err, errOut.String())
	}
	// The client's display gets the real cookie, in the place of the one that went through the gateway.
	if want := "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"; !strings.HasSuffix(got.String(), want) {
		t.Errorf("the display got %q", got.String())
	}
	eventually(t, "it is on record", func() bool {
		for _, e := range o.details(sshproxy.EventForwardEnd) {
			if e["direction"] == sshproxy.ForwardX11 && e["bytes_down"] != "0" && e["bytes_up"] == "6" {
				return true
			}
		}
		return false
	})
}

func mustAtoi(tb testing.TB, s string) int {
	tb.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// displayListener listens on a port that can be a display's.
func displayListener(tb testing.TB) net.Listener {
	tb.Helper()
	for {
		ln := listenLoopback(tb)
		tb.Cleanup(func() { _ = ln.Close() })
		if mustAtoi(tb, portOf(tb, ln)) > 6000 {
			return ln
		}
	}
}

// An editor's pattern: one connection, a shell, commands, file transfer, and many connections to ports and sockets of the
// target, all at the same time.
func TestOpenSSHForward_ManyOnOneConnection(t *testing.T) {
	needPrograms(t, "sftp")
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	dir := t.TempDir()
	echoServer(t, "unix", filepath.Join(dir, "server.sock"))
	port := portOf(t, echo)
	o := forwardWorld(t, destinations("127.0.0.1:"+port, "unix:"+filepath.Join(dir, "server.sock")))
	o.ssh("", "-M", "-N", "-f", "weft").want(t, "master", 0, "")
	local := freePort(t)
	o.ssh("", "-O", "forward", "-L", local+":127.0.0.1:"+port, "weft").want(t, "forward", 0, "")
	o.ssh("", "-O", "forward", "-L", filepath.Join(dir, "local.sock")+":"+filepath.Join(dir, "server.sock"), "weft").want(t, "forward", 0, "")
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				o.ssh("", "weft", fmt.Sprintf("echo %d", i)).want(t, "exec", 0, fmt.Sprintf("%d\n", i))
			case 1:
				echoes(t, "tcp", "127.0.0.1:"+local, nil, 0)
			case 2:
				echoes(t, "unix", filepath.Join(dir, "local.sock"), nil, 0)
			case 3:
				o.ssh("half-closed", "-W", "127.0.0.1:"+port, "weft").want(t, "-W", 0, "HALF-CLOSED")
			}
		})
	}
	wg.Wait()
	o.ssh("", "-O", "exit", "weft")
	if r := o.result(); r.Err != nil || len(o.results) != 0 {
		t.Errorf("%+v, %d further connections", r, len(o.results))
	}
}
