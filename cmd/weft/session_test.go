package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control/controltest"
)

var sessionNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func sampleSession(id, email, host string, age time.Duration) api.Session {
	return api.Session{
		ID: id, GatewayID: "g1", GatewayName: "gw-1", State: api.SessionOpen, Email: email, UserID: "u1", DeviceID: "d1", DeviceName: "laptop",
		TargetID: "t1", Hostname: host, VNETID: "v1", VNETName: "office", Source: netip.MustParseAddrPort("100.64.0.65:40001"),
		Destination: netip.MustParseAddrPort("10.20.0.5:22"), Protocol: "SSH", Transport: "tcp", Login: "root", Recorded: true,
		ApplicationID: "a1", PolicyID: "p1", PolicyName: "engineers", StartedAt: sessionNow.Add(-age), BytesUp: 812, BytesDown: 5 << 20,
	}
}

func sampleSessions() *api.Sessions {
	web := sampleSession("019a-2", "eve@company.com", "", 26*time.Hour)
	web.Protocol, web.Login, web.Recorded, web.State, web.BytesDown = "TCP", "", false, api.SessionConnecting, 0
	hostile := sampleSession("019a-3", "jdoe@company.com", "db-1", 90*time.Minute)
	hostile.DeviceName = "lap\x1b[2Jtop\nroot"
	return &api.Sessions{
		SchemaVersion: 1, Sessions: []api.Session{sampleSession("019a-1", "jdoe@company.com", "web-1", 61*time.Second), web, hostile},
		Gateways: []api.SessionGateway{
			{ID: "g1", Name: "gw-1", Connected: true, Answered: true, Draining: true, Total: 5}, {ID: "g2", Name: "gw-2"}, {ID: "g3", Name: "gw-3", Connected: true},
		},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestSession_Output(t *testing.T) {
	var table, notes, events, asJSON, killed bytes.Buffer
	l := sampleSessions()
	if err := writeSessions(&table, &notes, l, sessionNow); err != nil {
		t.Fatal(err)
	}
	golden(t, "session_list.txt", []byte(table.String()+"-- standard error --\n"+notes.String()))
	if err := writeIndented(&asJSON, l); err != nil {
		t.Fatal(err)
	}
	golden(t, "session_list.json", asJSON.Bytes())
	for _, e := range []api.SessionsEvent{
		{Type: api.SessionsSnapshot, Put: l.Sessions},
		{Type: api.SessionsDelta, Put: l.Sessions[1:2], Ended: []api.SessionEnded{{Session: l.Sessions[0], Reason: "killed"}}},
	} {
		if err := writeSessionEvents(&events, &e, sessionNow); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "session_watch.txt", events.Bytes())
	for _, already := range []bool{false, true} {
		if err := writeKilled(&killed, &api.SessionKilled{Session: l.Sessions[0], Already: already}, already); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "session_kill.txt", killed.Bytes())
}

func TestSession_Commands(t *testing.T) {
	s := controltest.New(t)
	gw := s.FakeGateway("gw-1")
	gw.Put(sampleSession("s1", "jdoe@company.com", "web-1", time.Minute))
	weft := weftCommand(t, s)
	if out := weft(exitOK, "session", "list", "--user", "jdoe@company.com"); !strings.Contains(out, "s1") || !strings.Contains(out, "web-1 (10.20.0.5:22, office)") {
		t.Errorf("listed as %q", out)
	}
	weft(exitNotFound, "session", "list", "--gateway", "gw-2")
	if out := weft(exitOK, "session", "kill", "s1", "--reason", "maintenance"); !strings.HasPrefix(out, "killed s1 ") {
		t.Errorf("killed: %q", out)
	}
	if out := weft(exitNotFound, "session", "kill", "nobody"); !strings.Contains(out, "weft session list") {
		t.Errorf("an unknown session: %q", out)
	}
	weft(exitInvalid, "session", "kill", "s1", "--reason", "two\nlines")
	weft(exitUsage, "session", "kill")
	gw.Silence()
	if out := weft(exitUnavailable, "session", "list"); !strings.HasPrefix(out, "ID ") || !strings.Contains(out, "gateway gw-1 is not in contact with control") {
		t.Errorf("without the gateway: %q", out)
	}
}

// weftCommand runs commands that administer s; what they write is returned, standard output first.
func weftCommand(t *testing.T, s *controltest.Server) func(wantCode int, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{"token": []byte(s.Token), "ca.pem": s.Control.CAPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(wantCode int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append(args, "--control", s.URL, "--token-file", filepath.Join(dir, "token"), "--ca-file", filepath.Join(dir, "ca.pem"))
		if code := run(t.Context(), args, &stdout, &stderr); code != wantCode {
			t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, wantCode, stdout.String(), stderr.String())
		}
		return stdout.String() + stderr.String()
	}
}
