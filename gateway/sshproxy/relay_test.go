package sshproxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"weft/gateway/sshproxy"
	"weft/internal/kind"
	"weft/internal/sshhost"
)

func TestServe_Exec(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	s := newSSHSession(t, c)
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	err := s.Run("hostname; whoami; err to stderr; exit 7")
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 7 {
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
	want := []sshproxy.Event{
		{Type: sshproxy.EventExec, Detail: map[string]string{"command": "hostname; whoami; err to stderr; exit 7", "channel": "1"}},
		{Type: sshproxy.EventExit, Detail: map[string]string{"status": "7", "channel": "1"}},
	}
	if diff := cmp.Diff(want, w.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
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

func TestServe_BulkIsExact(t *testing.T) {
	w := hostWorld(t)
	s := newSSHSession(t, w.dial("root"))
	check := &countingUp{}
	s.Stdout = check
	const n = 64<<20 + 13
	if err := s.Run(fmt.Sprintf("stream %d", n)); err != nil {
		t.Fatal(err)
	}
	if check.n != n || check.wrong != 0 {
		t.Errorf("%d bytes, %d of them wrong; want %d", check.n, check.wrong, n)
	}
}

// countingUp checks what `stream` sends.
type countingUp struct{ n, wrong int }

func (c *countingUp) Write(b []byte) (int, error) {
	for _, v := range b {
		if v != byte(c.n) {
			c.wrong++
		}
		c.n++
	}
	return len(b), nil
}

// shell is an interactive session whose output can be waited for.
type shell struct {
	*ssh.Session
	in          io.Writer
	out, errOut syncBuffer
}

func startShell(t *testing.T, c *ssh.Client, pty bool) *shell {
	t.Helper()
	s := &shell{Session: newSSHSession(t, c)}
	var err error
	if s.in, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	s.Stdout, s.Stderr = &s.out, &s.errOut
	if pty {
		if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shell) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(s.in, text); err != nil {
		t.Fatal(err)
	}
}

func (s *shell) expect(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("output has %q", text), func() bool { return strings.Contains(s.out.String(), text) })
}

func TestServe_ShellOnTerminal(t *testing.T) {
	w := hostWorld(t)
	s := startShell(t, w.dial("root"), true)
	s.expect(t, "root@host-a$ ")
	s.send(t, "size\r")
	s.expect(t, "\r\n80 24\r\n")
	if err := s.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	// The request and what is typed reach the host on separate ways: it may take the line first.
	eventually(t, "the host knows the new size", func() bool {
		s.send(t, "size\r")
		return strings.Contains(s.out.String(), "\r\n132 50\r\n")
	})
	s.send(t, "exit 9\r")
	if exit, ok := errors.AsType[*ssh.ExitError](s.Wait()); !ok || exit.ExitStatus() != 9 {
		t.Errorf("exit %v, want 9", exit)
	}
	if got := w.eventsOf(sshproxy.EventShell); len(got) != 1 {
		t.Errorf("shell events %v", got)
	}
}

func TestServe_Signal(t *testing.T) {
	w := hostWorld(t)
	s := newSSHSession(t, w.dial("root"))
	var out syncBuffer
	s.Stdout = &out
	if err := s.Start("signal"); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil || out.String() != "USR1\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestServe_Environment(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{EnvCount: 4, EnvBytes: 200}))
	s := newSSHSession(t, w.dial("root"))
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"LANG", "de_DE.UTF-8", true},
		{"LC_ALL", "C", true},
		{"LC_", "x", false},
		{"COLORTERM", "truecolor", true},
		{"PATH", "/tmp", false},
		{"LD_PRELOAD", "/tmp/x.so", false},
		{"lang", "C", false},
		{"LC_BIG", strings.Repeat("x", 300), false},
		{"LC_A", "1", true},
		{"LC_B", "2", false}, // the fifth
	} {
		if err := s.Setenv(tt.name, tt.value); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want accepted=%v", tt.name, err, tt.ok)
		}
	}
	out, err := s.Output("env")
	if want := "COLORTERM=truecolor\nLANG=de_DE.UTF-8\nLC_A=1\nLC_ALL=C\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if got := w.proxy.Stats().EnvIgnored; got != 6 {
		t.Errorf("%d ignored, want 6", got)
	}
}

func TestServe_RefusedChannels(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	tcp := ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{"10.0.0.2", 22, "127.0.0.1", 1})
	tests := []struct {
		name string
		data []byte
		dest string
	}{
		{"direct-tcpip", tcp, "10.0.0.2:22"},
		{"direct-tcpip", []byte("garbage"), ""},
		{"direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path, Reserved string
			N              uint32
		}{"/run/docker.sock", "", 0}), "unix:/run/docker.sock"},
		{"forwarded-tcpip", tcp, "10.0.0.2:22"},
		{"x11", nil, ""},
		{"auth-agent@openssh.com", nil, ""},
		{"tun@openssh.com", nil, ""},
		{"session2", nil, ""},
		{"", nil, ""},
	}
	for _, tt := range tests {
		_, _, err := c.OpenChannel(tt.name, tt.data)
		if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || !strings.Contains(refusal.Message, "not allowed through this gateway") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	events := w.eventsOf(sshproxy.EventRefused)
	if len(events) != len(tests) {
		t.Fatalf("%d events, want %d", len(events), len(tests))
	}
	for i, e := range events {
		if e.Detail["request"] != tests[i].name || e.Detail["destination"] != tests[i].dest || e.Detail["reason"] == "" {
			t.Errorf("%s: event %v", tests[i].name, e.Detail)
		}
	}
	if got := w.proxy.Stats(); got.ForwardingsRefused != 7 || got.RequestsRefused != 2 {
		t.Errorf("stats %+v", got)
	}
}

func TestServe_GlobalRequests(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	forward := ssh.Marshal(struct {
		Host string
		Port uint32
	}{"", 8080})
	for _, name := range []string{"tcpip-forward", "streamlocal-forward@openssh.com", "keepalive@openssh.com", "unheard-of"} {
		ok, _, err := c.SendRequest(name, true, forward)
		if ok || err != nil {
			t.Errorf("%s: %v, %v; want an answer, and that is no", name, ok, err)
		}
	}
	if got := w.eventsOf(sshproxy.EventRefused); len(got) != 3 || got[0].Detail["destination"] != ":8080" {
		t.Errorf("events %v", got)
	}
	// The reason waits for a channel that can show it.
	s := newSSHSession(t, c)
	var errOut syncBuffer
	s.Stderr = &errOut
	if err := s.Run("hostname"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(errOut.String(), "weft: remote port forwarding is not allowed through this gateway (:8080)\n") {
		t.Errorf("stderr %q", errOut.String())
	}
	if ok, _, err := c.SendRequest("no-more-sessions@openssh.com", true, nil); !ok || err != nil {
		t.Errorf("no-more-sessions: %v, %v", ok, err)
	}
	if _, err := c.NewSession(); err == nil {
		t.Error("a session opened after no-more-sessions")
	}
}

func TestServe_RefusedChannelRequests(t *testing.T) {
	w := hostWorld(t)
	s := newSSHSession(t, w.dial("root"))
	var errOut syncBuffer
	s.Stderr = &errOut
	for _, name := range []string{
		"x11-req", "auth-agent-req@openssh.com", "auth-agent-req@openssh.com", "winadj@putty.projects.tartarus.org",
		"keepalive@openssh.com", "strange\x1b[2J",
	} {
		if ok, err := s.SendRequest(name, true, nil); ok || err != nil {
			t.Errorf("%q: %v, %v; want an answer, and that is no", name, ok, err)
		}
	}
	if err := s.Run("hostname"); err != nil {
		t.Error(err)
	}
	want := "weft: X11 forwarding is not allowed through this gateway\n" +
		"weft: agent forwarding is not allowed through this gateway\n" +
		`weft: the request "strange\x1b[2J" is not allowed through this gateway` + "\n"
	if errOut.String() != want {
		t.Errorf("stderr %q, want %q", errOut.String(), want)
	}
	if got := w.eventsOf(sshproxy.EventRefused); len(got) != 3 {
		t.Errorf("events %v, want one for each kind", got)
	}
}

func TestServe_SecondProgram(t *testing.T) {
	w := hostWorld(t)
	s := newSSHSession(t, w.dial("root"))
	if err := s.Start("signal"); err != nil {
		t.Fatal(err)
	}
	exec := ssh.Marshal(struct{ Command string }{"hostname"})
	if ok, err := s.SendRequest("exec", true, exec); ok || err != nil {
		t.Errorf("second exec: %v, %v", ok, err)
	}
	pty := ssh.Marshal(struct {
		Term       string
		C, R, W, H uint32
		Modes      string
	}{"xterm", 80, 24, 0, 0, ""})
	if ok, err := s.SendRequest("pty-req", true, pty); ok || err != nil {
		t.Errorf("late pty-req: %v, %v", ok, err)
	}
}

func TestServe_MalformedRequests(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	for _, name := range []string{"env", "pty-req", "exec", "subsystem", "window-change", "signal", "break"} {
		s := newSSHSession(t, c)
		if ok, err := s.SendRequest(name, true, []byte{0, 0, 0, 9, 1}); ok || err != nil {
			t.Errorf("%s: %v, %v; want an answer, and that is no", name, ok, err)
		}
	}
}

func TestServe_LongCommand(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{CommandBytes: 16}))
	s := newSSHSession(t, w.dial("root"))
	errOut, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("echo 12345678901234567890"); err == nil {
		t.Error("it ran")
	}
	want := "weft: exec refused: the command is longer than 16 bytes\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(errOut, got); err != nil || string(got) != want {
		t.Errorf("stderr %q, %v", got, err)
	}
	if events := w.eventsOf(sshproxy.EventExec); len(events) != 0 {
		t.Errorf("exec events %v", events)
	}
}

func TestServe_ChannelLimit(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	var open []*ssh.Session
	for i := range 64 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatalf("session %d: %v", i+1, err)
		}
		if _, err := s.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start("cat"); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	_, err := c.NewSession()
	if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refusal.Reason != ssh.ResourceShortage {
		t.Errorf("session 65: %v", err)
	}
	if got := w.proxy.Stats(); got.ChannelsOverLimit != 1 || got.Channels != 64 {
		t.Errorf("stats %+v", got)
	}
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a place is free again", func() bool {
		s, err := c.NewSession()
		if err != nil {
			return false
		}
		out, err := s.Output("hostname")
		return err == nil && string(out) == "host-a\n"
	})
}

func TestServe_RequestRate(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{RequestsPerSecond: 20}))
	s := startShell(t, w.dial("root"), true)
	for i := range 40 {
		if err := s.WindowChange(10+i, 80); err != nil {
			t.Fatal(err)
		}
	}
	// Delayed, none lost: the last one counts.
	eventually(t, "the last size arrives", func() bool {
		s.send(t, "size\r")
		return strings.Contains(s.out.String(), "80 49\r\n")
	})
	if got := w.proxy.Stats().RequestsThrottled; got == 0 {
		t.Error("nothing was throttled")
	}
}

func TestServe_CutShowsWhy(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	onTerminal := startShell(t, c, true)
	onTerminal.send(t, "ticks\r")
	onTerminal.expect(t, "2 host-a")
	plain := startShell(t, c, false)
	plain.send(t, "ticks\n")
	plain.expect(t, "1 host-a")
	start := time.Now()
	w.cut(kind.New(kind.Denied, "policy \"ops\" no longer lets you log in as root"))
	r := w.result()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if !kind.Is(r.Err, kind.Denied) {
		t.Errorf("error %v", r.Err)
	}
	const text = "weft: session ended: policy \"ops\" no longer lets you log in as root"
	eventually(t, "both are told", func() bool {
		return strings.Contains(onTerminal.errOut.String(), "\r\n"+text+"\r\n") && plain.errOut.String() == text+"\n"
	})
	if err := c.Wait(); err == nil {
		t.Error("the client's connection did not end")
	}
}

// A client that reads nothing neither fills the gateway's memory nor holds up the end.
func TestServe_SlowReader(t *testing.T) {
	w := hostWorld(t)
	s := newSSHSession(t, w.dial("root"))
	if _, err := s.StdoutPipe(); err != nil { // never read
		t.Fatal(err)
	}
	if err := s.Start("stream 1000000000"); err != nil {
		t.Fatal(err)
	}
	last, since := int64(-1), time.Now()
	eventually(t, "the target is held up", func() bool {
		if n := w.upstreamOut.Load(); n != last {
			last, since = n, time.Now()
		}
		return last > 1<<20 && time.Since(since) > 300*time.Millisecond
	})
	// 2 MiB of window on either side, and what the sockets and one pump hold.
	if last > 6<<20 {
		t.Errorf("took %d bytes from the target for a client that reads none", last)
	}
	start := time.Now()
	w.cut(errors.New("enough"))
	w.result()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
}

func TestServe_TargetLost(t *testing.T) {
	w := hostWorld(t)
	s := startShell(t, w.dial("root"), false)
	s.send(t, "ticks\n")
	s.expect(t, "1 host-a")
	w.mu.Lock()
	err := w.lastUpConn.Close()
	w.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	r := w.result()
	if !kind.Is(r.Err, kind.Unavailable) {
		t.Errorf("error %v", r.Err)
	}
	eventually(t, "the user is told", func() bool {
		return s.errOut.String() == "weft: the connection to host-a (10.0.0.1, prod) was lost\n"
	})
}

func TestServe_ClientLost(t *testing.T) {
	w := hostWorld(t)
	c := w.dial("root")
	s := startShell(t, c, false)
	s.send(t, "sleep\n")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if r := w.result(); r.Err != nil {
		t.Errorf("error %v", r.Err)
	}
}

func TestServe_ManyConnections(t *testing.T) {
	w := hostWorld(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			c, err := ssh.Dial("tcp", w.addr, w.clientConfig("alice"))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			s, err := c.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			out, err := s.Output(fmt.Sprintf("echo %d; whoami", i))
			if err != nil || string(out) != fmt.Sprintf("%d\nalice\n", i) {
				t.Errorf("%d: %q, %v", i, out, err)
			}
		})
	}
	wg.Wait()
}

// scriptedTarget is a target that does what serve says after a login.
func scriptedTarget(t *testing.T, serve func(*ssh.ServerConn, <-chan ssh.NewChannel)) string {
	t.Helper()
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(newSigner(t))
	ln := listenLoopback(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
				if err != nil {
					return
				}
				wg.Go(func() { ssh.DiscardRequests(reqs) })
				serve(conn, chans)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// What a target asks for on its own is answered and goes nowhere.
func TestServe_TargetAsks(t *testing.T) {
	var opened, asked error
	target := scriptedTarget(t, func(c *ssh.ServerConn, chans <-chan ssh.NewChannel) {
		_, _, opened = c.OpenChannel("forwarded-tcpip", nil)
		if ok, _, err := c.SendRequest("hostkeys-00@openssh.com", true, nil); ok || err != nil {
			asked = fmt.Errorf("hostkeys-00: %v, %w", ok, err)
		}
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "no sessions\x1b[2J here")
		}
	})
	w := newWorld(t, newSigner(t), target)
	c := w.dial("root")
	_, err := c.NewSession()
	if err == nil || !strings.Contains(err.Error(), "weft: the target refused: no sessions?[2J here") {
		t.Errorf("session: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	w.result()
	if opened == nil || asked != nil {
		t.Errorf("open: %v; request: %v", opened, asked)
	}
	if got := w.eventsOf(sshproxy.EventRefused); len(got) != 1 || got[0].Detail["request"] != "forwarded-tcpip" {
		t.Errorf("events %v", got)
	}
}

// A target that says nothing more must not keep Serve from ending.
func TestServe_TargetHangs(t *testing.T) {
	target := scriptedTarget(t, func(c *ssh.ServerConn, chans <-chan ssh.NewChannel) {
		go func() {
			for range chans { // neither accepted nor rejected
			}
		}()
		_ = c.Wait()
	})
	w := newWorld(t, newSigner(t), target)
	c := w.dial("root")
	done := make(chan error, 1)
	go func() {
		_, err := c.NewSession()
		done <- err
	}()
	eventually(t, "the channel is being opened", func() bool { return w.proxy.Stats().Channels == 1 })
	w.cut(errors.New("enough"))
	w.result()
	if err := <-done; err == nil {
		t.Error("a session opened")
	}
}

// exit-signal reaches the client, with its message.
func TestServe_ExitSignal(t *testing.T) {
	target := scriptedTarget(t, func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel) {
		for nc := range chans {
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go func() {
				for r := range reqs {
					_ = r.Reply(true, nil)
					_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
						Signal  string
						Core    bool
						Message string
						Lang    string
					}{"SEGV", true, "core dumped", "en"}))
					_ = ch.Close()
				}
			}()
		}
	})
	w := newWorld(t, newSigner(t), target)
	err := newSSHSession(t, w.dial("root")).Run("x")
	if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.Signal() != "SEGV" || exit.Msg() != "core dumped" {
		t.Errorf("%v", err)
	}
	if got := w.eventsOf(sshproxy.EventExit); len(got) != 1 || got[0].Detail["signal"] != "SEGV" {
		t.Errorf("events %v", got)
	}
}

// Nothing of a session is left when Serve returns: goleak in TestMain watches over all tests; here for a session with
// channels in every state.
func TestServe_EndsWithEverythingOpen(t *testing.T) {
	ca := newSigner(t)
	w := newWorld(t, ca, newHost(t, ca, func(c *sshhost.Config) { c.Handshake = patience }))
	c := w.dial("root")
	if _, err := c.NewSession(); err != nil { // nothing started
		t.Fatal(err)
	}
	startShell(t, c, true)
	busy := newSSHSession(t, c)
	if _, err := busy.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := busy.Start("stream 100000000"); err != nil {
		t.Fatal(err)
	}
	blocked := newSSHSession(t, c)
	in, err := blocked.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := blocked.Start("sleep"); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = in.Write(make([]byte, 8<<20)) // more than the windows take; ends with the connection
	}()
	w.cut(context.Canceled)
	w.result()
	<-wrote
	if err := c.Wait(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Logf("client ended with %v", err)
	}
}

// A channel lives for one command, which goes on record with up to 128 KiB, and a record that cannot be written refuses
// everybody: one user who opens channels as fast as it goes must not fill the disk.
func TestServe_ChannelRate_regression(t *testing.T) {
	w := hostWorld(t, limit(sshproxy.Limits{Channels: 4, ChannelsPerSecond: 20}))
	c := w.dial("root")
	begin := time.Now()
	for range 14 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run("hostname"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("14 sessions took %v, want at least half a second for the 10 beyond the burst", took)
	}
	if w.proxy.Stats().RequestsThrottled == 0 {
		t.Error("nothing is counted")
	}
}
