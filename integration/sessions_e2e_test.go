//go:build e2e && linux

package integration_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"weft/api"
	"weft/integration/lab"
)

// terminal is a user at OpenSSH's client on a terminal.
type terminal struct {
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}

	mu     sync.Mutex
	screen bytes.Buffer
}

// openTerminal logs in to a host and waits for its shell.
func openTerminal(t *testing.T, a *agent, config, host string) *terminal {
	t.Helper()
	u := &terminal{cmd: lab.Command{Netns: a.w.net.client, Args: []string{"ssh", "-F", config, "-tt", host}}.Exec(t.Context()), done: make(chan struct{})}
	u.cmd.SysProcAttr = nil // the terminal needs a session of its own
	var err error
	if u.tty, err = pty.StartWithSize(u.cmd, &pty.Winsize{Cols: 200, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(u.done)
		b := make([]byte, 4096)
		for {
			n, err := u.tty.Read(b)
			u.mu.Lock()
			u.screen.Write(b[:n])
			u.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = u.cmd.Process.Kill() // it has ended in most cases
		_ = u.cmd.Wait()
		<-u.done
		_ = u.tty.Close()
	})
	u.works(t)
	return u
}

func (u *terminal) text() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.screen.String()
}

func (u *terminal) expect(t *testing.T, text string) {
	t.Helper()
	eventually(t, 30*time.Second, "the terminal shows "+text, func() bool { return strings.Contains(u.text(), text) })
}

// works types a command and waits for what it says, which is not what is typed.
func (u *terminal) works(t *testing.T) {
	t.Helper()
	n := strings.Count(u.text(), "al-ive")
	if _, err := io.WriteString(u.tty, "echo al'-'ive\r"); err != nil {
		t.Fatalf("type: %v; it shows\n%s", err, u.text())
	}
	eventually(t, 30*time.Second, "the shell answers", func() bool { return strings.Count(u.text(), "al-ive") > n })
}

// ended waits for the client's end.
func (u *terminal) ended(t *testing.T) {
	t.Helper()
	select {
	case <-u.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("ssh has not ended; it shows\n%s", u.text())
	}
}

// weft runs a command that administers.
func (w *world) weft(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = append(append([]string{w.bin.Weft}, args...), "--control", controlURL, "--token-file", w.path("api-token"), "--ca-file", w.caFile())
	return w.run(t.Context(), w.net.server, args...)
}

// sessionsOf lists the SSH sessions of a user.
func (w *world) sessionsOf(t *testing.T, email string) []api.Session {
	t.Helper()
	out, err := w.weft(t, "session", "list", "--json", "--user", email, "--protocol", "SSH")
	if err != nil {
		t.Fatal(err)
	}
	var l api.Sessions
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	if !l.Complete {
		t.Errorf("the list is not complete: %+v", l.Gateways)
	}
	return l.Sessions
}

// liveScene is a user of its own with SSH to a target of its own.
func liveScene(t *testing.T) (a *agent, config, email, host, app string) {
	t.Helper()
	w := theWorld(t)
	host = strings.ToLower(t.Name())
	email = host + "@company.com"
	target, err := w.api.CreateTarget(t.Context(), host, netip.MustParseAddr(hostIPs[1]), w.networks["a"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.DeleteTarget(cleanupContext(t), target) })
	sshd, err := newCountingRelay(w.net.hostA, hostIPs[1]+":22", hostIPs[0]+":22") // which has the other address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sshd.close)
	app, err = w.api.CreateApplication(t.Context(), lab.Application{
		Name: host, Hostnames: []string{host}, Port: 22, Protocol: "SSH", Emails: []string{email}, Usernames: []string{unixUser},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.DeleteApplication(cleanupContext(t), app) })
	a = freshAgent(t, email)
	config = a.sshConfig(t)
	eventually(t, 30*time.Second, "the gateway lets the new user through", func() bool {
		_, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, host, "true")
		return err == nil
	})
	return a, config, email, host, app
}

func TestLiveSessions(t *testing.T) {
	w := theWorld(t)
	a, config, email, host, app := liveScene(t)
	u := openTerminal(t, a, config, host)
	var live []api.Session
	eventually(t, 30*time.Second, "one session is live", func() bool { live = w.sessionsOf(t, email); return len(live) == 1 })
	if s := live[0]; s.Login != unixUser || s.Hostname != host || s.State != api.SessionOpen {
		t.Errorf("listed as %+v", s)
	}
	if out, err := w.weft(t, "session", "kill", live[0].ID, "--reason", "the disk is being replaced"); err != nil || !strings.HasPrefix(out, "killed ") {
		t.Fatalf("kill: %q, %v", out, err)
	}
	u.ended(t)
	if !strings.Contains(u.text(), "weft: session ended: an administrator ended this session: the disk is being replaced") {
		t.Errorf("the terminal shows\n%s", u.text())
	}
	// It barred nobody. Now the policy gets a limit while the session is live.
	u = openTerminal(t, a, config, host)
	var policies []api.Policy
	if err := w.api.Do(t.Context(), http.MethodGet, "/access/apps/"+app+"/policies", nil, &policies); err != nil {
		t.Fatal(err)
	}
	err := w.api.Do(t.Context(), http.MethodPut, "/access/apps/"+app+"/policies/"+policies[0].ID, map[string]any{
		"name": "short visits", "decision": "allow", "include": []any{map[string]any{"email": map[string]any{"email": email}}},
		"connection_rules": map[string]any{"ssh": map[string]any{"usernames": []string{unixUser}, "max_session_duration": "3s"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	u.ended(t)
	if !strings.Contains(u.text(), `weft: session ended: the policy "short visits" allows sessions of 3s`) {
		t.Errorf("the terminal shows\n%s", u.text())
	}
}

func TestDrain(t *testing.T) {
	w := theWorld(t)
	relaunch := func(args ...string) {
		t.Helper()
		if err := w.gateway.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if err := os.Remove(w.path("gateway-ready")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := w.launchGatewayWith(cleanupContext(t), args...); err != nil {
			t.Fatal(err)
		}
		if err := w.gateway.AwaitFile(cleanupContext(t), w.path("gateway-ready")); err != nil {
			t.Fatal(err)
		}
	}
	relaunch("--drain-timeout", "10m")
	t.Cleanup(func() { relaunch("--drain-timeout", "0") })
	a, config, _, host, _ := liveScene(t)
	u := openTerminal(t, a, config, host)
	// By an administrator, who takes it back.
	if out, err := w.weft(t, "gateway", "drain", "gw-1"); err != nil || !strings.Contains(out, "live sessions: ") {
		t.Fatalf("drain: %q, %v", out, err)
	}
	u.expect(t, "this gateway takes no new connections")
	refused := func() {
		t.Helper()
		eventually(t, 30*time.Second, "new connections are refused", func() bool {
			_, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, host, "true")
			return err != nil
		})
		if out, err := a.cli(t.Context(), "explain", host+":22"); err == nil || !strings.Contains(out+err.Error(), "gateway_draining") {
			t.Errorf("explained as %s%v", out, err)
		}
		eventually(t, 30*time.Second, "status tells", func() bool {
			out, err := a.cli(t.Context(), "status")
			return err == nil && strings.Contains(out, "takes no new connections")
		})
		u.works(t)
	}
	refused()
	if _, err := w.weft(t, "gateway", "drain", "gw-1", "--off"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "connections are taken again", func() bool {
		_, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, host, "true")
		return err == nil
	})
	// By a signal, upon which it ends with the last session.
	stopped := make(chan error, 1)
	go func() { stopped <- w.gateway.Stop(time.Minute) }()
	u.expect(t, "this gateway is being stopped; this session ends in 10m")
	refused()
	if _, err := io.WriteString(u.tty, "exit\r"); err != nil {
		t.Fatal(err)
	}
	u.ended(t)
	if err := <-stopped; err != nil {
		t.Errorf("the gateway: %v", err)
	}
}
