package replay_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
	"weft/gateway/recording/term"
)

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

// recorded returns the file of a session that f fills.
func recorded(tb testing.TB, f func(c *recording.Channel)) []byte {
	tb.Helper()
	dir := tb.TempDir()
	r, err := recording.New(recording.Config{
		Dir: dir, Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), FlushEvery: time.Millisecond,
	})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := r.Start(recording.SessionConfig{Subject: recording.Subject{SessionID: "s1"}})
	if err != nil {
		tb.Fatal(err)
	}
	c := s.Channel(1, "session")
	f(c)
	c.Close()
	sum, err := s.Close(recording.EndClosed, 0, 0)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(sum.Name)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func reader(tb testing.TB, b []byte) *recording.Reader {
	tb.Helper()
	r, err := recording.NewReader(memoryFile{bytes.NewReader(b)}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	return r
}

func rows(t *term.Terminal) []string {
	_, n := t.Size()
	var out []string
	for y := range n {
		out = append(out, t.Line(y))
	}
	return out
}

// The screen at a time is the same whether it is played up to there or jumped to.
func TestScreen_SeekShowsWhatPlayingShows(t *testing.T) {
	t.Parallel()
	b := recorded(t, func(c *recording.Channel) {
		c.PTY("xterm", 60, 10, nil)
		c.Start(recording.EventShell, "")
		for i := range 12000 {
			c.Output(fmt.Appendf(nil, "\x1b[3%dmline %d of many, to fill the screen and the file\x1b[0m\r\n", i%8, i))
		}
		c.Output([]byte("\x1b[?1049hfull screen"))
	})
	info, err := recording.Stat(memoryFile{bytes.NewReader(b)})
	if err != nil || info.Index == nil || len(info.Index.KeyFrames) < 2 {
		t.Fatalf("%+v, %v", info, err)
	}
	span := info.End.Ended.Sub(info.Header.Started)
	jumps := 0
	for i := range 8 {
		at := info.Header.Started.Add(span * time.Duration(i+1) / 8)
		show := func(seek bool) []string {
			r := reader(t, b)
			jumped := false
			if seek {
				if jumped, err = r.SeekTo(info.Index, 1, at); err != nil {
					t.Fatal(err)
				}
				if jumped {
					jumps++
				}
			}
			s := replay.NewScreen(1, jumped, nil)
			var rec recording.Record
			for r.Next(&rec) == nil && !rec.Time.After(at) {
				s.Apply(&rec)
			}
			return rows(s.Term)
		}
		if d := cmp.Diff(show(false), show(true)); d != "" {
			t.Errorf("at %s: %s", at.Sub(info.Header.Started), d)
		}
	}
	if jumps == 0 {
		t.Error("nothing was jumped over")
	}
}

// A film's frames, put together, are the screen.
func TestFilm_FramesMakeTheScreen(t *testing.T) {
	t.Parallel()
	b := recorded(t, func(c *recording.Channel) {
		c.PTY("xterm", 40, 8, nil)
		c.Start(recording.EventShell, "")
		for i := range 300 {
			c.Output(fmt.Appendf(nil, "\x1b[%d;%dH%d", i%8+1, i%37+1, i))
		}
		c.Resize(30, 6)
		c.Output([]byte("\x1b[2Jend"))
	})
	s := replay.NewScreen(1, false, nil)
	var shown []string
	film := replay.NewFilm(s, func(f replay.Frame) error {
		if f.Whole {
			shown = make([]string, f.Rows)
		}
		for _, r := range f.Changed {
			shown[r.Y] = ""
			for _, run := range r.Runs {
				shown[r.Y] += run.Text
			}
		}
		return nil
	})
	if err := replay.Read(reader(t, b), replay.Handler{Record: film.Apply}); err != nil {
		t.Fatal(err)
	}
	if err := film.Flush(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rows(s.Term), shown); d != "" {
		t.Error(d)
	}
}

func TestRead_Lines(t *testing.T) {
	t.Parallel()
	b := recorded(t, func(c *recording.Channel) {
		c.PTY("xterm", 20, 5, nil)
		c.Start(recording.EventShell, "")
		c.Output([]byte("progress 1%\rprogress 100%\r\n\x1b[31mred\x1b[0m\r\na line that is longer than the screen\r\n\x1b[?1049hfull screen\x1b[?1049lno line feed"))
	})
	var got []string
	if err := replay.Read(reader(t, b), replay.Handler{Line: func(l replay.Line) error {
		got = append(got, l.Text)
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"progress 100%", "red", "a line that is longer than the screen", "no line feed"}, got); d != "" {
		t.Error(d)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	b := recorded(t, func(c *recording.Channel) {
		c.PTY("xterm", 80, 5, nil)
		c.Start(recording.EventShell, "")
		c.Output([]byte("$ "))
		c.Input([]byte("grep Needle file\r"))
		c.Output([]byte("grep Needle file\r\nhay, nee\x1b[1mdle\x1b[0m, hay\r\n\x1b[?1049hneedle in a full screen"))
	})
	for _, tt := range []struct {
		name string
		q    replay.Query
		want []string
	}{
		{"all", replay.Query{Text: "NEEDLE"}, []string{"output $ grep Needle file", "command grep Needle file", "output hay, needle, hay", "output needle in a full screen"}},
		{"commands", replay.Query{Text: "needle", Commands: true}, []string{"command grep Needle file"}},
		{"output", replay.Query{Text: "hay,", Output: true}, []string{"output hay, needle, hay"}},
		{"nothing", replay.Query{Text: "thimble"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			if err := replay.Search(reader(t, b), tt.q, func(m replay.Match) error {
				got = append(got, m.Kind+" "+m.Text)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(sorted(tt.want), sorted(got)); d != "" {
				t.Error(d)
			}
		})
	}
	stop := errors.New("enough")
	if err := replay.Search(reader(t, b), replay.Query{Text: "e"}, func(replay.Match) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

func sorted(s []string) string {
	out := slices.Clone(s)
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestClean(t *testing.T) {
	t.Parallel()
	if got := replay.Clean("a\x1b[31mb\u202ec\nd\u009b"); got != "a?[31mb?c d?" {
		t.Errorf("%q", got)
	}
}
