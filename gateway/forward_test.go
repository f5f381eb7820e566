package gateway_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/api"
	"weft/gateway/audit"
	"weft/gateway/recording"
)

// setRules gives the one policy other SSH rules.
func setRules(rules access.SSHRules) func(*api.GatewayState) {
	rules.Usernames = []string{"ubuntu"}
	return func(st *api.GatewayState) {
		app := st.Applications["app"]
		p := app.Policies[0]
		p.SSH = &rules
		app.Policies = []access.Policy{p}
		st.Applications["app"] = app
	}
}

func local(destinations ...string) access.SSHRules {
	return access.SSHRules{LocalForwarding: &access.LocalForwarding{Destinations: destinations}}
}

// openLocal opens a local forwarding. The small sshd of these tests echoes on whatever is opened once it gets a shell request,
// which a forwarding has none of: so its end shows as an end of the channel.
func openLocal(c *ssh.Client, host string, port uint32) (ssh.Channel, error) {
	ch, reqs, err := c.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, port, "127.0.0.1", 1}))
	if err == nil {
		go ssh.DiscardRequests(reqs)
	}
	return ch, err
}

// TestForward_FollowsThePolicy: rights appear and disappear while a session runs, and what runs under one that is gone is cut.
func TestForward_FollowsThePolicy(t *testing.T) {
	w := recordingWorld(t)
	w.update(setRules(local("db.internal:5432")))
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	s.Stderr = &errOut
	if _, err := s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if _, err := openLocal(client, "other.internal", 22); err == nil || !strings.Contains(err.Error(), "does not allow forwarding to other.internal:22") {
		t.Errorf("not listed: %v", err)
	}
	ch, err := openLocal(client, "DB.internal", 5432)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(ch, "hello"); err != nil {
		t.Fatal(err)
	}
	// A change that leaves what is used goes by unnoticed, and counts for what comes next.
	w.update(setRules(local("db.internal:5432", "other.internal:22")))
	w.eventually("the new destination is allowed", 30*time.Second, func() bool {
		other, err := openLocal(client, "other.internal", 22)
		if err != nil {
			return false
		}
		return other.Close() == nil
	})
	w.eventually("its end is on record", 30*time.Second, func() bool {
		for _, e := range w.auditEvents() {
			if e.Type == "forward_end" && e.Detail["destination"] == "other.internal:22" {
				return true
			}
		}
		return false
	})
	w.update(setRules(local("other.internal:22")))
	if err := client.Wait(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Logf("client: %v", err)
	}
	if e := w.lastAudit(audit.FlowClose); e.Reason != "forwarding_revoked" {
		t.Errorf("closed for %q", e.Reason)
	}
	_ = s.Wait() // its output is complete
	if want := "weft: session ended: forwarding to db.internal:5432 is no longer allowed by the policy of this login"; !strings.Contains(errOut.String(), want) {
		t.Errorf("the user was told %q", errOut.String())
	}
	var audited []string
	for _, e := range w.auditEvents() {
		if e.Type == "forward" || e.Type == "forward_end" || e.Type == "refused" {
			if e.Login != "ubuntu" || e.Event != audit.SSHEvent {
				t.Errorf("%+v", e)
			}
			audited = append(audited, e.Type+" "+e.Detail["destination"])
		}
	}
	begins := map[string]bool{}
	for _, e := range audited {
		begins[e] = true
	}
	for _, want := range []string{"refused other.internal:22", "forward db.internal:5432", "forward other.internal:22", "forward_end other.internal:22", "forward_end db.internal:5432"} {
		if !begins[want] {
			t.Errorf("the audit log lacks %q: %q", want, audited)
		}
	}
	checkForwardRecording(t, w)
}

// checkForwardRecording looks for the forwarding that was cut in the recording.
func checkForwardRecording(t *testing.T, w *world) {
	t.Helper()
	e := w.lastAudit(audit.RecordEnd)
	f, err := recording.OpenFile(filepath.Join(w.cfg.StateDir, "recordings", filepath.FromSlash(e.Detail["recording"])))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := recording.NewReader(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []recording.Event
	for {
		var rec recording.Record
		if err := r.Next(&rec); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if rec.Kind != recording.RecordEvent {
			continue
		}
		ev, err := rec.Event()
		if err != nil {
			t.Fatal(err)
		}
		if ev.Destination == "db.internal:5432" {
			ev.Time, ev.Channel, ev.Source, ev.Reason = time.Time{}, 0, "", ""
			got = append(got, ev)
		}
	}
	want := []recording.Event{
		{Type: recording.EventForward, Direction: "local", Destination: "db.internal:5432"},
		{Type: recording.EventForwardEnd, Direction: "local", Destination: "db.internal:5432", BytesUp: recording.Number(5), BytesDown: recording.Number(0)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestForward_UnusedRightsAreNoReason: a session that forwards nothing outlives the loss of the right to.
func TestForward_UnusedRightsAreNoReason(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	w.update(setRules(local("db.internal:5432")))
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	w.update(setRules(access.SSHRules{}))
	w.eventually("the right is gone", 30*time.Second, func() bool {
		ch, err := openLocal(client, "db.internal", 5432)
		if err == nil {
			_ = ch.Close()
		}
		return err != nil
	})
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := s.Output("uptime"); string(out) != "ubuntu ran uptime" {
		t.Errorf("got %q", out)
	}
}
