package gateway_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/gateway"
	"weft/gateway/audit"
	"weft/gateway/recording"
)

func withRecording(mod ...func(*gateway.Recording)) option {
	return func(w *world) {
		w.cfg.Recording.Enabled = true
		for _, m := range mod {
			m(&w.cfg.Recording)
		}
	}
}

func recordingWorld(t *testing.T, mod ...func(*gateway.Recording)) *world {
	t.Helper()
	w := newWorld(t, withRecording(mod...))
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	return w
}

func TestRecording_FileAndAudit(t *testing.T) {
	w := recordingWorld(t)
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.Output("uptime"); string(out) != "ubuntu ran uptime" {
		t.Fatalf("got %q, %v", out, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	e := w.lastAudit(audit.RecordEnd)
	begun := w.lastAudit(audit.RecordStart)
	if begun.Detail["recording"] != e.Detail["recording"] || e.SessionID != begun.SessionID {
		t.Errorf("start %+v, end %+v", begun, e)
	}
	pub, err := os.ReadFile(filepath.Join(w.cfg.StateDir, "recording_key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := recording.ParsePublicKey(string(pub))
	if err != nil {
		t.Fatal(err)
	}
	f, err := recording.OpenFile(filepath.Join(w.cfg.StateDir, "recordings", filepath.FromSlash(e.Detail["recording"])))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rep, err := recording.Verify(f, recording.VerifyConfig{
		Keys: []ed25519.PublicKey{key}, Name: e.Detail["recording"], Head: e.Detail["head"],
	})
	if err != nil {
		t.Fatal(err)
	}
	h := rep.Header
	if h.SessionID != e.SessionID || h.Login != "ubuntu" || h.Email != "jdoe@company.com" || h.PolicyID != "pol" || h.Hostname == "" ||
		h.GatewayID == "" || h.ClientAddress != e.Source || h.ServerAddress != e.Destination {
		t.Errorf("header %+v", h)
	}
	var got []string
	r, err := recording.NewReader(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		var rec recording.Record
		if err := r.Next(&rec); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch rec.Kind {
		case recording.RecordOutput:
			got = append(got, string(rec.Data))
		case recording.RecordEvent:
			ev, err := rec.Event()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(ev.Type+" "+ev.Command))
		default:
		}
	}
	// The exit status and the output reach the gateway side by side.
	slices.Sort(got[min(2, len(got)):max(len(got)-1, 0)])
	want := "channel_open,exec uptime,exit,ubuntu ran uptime,channel_close"
	if s := strings.Join(got, ","); s != want {
		t.Errorf("recorded %s, want %s", s, want)
	}
	if st := w.gateway.Stats().Recording; st.Finished != 1 || st.Failed != 0 {
		t.Errorf("stats %+v", st)
	}
}

// blockedDir makes a directory in which no recording can begin.
func blockedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, day := range []time.Time{time.Now(), time.Now().Add(time.Hour)} {
		if err := os.WriteFile(filepath.Join(dir, day.UTC().Format(time.DateOnly)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRecording_CannotBegin(t *testing.T) {
	for _, tt := range []struct {
		name string
		mod  func(*gateway.Recording)
		in   bool
	}{
		{"stop refuses the login", func(*gateway.Recording) {}, false},
		{"alarm lets it in", func(r *gateway.Recording) { r.FailMode = recording.FailAlarm }, true},
		{"an application has its own mode", func(r *gateway.Recording) {
			r.Applications = map[string]recording.FailMode{"app": recording.FailAlarm}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := blockedDir(t)
			w := recordingWorld(t, func(r *gateway.Recording) { r.Recorder.Dir = dir }, tt.mod)
			client, banner, err := w.login("ubuntu")
			if (err == nil) != tt.in {
				t.Fatalf("login: %v (%s)", err, banner)
			}
			alarm := w.lastAudit(audit.RecordFail)
			if alarm.Error == "" || alarm.Login != "ubuntu" {
				t.Errorf("alarm %+v", alarm)
			}
			if !tt.in {
				if !strings.Contains(banner, "cannot record it") {
					t.Errorf("banner %q", banner)
				}
				return
			}
			s, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if out, _ := s.Output("uptime"); string(out) != "ubuntu ran uptime" {
				t.Errorf("got %q", out)
			}
			if n := w.gateway.Stats().Unrecorded; n != 1 {
				t.Errorf("%d unrecorded", n)
			}
		})
	}
}

func TestRecording_FailsInTheMiddle(t *testing.T) {
	for _, mode := range []recording.FailMode{recording.FailStop, recording.FailAlarm} {
		t.Run(string(mode), func(t *testing.T) {
			w := recordingWorld(t, func(r *gateway.Recording) {
				r.FailMode = mode
				r.Recorder.MaxFileBytes = 1
				r.Recorder.FlushEvery = 20 * time.Millisecond
			})
			client, banner, err := w.login("ubuntu")
			if err != nil {
				t.Fatalf("login: %v (%s)", err, banner)
			}
			s, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			s.Stderr = &stderr
			in, err := s.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Shell(); err != nil {
				t.Fatal(err)
			}
			w.eventually("the alarm is raised", 30*time.Second, func() bool {
				for _, e := range w.auditEvents() {
					if e.Event == audit.RecordFail {
						return true
					}
				}
				return false
			})
			if mode == recording.FailAlarm {
				if _, err := in.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 1)
				if _, err := io.ReadFull(out, b); err != nil || b[0] != 'x' {
					t.Errorf("the session does not go on: %q, %v", b, err)
				}
				return
			}
			done := make(chan error, 1)
			go func() { done <- client.Wait() }()
			select {
			case err := <-done:
				t.Logf("cut: %v", err)
			case <-time.After(10 * time.Second):
				t.Fatal("the session was not cut")
			}
			var exit *ssh.ExitMissingError
			if err := s.Wait(); !errors.As(err, &exit) && err == nil {
				t.Errorf("wait: %v", err)
			}
			if !strings.Contains(stderr.String(), "cannot be recorded") {
				t.Errorf("the user was told %q", stderr.String())
			}
			if e := w.lastAudit(audit.FlowClose); e.Reason != "recording_failed" {
				t.Errorf("close event %+v", e)
			}
		})
	}
}
