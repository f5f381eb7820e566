package gateway_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/gateway/audit"
)

// lockedBuffer is a bytes.Buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// liveShell starts a shell on a terminal; what it writes to standard error is in the buffer.
func liveShell(t *testing.T, client *ssh.Client) (*ssh.Session, *lockedBuffer) {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out := new(lockedBuffer)
	session.Stderr = out
	if err := session.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if _, err := session.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	return session, out
}

func (w *world) sessions(q api.SessionsQuestion) api.SessionsAnswer {
	w.tb.Helper()
	parts := w.gateway.SessionsForTest(q)
	if len(parts) != 1 {
		w.tb.Fatalf("%d parts", len(parts))
	}
	return *parts[0].Sessions
}

func TestSessions_ListAndKill(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr, at(portTCP): serveTCP(t, "a")})
	tcp := w.mustDial(slotA, portTCP)
	readName(t, tcp)
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	shell, stderr := liveShell(t, client)
	all := w.sessions(api.SessionsQuestion{Limit: 10})
	if len(all.Sessions) != 2 || all.Total != 2 || !all.Full {
		t.Fatalf("sessions %+v", all)
	}
	for name, f := range map[string]api.SessionFilter{
		"by user": {User: "JDOE@company.com", Login: "ubuntu"}, "by target": {Target: "HOST-A", Protocol: "ssh"}, "by address": {Target: targetAddr.String(), Protocol: "SSH"},
		"by device": {Device: "Laptop", Login: "ubuntu"}, "by IDs": {User: user, Device: device, Target: "ta", Protocol: "SSH"},
	} {
		got := w.sessions(api.SessionsQuestion{SessionFilter: f, Limit: 10})
		if len(got.Sessions) != 1 || got.Sessions[0].Login != "ubuntu" || got.Sessions[0].Hostname != "host-a" || got.Sessions[0].State != api.SessionOpen {
			t.Errorf("%s: %+v", name, got.Sessions)
		}
	}
	for _, f := range []api.SessionFilter{{User: "jdoe"}, {Target: "host"}, {Device: "lap"}, {Protocol: "RDP"}, {Login: "root"}} {
		if got := w.sessions(api.SessionsQuestion{SessionFilter: f, Limit: 10}); len(got.Sessions) != 0 {
			t.Errorf("%+v chooses %+v", f, got.Sessions)
		}
	}
	sshID := w.sessions(api.SessionsQuestion{SessionFilter: api.SessionFilter{Login: "ubuntu"}, Limit: 1}).Sessions[0].ID
	if a := w.gateway.KillForTest(t.Context(), api.KillQuestion{SessionID: "nobody"}); a.Found {
		t.Errorf("an unknown session: %+v", a)
	}
	// The message needs the shell to run: only then does the channel listen.
	w.eventually("the shell is on record", 30*time.Second, func() bool {
		for _, e := range w.auditEvents() {
			if e.Type == "shell" {
				return true
			}
		}
		return false
	})
	a := w.gateway.KillForTest(t.Context(), api.KillQuestion{SessionID: sshID, Reason: "maintenance at ten", By: "ops"})
	if !a.Found || a.Already || a.Session.ID != sshID {
		t.Errorf("killed %+v", a)
	}
	_ = shell.Wait() // until all was read
	if !strings.Contains(stderr.String(), "session ended: an administrator ended this session: maintenance at ten") {
		t.Errorf("the user was told %q", stderr.String())
	}
	e := w.lastAudit(audit.FlowClose)
	if e.Reason != "killed" || e.SessionID != sshID || e.Detail["by"] != "ops" || !strings.Contains(e.Error, "maintenance at ten") {
		t.Errorf("on record: %+v", e)
	}
	if a := w.gateway.KillForTest(t.Context(), api.KillQuestion{SessionID: sshID}); !a.Found || !a.Already {
		t.Errorf("killed again: %+v", a)
	}
	expectAlive(t, tcp) // nothing else has ended
	rest := w.sessions(api.SessionsQuestion{Limit: 10, Epoch: all.Epoch, Since: all.Sequence})
	if rest.Full || len(rest.Ended) != 1 || rest.Ended[0].Reason != "killed" || rest.Ended[0].BytesDown == 0 {
		t.Errorf("since then %+v", rest)
	}
	if other := w.sessions(api.SessionsQuestion{Limit: 10, Epoch: "another", Since: all.Sequence}); !other.Full || len(other.Sessions) != 1 {
		t.Errorf("to one that knew another run: %+v", other)
	}
	w.gateway.KillForTest(t.Context(), api.KillQuestion{SessionID: rest0(t, w)})
	expectCut(t, tcp)
	if client, _, err := w.login("ubuntu"); err != nil {
		t.Errorf("the user cannot come back: %v", err)
	} else {
		_ = client.Close()
	}
}

func rest0(t *testing.T, w *world) string {
	t.Helper()
	l := w.sessions(api.SessionsQuestion{SessionFilter: api.SessionFilter{Protocol: "TCP"}, Limit: 2})
	if len(l.Sessions) != 1 {
		t.Fatalf("TCP sessions %+v", l.Sessions)
	}
	return l.Sessions[0].ID
}

// Each part of a long answer must be one that control takes.
func TestSessions_PartsFitIntoARequest(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	w.update(func(st *api.GatewayState) {
		d := st.Devices[device]
		d.Name = strings.Repeat("\x01", 250) // each of which is six bytes of JSON
		st.Devices[device] = d
	})
	const n = 300
	for range n {
		w.mustDial(slotA, portTCP)
	}
	parts := w.gateway.SessionsForTest(api.SessionsQuestion{Limit: n})
	total := 0
	for _, p := range parts {
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 1<<20 {
			t.Errorf("a part of %d bytes", len(raw))
		}
		total += len(p.Sessions.Sessions)
		if p.Sessions.Total != n || !p.Sessions.Full {
			t.Errorf("part says total %d, full %v", p.Sessions.Total, p.Sessions.Full)
		}
	}
	if len(parts) < 2 || total != n {
		t.Errorf("%d parts with %d sessions", len(parts), total)
	}
}
