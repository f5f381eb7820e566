package gateway_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/gateway"
	"weft/gateway/audit"
	"weft/gateway/recording"
)

// controlSays sets what control says about recordings.
func (w *world) controlSays(m map[string]api.RecordingSetting) {
	w.tb.Helper()
	w.update(func(st *api.GatewayState) { st.Recording = m })
}

func setting(enabled, failMode string) api.RecordingSetting {
	s := api.RecordingSetting{FailMode: failMode}
	if enabled != "" {
		on := enabled == "on"
		s.Enabled = &on
	}
	return s
}

func TestRecordingSettings_WhenNoneCanBegin(t *testing.T) {
	alarmFlag := func(r *gateway.Recording) { r.FailMode = recording.FailAlarm }
	alarmFlagForApp := func(r *gateway.Recording) { r.Applications = map[string]recording.FailMode{"app": recording.FailAlarm} }
	offFlag := func(r *gateway.Recording) { r.Enabled = false }
	for _, tt := range []struct {
		name      string
		flag      func(*gateway.Recording)
		says      map[string]api.RecordingSetting
		in, alarm bool
	}{
		{"the account's mode stands before the flag", nil, map[string]api.RecordingSetting{"account": setting("", "alarm")}, true, true},
		{"the application's before the account's", nil, map[string]api.RecordingSetting{"account": setting("", "stop"), "app": setting("", "alarm")}, true, true},
		{"to let nothing pass too", alarmFlag, map[string]api.RecordingSetting{"app": setting("", "stop")}, false, true},
		{"the application's before the flag for it", alarmFlagForApp, map[string]api.RecordingSetting{"app": setting("", "stop")}, false, true},
		{"the flag for it before the account's", alarmFlagForApp, map[string]api.RecordingSetting{"account": setting("", "stop")}, true, true},
		{"another application's does not count", nil, map[string]api.RecordingSetting{"other": setting("", "alarm")}, false, true},
		{"an unknown mode lets nothing pass", alarmFlag, map[string]api.RecordingSetting{"app": setting("", "shrug")}, false, true},
		{"what is not recorded cannot fail", nil, map[string]api.RecordingSetting{"app": setting("off", "")}, true, false},
		{"recorded for the application alone", offFlag, map[string]api.RecordingSetting{"app": setting("on", "")}, false, true},
		{"recorded for all but it", offFlag, map[string]api.RecordingSetting{"account": setting("on", ""), "app": setting("off", "")}, true, false},
		{"left open is as the flag has it", offFlag, map[string]api.RecordingSetting{"account": {}, "app": {}}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := blockedDir(t)
			mod := []func(*gateway.Recording){func(r *gateway.Recording) { r.Recorder.Dir = dir }}
			if tt.flag != nil {
				mod = append(mod, tt.flag)
			}
			w := recordingWorld(t, mod...)
			w.controlSays(tt.says)
			_, banner, err := w.login("ubuntu")
			if (err == nil) != tt.in {
				t.Fatalf("login: %v (%s)", err, banner)
			}
			alarm := false
			for _, e := range w.auditEvents() {
				alarm = alarm || e.Event == audit.RecordFail
			}
			if alarm != tt.alarm {
				t.Errorf("alarm raised: %v", alarm)
			}
		})
	}
}

// Control can ask for recordings of a gateway that was started without, and each file says for whom session logs are to be.
func TestRecordingSettings_SwitchedOnByControl(t *testing.T) {
	w := recordingWorld(t, func(r *gateway.Recording) { r.Enabled = false })
	w.controlSays(map[string]api.RecordingSetting{"account": setting("on", "")})
	w.update(func(st *api.GatewayState) { st.Self.SSHLogKey = "the key" })
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	if l := w.sessions(api.SessionsQuestion{Limit: 1}); !l.Sessions[0].Recorded {
		t.Errorf("listed as %+v", l.Sessions[0])
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
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
	if h := r.Header(); h.SSHLogKey != "the key" || h.ApplicationID != "app" {
		t.Errorf("header %+v", h)
	}
}

// The login counts: a UNIX user whom another application grants than the one that allows the connection is recorded, and on
// record, by that.
func TestRecordingSettings_OfWhatGrantsTheLogin(t *testing.T) {
	w := recordingWorld(t)
	w.update(func(st *api.GatewayState) {
		first := st.Applications["app"]
		second := first
		second.ID, second.Policies = "app-2", slices.Clone(first.Policies)
		second.Policies[0].ID, second.Policies[0].Name = "pol-2", "operators"
		second.Policies[0].SSH = &access.SSHRules{Usernames: []string{"root"}}
		st.Applications = map[string]access.Application{"app": first, "app-2": second}
		st.Recording = map[string]api.RecordingSetting{"app": setting("off", ""), "app-2": setting("on", "")}
	})
	for login, want := range map[string]string{"ubuntu": "pol", "root": "pol-2"} {
		client, banner, err := w.login(login)
		if err != nil {
			t.Fatalf("login: %v (%s)", err, banner)
		}
		l := w.sessions(api.SessionsQuestion{SessionFilter: api.SessionFilter{Login: login}, Limit: 1}).Sessions[0]
		if l.Recorded != (login == "root") || l.PolicyID != want {
			t.Errorf("%s: listed as %+v", login, l)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	e := w.lastAudit(audit.RecordEnd)
	if e.ApplicationID != "app-2" || e.PolicyID != "pol-2" {
		t.Errorf("on record: %+v", e)
	}
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
	if h := r.Header(); h.ApplicationID != "app-2" || h.PolicyID != "pol-2" || h.PolicyName != "operators" || h.Login != "root" {
		t.Errorf("header %+v", h)
	}
}

// A login that explain tries is recorded as any other, and the recording ends with it.
func TestRecordingSettings_ExplainEndsItsRecording(t *testing.T) {
	w := recordingWorld(t)
	if code, step, a := w.explained(netA, at(portSSH).String(), "ubuntu"); code != "" {
		t.Fatalf("%q at %q: %+v", code, step, a.Steps)
	}
	begun, ended := w.lastAudit(audit.RecordStart), w.lastAudit(audit.RecordEnd)
	if st := w.gateway.Stats().Recording; begun.SessionID != ended.SessionID || st.Started != 1 || st.Finished != 1 {
		t.Errorf("begun %+v, ended %+v; %+v", begun, ended, st)
	}
}

// What becomes of a live session is decided when its recording fails, not when it began.
func TestRecordingSettings_ChangeForLiveSessions(t *testing.T) {
	for _, mode := range []string{api.RecordingFailStop, api.RecordingFailAlarm} {
		t.Run(mode, func(t *testing.T) {
			w := recordingWorld(t, func(r *gateway.Recording) {
				r.FailMode = recording.FailAlarm
				if mode == api.RecordingFailAlarm {
					r.FailMode = recording.FailStop
				}
				r.Recorder.MaxFileBytes = 64 << 10
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
			w.controlSays(map[string]api.RecordingSetting{"app": setting("", mode)})
			noise := make([]byte, 150<<10) // does not shrink
			_, _ = rand.Read(noise)
			go func() { _, _ = in.Write(noise) }()
			n, err := io.Copy(io.Discard, io.LimitReader(out, int64(len(noise))))
			e := w.lastAudit(audit.RecordFail)
			if e.Detail["fail_mode"] != mode {
				t.Errorf("on record: %+v", e)
			}
			if mode == api.RecordingFailStop {
				_ = client.Wait() // it is cut
				if e := w.lastAudit(audit.FlowClose); e.Reason != "recording_failed" {
					t.Errorf("close event %+v", e)
				}
				return
			}
			if err != nil || n != int64(len(noise)) {
				t.Errorf("the session did not go on: %d bytes, %v", n, err)
			}
		})
	}
}

// goneBucket takes nothing.
type goneBucket struct{}

func (goneBucket) Store(context.Context, string, io.ReadSeeker, int64) error {
	return errors.New("the bucket is gone")
}

func (goneBucket) Delete(context.Context, string) error { return errors.New("the bucket is gone") }

func TestRecordingSettings_BucketGone(t *testing.T) {
	w := recordingWorld(t, func(r *gateway.Recording) { r.Recorder.Sink, r.Recorder.SpoolLimit = goneBucket{}, 1 })
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	w.lastAudit(audit.RecordEnd)
	w.eventually("the file waits for the bucket", 30*time.Second, func() bool { return w.gateway.Stats().Recording.Spooled > 1 })
	if _, banner, err := w.login("ubuntu"); err == nil || !strings.Contains(banner, "cannot record it") {
		t.Errorf("login with a full spool: %v (%s)", err, banner)
	}
	w.controlSays(map[string]api.RecordingSetting{"app": setting("", "alarm")})
	if _, banner, err := w.login("ubuntu"); err != nil {
		t.Errorf("login of an application that may go on: %v (%s)", err, banner)
	}
}
