package recording_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weft/gateway/recording"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second

func newKey(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func newRecorder(tb testing.TB, mod ...func(*recording.Config)) *recording.Recorder {
	tb.Helper()
	cfg := recording.Config{Dir: filepath.Join(tb.TempDir(), "rec"), Key: newKey(tb), GatewayID: "gw-1", GatewayVersion: "1.2.3"}
	for _, m := range mod {
		m(&cfg)
	}
	r, err := recording.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func inDir(dir string) func(*recording.Config) {
	return func(c *recording.Config) { c.Dir = dir }
}

func subject(id string) recording.Subject {
	return recording.Subject{
		SessionID: id, UserID: "u1", Email: "jdoe@company.com", DeviceID: "d1", DeviceName: "laptop", TargetID: "t1",
		Hostname: "web-1", VNETID: "v1", VNETName: "office-net", Login: "root", ApplicationID: "a1", PolicyID: "p1",
		PolicyName: "engineers", PolicyRev: 7, ClientAddress: netip.MustParseAddrPort("100.96.0.1:40000"),
		ServerAddress: netip.MustParseAddrPort("10.20.0.5:22"), Protocol: "SSH",
	}
}

func start(tb testing.TB, r *recording.Recorder, id string) *recording.Session {
	tb.Helper()
	s, err := r.Start(recording.SessionConfig{Subject: subject(id), OnFail: func(err error) { tb.Errorf("recording failed: %v", err) }})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func finish(tb testing.TB, s *recording.Session) recording.Summary {
	tb.Helper()
	sum, err := s.Close(recording.EndClosed, 10, 20)
	if err != nil {
		tb.Fatal(err)
	}
	return sum
}

func open(tb testing.TB, path string) recording.File {
	tb.Helper()
	f, err := recording.OpenFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	return f
}

// bytesFile is a recording in memory.
type bytesFile struct{ *bytes.Reader }

func (bytesFile) Close() error { return nil }

func fileOf(b []byte) recording.File { return bytesFile{bytes.NewReader(b)} }

// records reads everything; Data is copied.
func records(tb testing.TB, f recording.File, ids ...age.Identity) (*recording.Reader, []recording.Record, error) {
	tb.Helper()
	r, err := recording.NewReader(f, ids)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	var out []recording.Record
	for {
		var rec recording.Record
		if err := r.Next(&rec); err != nil {
			return r, out, err
		}
		rec.Data = bytes.Clone(rec.Data)
		out = append(out, rec)
	}
}

func events(tb testing.TB, recs []recording.Record) []recording.Event {
	tb.Helper()
	var out []recording.Event
	for _, r := range recs {
		if r.Kind != recording.RecordEvent {
			continue
		}
		e, err := r.Event()
		if err != nil {
			tb.Fatal(err)
		}
		e.Time = time.Time{}
		out = append(out, e)
	}
	return out
}

func output(recs []recording.Record, channel int) string {
	var b strings.Builder
	for _, r := range recs {
		if r.Kind == recording.RecordOutput && r.Channel == channel {
			b.Write(r.Data)
		}
	}
	return b.String()
}

// shellSession records a small shell session.
func shellSession(s *recording.Session) {
	c := s.Channel(1, "session")
	c.Env("LANG", "C.UTF-8")
	c.PTY("xterm-256color", 80, 24, []byte{0})
	c.Start(recording.EventShell, "")
	c.Output([]byte("root@web-1:~# "))
	for _, k := range "ls -l" {
		c.Input([]byte(string(k)))
		c.Output([]byte(string(k)))
	}
	c.Input([]byte("\r"))
	c.Output([]byte("\r\ntotal 0\r\nroot@web-1:~# "))
	c.Resize(100, 30)
	c.Exit(0)
	c.Close()
}

func TestRecorder_RoundTrip(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		recipients []string
		ids        []age.Identity
	}{
		{"clear", nil, nil},
		{"encrypted", []string{id.Recipient().String(), sshRecipient}, []age.Identity{id}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := newRecorder(t, inDir(dir), func(c *recording.Config) { c.Recipients = tt.recipients })
			s := start(t, r, "s1")
			shellSession(s)
			sum := finish(t, s)
			path := filepath.Join(dir, filepath.FromSlash(sum.Name))
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
				t.Fatalf("%v, %v", st, err)
			}
			rd, recs, err := records(t, open(t, path), tt.ids...)
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if got, want := output(recs, 1), "root@web-1:~# ls -l\r\ntotal 0\r\nroot@web-1:~# "; got != want {
				t.Errorf("output %q, want %q", got, want)
			}
			zero := uint32(0)
			want := []recording.Event{
				{Type: recording.EventChannelOpen, Channel: 1, Kind: "session"},
				{Type: recording.EventEnv, Channel: 1, Name: "LANG", Value: "C.UTF-8"},
				{Type: recording.EventPTY, Channel: 1, Term: "xterm-256color", Columns: 80, Rows: 24, Modes: "00"},
				{Type: recording.EventShell, Channel: 1},
				{Type: recording.EventCommand, Channel: 1, Command: "ls -l", Source: recording.SourceScreen},
				{Type: recording.EventResize, Channel: 1, Columns: 100, Rows: 30},
				{Type: recording.EventExit, Channel: 1, Status: &zero},
				{Type: recording.EventChannelClose, Channel: 1, BytesUp: recording.Number(6), BytesDown: recording.Number(44)},
			}
			if d := cmp.Diff(want, events(t, recs)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(subject("s1").Email, rd.Header().Email); d != "" {
				t.Error(d)
			}
			if e := rd.End(); e.Reason != recording.EndClosed || e.Commands != 1 || e.Events != len(want) || e.BytesUp != 10 {
				t.Errorf("end %+v", e)
			}
			rep, err := recording.Verify(open(t, path), recording.VerifyConfig{
				Keys: []ed25519.PublicKey{r.PublicKey()}, Name: sum.Name, Head: sum.Head,
			})
			if err != nil || rep.Head != sum.Head {
				t.Errorf("%+v, %v", rep, err)
			}
			info, err := recording.Stat(open(t, path))
			if err != nil || info.End == nil || info.End.Commands != 1 {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

// sshRecipient is nobody's key.
const sshRecipient = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN nobody"

func TestReader_EncryptedWithoutIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir), func(c *recording.Config) { c.Recipients = []string{sshRecipient} })
	s := start(t, r, "s1")
	shellSession(s)
	sum := finish(t, s)
	path := filepath.Join(dir, filepath.FromSlash(sum.Name))
	if _, _, err := records(t, open(t, path)); !errors.Is(err, recording.ErrEncrypted) {
		t.Errorf("error %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("ls -l")) || bytes.Contains(b, []byte("total 0")) {
		t.Error("content is readable")
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recording.NewReader(open(t, path), []age.Identity{other}); err == nil {
		t.Error("a stranger's identity opens it")
	}
}
