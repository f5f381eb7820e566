//go:build e2e && linux

package integration_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/integration/lab"
)

// cleanupContext is for what must still be done when the test's own context has ended.
func cleanupContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// cutWithin bounds what must happen within a second, and takes about 10 ms; the rest is for a busy machine.
const cutWithin = 3 * time.Second

// scene is a live session of a user of its own to a target of its own, so that nothing else is cut.
type scene struct {
	a      *agent
	email  string
	target string
	app    string
	def    lab.Application
	s      *echoStream
	// registration is the ID of the device's.
	registration string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := theWorld(t)
	name := strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:])
	name = strings.ReplaceAll(name, "_", "-")
	sc := &scene{email: name + "@company.com"}
	var err error
	if sc.target, err = w.api.CreateTarget(t.Context(), name, netip.MustParseAddr(hostIPs[1]), w.networks["a"]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.DeleteTarget(cleanupContext(t), sc.target) }) // one test has deleted it
	sc.def = lab.Application{Name: name, Hostnames: []string{name}, Port: echoPort, Protocol: "TCP", Emails: []string{sc.email}}
	if sc.app, err = w.api.CreateApplication(t.Context(), sc.def); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.DeleteApplication(cleanupContext(t), sc.app) }) // likewise
	sc.a = freshAgent(t, sc.email)
	eventually(t, 30*time.Second, "the gateway lets the new user through", func() bool {
		sc.s, err = sc.a.openEcho(t.Context(), "a", hostIPs[1]+":7000", "host-a")
		return err == nil
	})
	t.Cleanup(func() { _ = sc.s.Close() })
	if err := sc.s.exchange(5 * time.Second); err != nil {
		t.Fatalf("the session before the change: %v", err)
	}
	sc.registration = registrationOf(t, w, sc.a)
	return sc
}

// expectCut waits for the end of the live session and returns how long after since it came.
func (sc *scene) expectCut(t *testing.T, since time.Time) {
	t.Helper()
	if err := sc.s.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := sc.s.in.ReadByte()
	took := time.Since(since)
	if err == nil {
		t.Fatal("the session said something by itself")
	}
	if took > cutWithin {
		t.Errorf("the live session was cut after %v, not within %v (%v)", took, cutWithin, err)
	}
	t.Logf("cut after %v", took)
}

func TestCut(t *testing.T) {
	w := theWorld(t)
	tests := []struct {
		name   string
		change func(ctx context.Context, sc *scene) error
		// after is the exit code of a new connection.
		after int
	}{
		{name: "revoked-device", change: func(ctx context.Context, sc *scene) error {
			return w.api.RevokeDevices(ctx, sc.registration)
		}},
		{name: "revoked-user", change: func(ctx context.Context, sc *scene) error { return w.api.RevokeUser(ctx, sc.email) }},
		{name: "changed-policy", after: 9, change: func(ctx context.Context, sc *scene) error {
			def := sc.def
			def.Emails = []string{"somebody-else@company.com"}
			return w.api.UpdateApplication(ctx, sc.app, def)
		}},
		{name: "deleted-application", after: 9, change: func(ctx context.Context, sc *scene) error {
			return w.api.DeleteApplication(ctx, sc.app)
		}},
		{name: "deleted-target", after: 9, change: func(ctx context.Context, sc *scene) error { return w.api.DeleteTarget(ctx, sc.target) }},
		{name: "renamed-target", after: 9, change: func(ctx context.Context, sc *scene) error {
			return w.api.UpdateTarget(ctx, sc.target, "renamed", netip.MustParseAddr(hostIPs[1]), w.networks["a"])
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sc := newScene(t)
			bystander, err := w.agent.openEcho(t.Context(), "a", hostIPs[0]+":7000", "host-a")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = bystander.Close() }()
			start := time.Now()
			if err := tt.change(t.Context(), sc); err != nil {
				t.Fatal(err)
			}
			sc.expectCut(t, start)
			if err := bystander.exchange(5 * time.Second); err != nil {
				t.Errorf("another user's session was disturbed: %v", err)
			}
			if tt.after != 0 {
				sc.a.failCLI(t, tt.after, nil, "nc", "--vnet", "a", hostIPs[1], "7000")
				return
			}
			if out, err := sc.a.cli(t.Context(), "nc", "--vnet", "a", hostIPs[1], "7000"); err == nil {
				t.Errorf("a new connection was opened: %q", out)
			}
			eventually(t, 30*time.Second, "the agent says that it was revoked", func() bool {
				s, ok := sc.a.status(t.Context())
				return ok && s.Reason == localapi.ReasonRevoked
			})
		})
	}
}

// registrationOf finds the registration of an agent's device.
func registrationOf(t *testing.T, w *world, a *agent) string {
	t.Helper()
	device := a.registration(t).DeviceID
	var all []struct {
		ID     string `json:"id"`
		Device struct {
			ID string `json:"id"`
		} `json:"device"`
	}
	if err := w.api.Do(t.Context(), http.MethodGet, "/devices/registrations", nil, &all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Device.ID == device {
			return r.ID
		}
	}
	t.Fatalf("no registration of device %s in %v", device, all)
	return ""
}

// TestCutSSH: a live SSH login ends when its UNIX user is no longer granted, and the user reads why.
func TestCutSSH(t *testing.T) {
	w := theWorld(t)
	ctx := t.Context()
	id, err := w.api.CreateTarget(ctx, "short-lived", netip.MustParseAddr(hostIPs[1]), w.networks["b"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.DeleteTarget(cleanupContext(t), id) }) // the world ends anyway
	def := lab.Application{Name: "short-lived", Hostnames: []string{"short-lived"}, Port: 22, Protocol: "SSH", Emails: []string{userEmail}, Usernames: []string{unixUser}}
	app, err := w.api.CreateApplication(ctx, def)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.DeleteApplication(cleanupContext(t), app) })
	// sshd of host B listens on the first address only: move the target there is not possible (it is host-b's), so relay.
	r, err := newCountingRelay(w.net.hostB, hostIPs[1]+":22", hostIPs[0]+":22")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	eventually(t, 30*time.Second, "the agent hears of the target", func() bool {
		return strings.Contains(w.agent.mustCLI(t, "target", "list"), "short-lived")
	})
	cmd := lab.Command{Netns: w.net.client, Args: []string{"ssh", "-F", w.agent.sshConfig(t), "short-lived", "echo begun; sleep 60"}}.Exec(ctx)
	var stderr strings.Builder // read after Wait
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("begun\n"))
	if _, err := out.Read(first); err != nil || string(first) != "begun\n" {
		t.Fatalf("the session before the change said %q, %v", first, err)
	}
	def.Usernames = []string{otherUser}
	start := time.Now()
	if err := w.api.UpdateApplication(ctx, app, def); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if took := time.Since(start); took > cutWithin {
		t.Errorf("the live login was cut after %v, not within %v", took, cutWithin)
	}
	if err == nil {
		t.Error("ssh ended as if nothing had happened")
	}
	if said := stderr.String(); !strings.Contains(said, "session ended") || !strings.Contains(said, "short-lived") {
		t.Errorf("the user does not read why: %s", said)
	}
}
