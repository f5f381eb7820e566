package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"weft/access"
	"weft/gateway/audit"
	"weft/gateway/recording"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
	"weft/internal/kind"
)

// Recording says whether SSH sessions are recorded, and what happens when they cannot be, where control does not say.
type Recording struct {
	Enabled bool
	// Recorder is how; Dir is "recordings" in the gateway's StateDir unless set, and the key, the version and the logger are
	// the gateway's.
	Recorder recording.Config
	// FailMode is what becomes of a session that cannot be recorded; "" means recording.FailStop. Applications has those
	// of single applications, by ID.
	FailMode     recording.FailMode
	Applications map[string]recording.FailMode
}

func (r *Recording) validate(stateDir string) error {
	if r.FailMode == "" {
		r.FailMode = recording.FailStop
	}
	if r.Recorder.Dir == "" {
		r.Recorder.Dir = filepath.Join(stateDir, "recordings")
	}
	check := func(m recording.FailMode) error {
		if m != recording.FailStop && m != recording.FailAlarm {
			return fmt.Errorf("gateway: unknown fail mode %q of recordings", m)
		}
		return nil
	}
	err := check(r.FailMode)
	for _, m := range r.Applications {
		err = errors.Join(err, check(m))
	}
	return err
}

// The files of StateDir that hold the key that signs recordings.
const (
	fileRecordingKey    = "recording.key"
	fileRecordingPublic = "recording_key.pub"
)

func newRecorder(cfg Config) (*recording.Recorder, error) {
	b, err := loadOrMake(cfg.StateDir, fileRecordingKey, func() ([]byte, error) {
		seed := make([]byte, ed25519.SeedSize)
		_, err := rand.Read(seed)
		return []byte(hex.EncodeToString(seed) + "\n"), err
	})
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read %s: want %d bytes in hex", fileRecordingKey, ed25519.SeedSize)
	}
	rc := cfg.Recording.Recorder
	rc.Key, rc.GatewayVersion, rc.Logger = ed25519.NewKeyFromSeed(seed), cfg.Version, cfg.Logger.With(slog.String("part", "recording"))
	r, err := recording.New(rc)
	if err != nil {
		return nil, err
	}
	public := filepath.Join(cfg.StateDir, fileRecordingPublic)
	if err := os.WriteFile(public, []byte(recording.FormatPublicKey(r.PublicKey())), 0o600); err != nil {
		return nil, fmt.Errorf("write public recording key: %w", err)
	}
	return r, nil
}

// runRecorder runs the recorder until the returned function is called, which is after the last session.
func (g *Gateway) runRecorder(ctx context.Context) (stop func() error) {
	if g.recorder == nil {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- g.recorder.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

const (
	endRecordingFailed = "recording_failed" // no recording, no session
	recordingMessage   = "the session cannot be recorded, and this application allows none without a recording"
)

// startRecording begins the recording of a login that was allowed. An error refuses the login.
func (x *sshSession) startRecording() error {
	by := x.s.Grant()
	if on, _ := x.g.recordingOf(by.Application); !on {
		return nil
	}
	if x.g.recorder == nil {
		return x.notRecorded(errors.New("the gateway's recorder could not be set up: see its log of the start"))
	}
	s, self := x.s, x.g.view.Load().Self()
	rec, err := x.g.recorder.Start(recording.SessionConfig{
		GatewayID: self.GatewayID, LogKey: self.SSHLogKey,
		Subject: recording.Subject{
			SessionID: s.ID, AccountID: self.AccountID, UserID: s.UserID, Email: s.Email, DeviceID: s.DeviceID, DeviceName: s.DeviceName,
			TargetID: string(s.TargetID),
			Hostname: s.Hostname, VNETID: string(s.VNET), VNETName: s.VNETName, Login: s.Login(), ApplicationID: by.Application,
			PolicyID: by.Policy, PolicyName: by.PolicyName, PolicyRev: by.Revision, ClientAddress: s.Source, ServerAddress: s.Destination,
			Protocol: string(s.Protocol),
		},
		OnFail: func(err error) { x.recordingFailed("", err) },
	})
	if err != nil {
		return x.notRecorded(err)
	}
	x.rec = rec
	s.SetRecorded(true)
	e := x.g.event(audit.RecordStart, s)
	e.Detail = map[string]string{"recording": rec.Name()}
	if err := x.g.audit.Write(e); err != nil {
		return kind.New(kind.Unavailable, "the login cannot be put on record").WithCause(err)
	}
	return nil
}

// notRecorded refuses the login unless the application goes on without a recording.
func (x *sshSession) notRecorded(err error) error {
	if x.recordingFailed("", err) == recording.FailStop {
		return kind.New(kind.Unavailable, "%s", recordingMessage).WithCause(err)
	}
	return nil
}

// recordingFailed raises the alarm, and ends the session if that is its application's fail mode.
func (x *sshSession) recordingFailed(name string, err error) recording.FailMode {
	_, mode := x.g.recordingOf(x.s.Grant().Application)
	x.s.SetRecorded(false)
	e := x.g.event(audit.RecordFail, x.s)
	e.Error, e.Decision, e.Reason = err.Error(), audit.Deny, endRecordingFailed
	e.Detail = map[string]string{"fail_mode": string(mode)}
	if name != "" {
		e.Detail["recording"] = name
	}
	if mode == recording.FailAlarm {
		x.g.counts.unrecorded.Add(1)
		e.Decision = audit.Allow
	}
	x.g.log.Error("session is not recorded any more", slog.String("session_id", x.s.ID), slog.String("fail_mode", string(mode)),
		slog.Any("error", err))
	werr := x.g.audit.Write(e)
	if mode == recording.FailAlarm && werr == nil {
		return mode
	}
	x.s.Cut(&sessions.CutError{Reason: access.Reason(endRecordingFailed), Message: recordingMessage})
	return recording.FailStop
}

// tap is what a channel is shown to.
func (x *sshSession) tap(channel int) sshproxy.Tap {
	if x.rec == nil {
		return nil
	}
	return x.rec.Channel(channel, "session")
}

func (x *sshSession) recordRefusal(ev sshproxy.Event) {
	channel, err := strconv.Atoi(ev.Detail["channel"])
	if err != nil {
		channel = 0 // of the connection
	}
	x.rec.Event(recording.Event{
		Type: recording.EventRefused, Channel: channel, Name: ev.Detail["request"], Reason: ev.Detail["reason"],
		Destination: ev.Detail["destination"],
	})
}

// endRecording finishes the file and puts its name and the hash of its head on record.
func (x *sshSession) endRecording(ctx context.Context, res *sshproxy.Result) {
	if x.rec == nil {
		return
	}
	reason := recording.EndClosed
	var cut *sessions.CutError
	switch cause := x.s.Cause(); {
	case errors.As(cause, &cut):
		reason = string(cut.Reason)
	case ctx.Err() != nil:
		reason = recording.EndGatewayStop
	}
	failed := x.rec.Err() != nil
	sum, err := x.rec.Close(reason, int64(res.BytesUp), int64(res.BytesDown))
	if err != nil {
		if !failed { // else it was told when it happened
			x.recordingFailed(sum.Name, err)
		}
		return
	}
	e := x.g.event(audit.RecordEnd, x.s)
	e.Detail = map[string]string{"recording": sum.Name, "head": sum.Head, "key_id": recording.KeyID(x.g.recorder.PublicKey())}
	if err := x.g.audit.Write(e); err != nil {
		x.g.log.ErrorContext(ctx, "end of a recording not on record", slog.String("session_id", x.s.ID), slog.Any("error", err))
	}
}
