package term_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/recording/term"
)

// screen is the text of the rows that are not blank at the end.
func screen(t *term.Terminal) []string {
	_, rows := t.Size()
	var out []string
	for y := range rows {
		out = append(out, t.Line(y))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

func TestTerminal_Write(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"plain", "hello", []string{"hello"}},
		{"lines", "a\r\nb", []string{"a", "b"}},
		{"line feed alone keeps the column", "ab\nc", []string{"ab", "  c"}},
		{"wraps at the edge", "0123456789abc", []string{"0123456789", "abc"}},
		{"a full row does not wrap yet", "0123456789\r\nx", []string{"0123456789", "x"}},
		{"scrolls", "1\r\n2\r\n3\r\n4\r\n5", []string{"2", "3", "4", "5"}},
		{"backspace and overwrite", "abc\b\bX", []string{"aXc"}},
		{"carriage return and erase", "secret\r\x1b[Kok", []string{"ok"}},
		{"cursor address", "\x1b[2;3Hx", []string{"", "  x"}},
		{"insert and delete characters", "abcdef\x1b[1;2H\x1b[2@XY\x1b[2P", []string{"aXYdef"}},
		{"insert and delete lines", "1\r\n2\r\n3\x1b[2;1H\x1b[Lnew\x1b[3;1H\x1b[M", []string{"1", "new", "3"}},
		{"scroll region", "\x1b[2;3r\x1b[1;1Htop\x1b[2;1Ha\r\nb\r\nc\x1b[r", []string{"top", "b", "c"}},
		{"reverse index", "a\x1b[1;1H\x1bMz", []string{"z", "a"}},
		{"tabs", "\tx", []string{"        x"}},
		{"save and restore", "ab\x1b7cd\x1b8X", []string{"abXd"}},
		{"alternate screen comes and goes", "main\x1b[?1049hother\x1b[?1049l!", []string{"main!"}},
		{"line drawing", "\x1b(0lqk\x1b(B!", []string{"┌─┐!"}},
		{"UTF-8", "é日本", []string{"é日本"}},
		{"a wide rune does not stand on the edge", "123456789日", []string{"123456789", "日"}},
		{"half a wide rune is nothing", "日\bx", []string{" x"}},
		{"broken UTF-8", "a\xff\xc3(", []string{"a\uFFFD\uFFFD("}},
		{"combining marks are dropped", "e\u0301x", []string{"ex"}},
		{"title and clipboard are skipped", "\x1b]0;title\x07a\x1b]52;c;xx\x1b\\b", []string{"ab"}},
		{"device control strings are skipped", "\x1bPq#0;2;0\x1b\\a", []string{"a"}},
		{"questions are not answered", "\x1b[c\x1b[6na", []string{"a"}},
		{"repeat", "ab\x1b[3b", []string{"abbbb"}},
		{"erase in display", "a\r\nb\r\nc\x1b[2;1H\x1b[J", []string{"a"}},
		{"reset", "abc\x1bcx", []string{"x"}},
		{"huge parameters", "\x1b[99999999999;99999999999Hx\x1b[99999999A\x1b[1Gy", []string{"y", "", "", "         x"}},
		{"C1 controls are not shown", "a\u009b31mb", []string{"a31mb"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, step := range []int{len(tt.in), 1} { // whole, and byte by byte
				m := term.New(term.Config{Columns: 10, Rows: 4})
				for b := []byte(tt.in); len(b) > 0; b = b[min(step, len(b)):] {
					_, _ = m.Write(b[:min(step, len(b))])
				}
				if d := cmp.Diff(tt.want, screen(m)); d != "" {
					t.Errorf("in steps of %d: %s", step, d)
				}
			}
		})
	}
}

func TestTerminal_Styles(t *testing.T) {
	t.Parallel()
	m := term.New(term.Config{Columns: 40, Rows: 2})
	_, _ = m.Write([]byte("a\x1b[1;31mb\x1b[38;5;200;48;2;1;2;3mc\x1b[0md\x1b[7m e"))
	want := []term.Run{
		{Text: "a"},
		{Text: "b", Style: term.Style{FG: term.Indexed(1), Attr: term.Bold}},
		{Text: "c", Style: term.Style{FG: term.Indexed(200), BG: term.RGB(1, 2, 3), Attr: term.Bold}},
		{Text: "d"},
		{Text: " e", Style: term.Style{Attr: term.Reverse}},
	}
	if d := cmp.Diff(want, m.Runs(0)); d != "" {
		t.Error(d)
	}
}

// More styles than the table holds are survived, and those on the screen stay.
func TestTerminal_ManyStyles(t *testing.T) {
	t.Parallel()
	m := term.New(term.Config{Columns: 20, Rows: 2})
	for i := range 20000 {
		_, _ = fmt.Fprintf(m, "\x1b[1;1H\x1b[38;2;%d;%d;9mx", i/256, i%256)
	}
	want := term.RGB(19999/256, 19999%256, 9)
	if got := m.Runs(0)[0].Style.FG; got != want {
		t.Errorf("colour %x, want %x", got, want)
	}
}

func TestTerminal_Resize(t *testing.T) {
	t.Parallel()
	m := term.New(term.Config{Columns: 10, Rows: 4})
	_, _ = m.Write([]byte("1\r\n2\r\n3\r\n4"))
	m.Resize(5, 2)
	if d := cmp.Diff([]string{"3", "4"}, screen(m)); d != "" {
		t.Error(d)
	}
	m.Resize(1<<20, 1<<20)
	if c, r := m.Size(); c != term.MaxColumns || r != term.MaxRows {
		t.Errorf("size %dx%d", c, r)
	}
}

func equalScreens(tb testing.TB, want, got *term.Terminal) {
	tb.Helper()
	_, rows := want.Size()
	for y := range rows {
		if d := cmp.Diff(want.Runs(y), got.Runs(y)); d != "" {
			tb.Fatalf("row %d: %s", y, d)
		}
	}
	wx, wy, wv := want.Cursor()
	gx, gy, gv := got.Cursor()
	if wx != gx || wy != gy || wv != gv || want.Alternate() != got.Alternate() {
		tb.Fatalf("cursor %d,%d,%v want %d,%d,%v", gx, gy, gv, wx, wy, wv)
	}
}

func TestTerminal_Snapshot(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "hello\r\nworld", "\x1b[31mred\x1b[44m on blue \x1b[0m.", "\x1b[2;3r\x1b[?6h\x1b[2;2Hx", "main\x1b[?1049hfull\x1b[3;3H\x1b[1mscreen",
		"日本\x1b[?25l", "0123456789012345678901234567890", "\x1b(0qq\x0e", "\x1b[44m\x1b[2J",
	} {
		m := term.New(term.Config{Columns: 20, Rows: 5})
		_, _ = m.Write([]byte(in))
		n := term.New(term.Config{Columns: 20, Rows: 5})
		_, _ = n.Write(m.Snapshot())
		equalScreens(t, m, n)
		for _, x := range []*term.Terminal{m, n} {
			_, _ = x.Write([]byte("\x1b[?1049lmore"))
		}
		if d := cmp.Diff(screen(m), screen(n)); d != "" && !strings.Contains(in, "012345") { // the pending wrap is not kept
			t.Errorf("%q, later: %s", in, d)
		}
	}
}

func FuzzTerminal(f *testing.F) {
	for _, s := range []string{
		"hello\r\n", "\x1b[31mred\x1b[0m", "\x1b[?1049hfull\x1b[?1049l", "\x1b]0;t\x07", "日本語\b\b", "\x1b[2;3r\x1bM\x1b[5L\x1b[4M",
		"\x1b[4hxyz\x1b[4l\x1b[3P\x1b[2@\x1b[9X", "\x1b(0lqk", "\x1b[38;2;1;2;3;48;5;7mx\x1b[1J", "\x1b#8\x1b[!p", "\x1b[100b\xff\xfe",
		"\x1bHx\t\x1b[3g\t\x1b[Z", "\x1b[s\x1b[9;9H\x1b[u\x1b7\x1b8", "\x1b[44m\x1b[K\x1b[3@\x1b[2P",
	} {
		f.Add([]byte(s), uint8(10), uint8(4))
	}
	f.Fuzz(func(t *testing.T, b []byte, columns, rows uint8) {
		lines := 0
		m := term.New(term.Config{Columns: int(columns), Rows: int(rows), OnLineFeed: func() { lines++ }, OnMark: func(byte, string) {}})
		half := len(b) / 2
		_, _ = m.Write(b[:half])
		m.Resize(int(rows)+1, int(columns)/2+1)
		_, _ = m.Write(b[half:])
		c, r := m.Size()
		if x, y, _ := m.Cursor(); x < 0 || y < 0 || x >= c || y >= r {
			t.Fatalf("cursor %d,%d outside of %dx%d", x, y, c, r)
		}
		for y := range r {
			for _, run := range m.Runs(y) {
				if strings.ContainsFunc(run.Text, func(r rune) bool { return r < 0x20 || (r >= 0x7f && r < 0xa0) }) {
					t.Fatalf("a control character is on the screen: %q", run.Text)
				}
			}
		}
		if !m.Settled() {
			return
		}
		n := term.New(term.Config{Columns: c, Rows: r})
		_, _ = n.Write(m.Snapshot())
		equalScreens(t, m, n)
		if !bytes.Equal(m.Snapshot(), n.Snapshot()) {
			t.Fatalf("snapshot of the snapshot: %q, %q", m.Snapshot(), n.Snapshot())
		}
	})
}

// BenchmarkTerminal is plain text with colours, as ls and compilers write it.
func BenchmarkTerminal(b *testing.B) {
	m := term.New(term.Config{Columns: 80, Rows: 24})
	text := []byte(strings.Repeat("\x1b[01;34mdirectory\x1b[0m  some-file-name.txt  another one, and words up to the edge\r\n", 100))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, _ = m.Write(text)
	}
}
