package recording_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/gateway/recording"
)

// sample is a finished recording of five data chunks.
type sample struct {
	b    []byte
	name string
	head string
	key  ed25519.PublicKey
	at   []int // where chunks begin; the last is the trailer's place
}

func newSample(tb testing.TB, id string, r *recording.Recorder, dir string) sample {
	tb.Helper()
	s := start(tb, r, id)
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Start(recording.EventShell, "")
	for i := range 5 {
		c.Output(bytes.Repeat([]byte{byte('a' + i)}, 70<<10)) // more than a chunk
		// What came after a chunk was taken waits for the next one.
		eventually(tb, "a chunk is written", func() bool { return r.Stats().Buffered < 64<<10 })
	}
	c.Close()
	sum := finish(tb, s)
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(sum.Name)))
	if err != nil {
		tb.Fatal(err)
	}
	out := sample{b: b, name: sum.Name, head: sum.Head, key: r.PublicKey()}
	for at := 8; at < len(b)-16; at += 32 + int(binary.BigEndian.Uint32(b[at+4:])) + 96 {
		out.at = append(out.at, at)
	}
	out.at = append(out.at, len(b)-16)
	return out
}

func (s sample) chunk(i int) []byte { return s.b[s.at[i]:s.at[i+1]] }

// with puts parts together behind the magic.
func (s sample) with(parts ...[]byte) []byte {
	return append(bytes.Clone(s.b[:8]), bytes.Join(parts, nil)...)
}

func (s sample) from(i int) []byte { return s.b[s.at[i]:] }

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x10
	return b
}

func TestVerify_Damage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir), func(c *recording.Config) { c.FlushEvery = time.Hour })
	s, other := newSample(t, "s1", r, dir), newSample(t, "s2", r, dir)
	if len(s.at) < 8 {
		t.Fatalf("%d chunks", len(s.at))
	}
	stranger := newRecorder(t)
	forged := newSampleOf(t, stranger)
	for _, tt := range []struct {
		name string
		b    []byte
		cfg  recording.VerifyConfig
		want []string
	}{
		{"a byte of content is flipped", flip(s.b, s.at[3]+40), recording.VerifyConfig{}, []string{"chunk 3", "its content was altered", "after the start"}},
		{"a byte of a time is flipped", flip(s.b, s.at[3]+20), recording.VerifyConfig{}, []string{"chunk 3", "altered"}},
		{"a byte of a hash is flipped", flip(s.b, s.at[4]-64-5), recording.VerifyConfig{}, []string{"chunk 3", "altered"}},
		{"a byte of a signature is flipped", flip(s.b, s.at[4]-5), recording.VerifyConfig{}, []string{"chunk 3", "altered"}},
		{"a byte of a length is flipped", flip(s.b, s.at[3]+4), recording.VerifyConfig{}, []string{"chunk 3", "altered"}},
		{"a byte of a number is flipped", flip(s.b, s.at[3]+15), recording.VerifyConfig{}, []string{"chunk 3", "altered"}},
		{"the header is altered", flip(s.b, s.at[0]+60), recording.VerifyConfig{}, []string{"header was altered"}},
		{"the magic is altered", flip(s.b, 0), recording.VerifyConfig{}, []string{"not a weft recording"}},
		{"the trailer is altered", flip(s.b, len(s.b)-12), recording.VerifyConfig{}, []string{"trailer was altered"}},
		{"the tail is cut in a chunk", s.b[:s.at[4]+50], recording.VerifyConfig{}, []string{"chunk 4", "tail was cut off"}},
		{"the tail is cut between chunks", s.b[:s.at[4]], recording.VerifyConfig{}, []string{"no end", "right up to chunk 3"}},
		{"the end is cut", s.b[:s.at[len(s.at)-3]], recording.VerifyConfig{}, []string{"no end"}},
		{"only the trailer is cut", s.b[:len(s.b)-16], recording.VerifyConfig{}, []string{"trailer"}},
		{"something is added", append(bytes.Clone(s.b), "x"...), recording.VerifyConfig{}, []string{"trailer"}},
		{"the middle is removed", s.with(s.chunk(0), s.chunk(1), s.from(4)), recording.VerifyConfig{}, []string{"chunk 2", "chunks 2 to 3 are missing"}},
		{"one is removed", s.with(s.chunk(0), s.chunk(1), s.from(3)), recording.VerifyConfig{}, []string{"chunk 2 is missing"}},
		{"chunks change places", s.with(s.chunk(0), s.chunk(1), s.chunk(3), s.chunk(2), s.from(4)), recording.VerifyConfig{}, []string{"chunk 2", "not in their order"}},
		{"a chunk stands twice", s.with(s.chunk(0), s.chunk(1), s.chunk(1), s.from(2)), recording.VerifyConfig{}, []string{"chunk 1 stands here once more"}},
		{"a chunk of another recording", s.with(s.chunk(0), s.chunk(1), other.chunk(2), s.from(3)), recording.VerifyConfig{}, []string{"chunk 2", "not from this recording"}},
		{"another file under this name", other.b, recording.VerifyConfig{Name: s.name}, []string{"session s2", "in the place of another"}},
		{"another key", forged.b, recording.VerifyConfig{}, []string{"not a trusted one"}},
		{"another end", s.b, recording.VerifyConfig{Head: other.head}, []string{"not the one on record"}},
		{"nothing", nil, recording.VerifyConfig{}, []string{"header"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Keys = []ed25519.PublicKey{s.key}
			_, err := recording.Verify(fileOf(tt.b), tt.cfg)
			if err == nil {
				t.Fatal("it is taken for valid")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
	for _, f := range []sample{s, other} {
		if _, err := recording.Verify(fileOf(f.b), recording.VerifyConfig{Keys: []ed25519.PublicKey{s.key}, Name: f.name, Head: f.head}); err != nil {
			t.Error(err)
		}
	}
	if _, err := recording.Verify(fileOf(s.b), recording.VerifyConfig{}); err == nil {
		t.Error("valid without a trusted key")
	}
}

func newSampleOf(tb testing.TB, r *recording.Recorder) sample {
	tb.Helper()
	s := start(tb, r, "s1")
	name := s.Name()
	sum := finish(tb, s)
	_ = sum
	b, err := os.ReadFile(filepath.Join(r.Dir(), filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	return sample{b: b, name: name}
}

// No single flipped bit of a file goes unnoticed.
func TestVerify_EveryByte(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir))
	s := start(t, r, "s1")
	shellSession(s)
	sum := finish(t, s)
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(sum.Name)))
	if err != nil {
		t.Fatal(err)
	}
	cfg := recording.VerifyConfig{Keys: []ed25519.PublicKey{r.PublicKey()}, Name: sum.Name, Head: sum.Head}
	for i := range b {
		if _, err := recording.Verify(fileOf(flip(b, i)), cfg); err == nil {
			t.Fatalf("byte %d of %d may be altered", i, len(b))
		}
	}
	for i := range b {
		if _, err := recording.Verify(fileOf(b[:i]), cfg); err == nil {
			t.Fatalf("it may be cut at %d of %d", i, len(b))
		}
	}
}

// Reading hostile files neither panics nor takes memory without end.
func FuzzReader(f *testing.F) {
	dir := f.TempDir()
	r := newRecorder(f, inDir(dir))
	s := start(f, r, "s1")
	shellSession(s)
	sum := finish(f, s)
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(sum.Name)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte("WEFTREC1"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = recording.Stat(fileOf(b))
		_, _ = recording.Verify(fileOf(b), recording.VerifyConfig{AnyKey: true})
		rd, err := recording.NewReader(fileOf(b), nil)
		if err != nil {
			return
		}
		defer rd.Close()
		var rec recording.Record
		for rd.Next(&rec) == nil {
			if rec.Kind == recording.RecordEvent {
				_, _ = rec.Event()
			}
		}
	})
}

// The content of a chunk is written by the gateway, but a Reader does not rely on it.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("o\x01\x05\x03abc"))
	f.Add([]byte("v\x00\x00\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := recording.CountRecords(b)
		if err == nil && n > len(b) {
			t.Errorf("%d records in %d bytes", n, len(b))
		}
	})
}

func TestSeek_KeyFrames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir))
	s := newSample(t, "s1", r, dir)
	info, err := recording.Stat(fileOf(s.b))
	if err != nil || info.Index == nil || len(info.Index.KeyFrames) == 0 || len(info.Index.Chunks) < 5 {
		t.Fatalf("%+v, %v", info, err)
	}
	rd, err := recording.NewReader(fileOf(s.b), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	jumped, err := rd.SeekTo(info.Index, 1, info.End.Ended)
	if err != nil || !jumped {
		t.Fatalf("%v, %v", jumped, err)
	}
	found := false
	var rec recording.Record
	for {
		err := rd.Next(&rec)
		if err != nil {
			if rd.End() == nil {
				t.Errorf("error %v", err)
			}
			break
		}
		found = found || (rec.Kind == recording.RecordKeyFrame && bytes.Contains(rec.Data, []byte("ddd")))
	}
	if !found {
		t.Error("no key frame with the screen")
	}
	var damage *recording.Damage
	broken := flip(s.b, int(info.Index.KeyFrames[0].Offset)+40)
	rd2, err := recording.NewReader(fileOf(broken), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rd2.Close()
	if _, err := rd2.SeekTo(info.Index, 1, info.End.Ended); err == nil {
		if err = rd2.Next(&rec); err == nil {
			t.Error("an altered chunk was read")
		}
	} else if !errors.As(err, &damage) {
		t.Errorf("error %v", err)
	}
}
