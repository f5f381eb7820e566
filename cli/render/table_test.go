package render_test

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/cli/render"
)

func TestTable_NeverTruncates(t *testing.T) {
	long := strings.Repeat("x", 500)
	var b strings.Builder
	if err := render.Table(&b, []string{"A", "B"}, [][]string{{long, ""}, {"two  spaces ", "世界"}}); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("─", 502)
	want := "╭" + line + "┬──────╮\n" +
		"│ A" + strings.Repeat(" ", 500) + "│ B    │\n" +
		"├" + line + "┼──────┤\n" +
		"│ " + long + " │      │\n" +
		"├" + line + "┼──────┤\n" +
		"│ two  spaces " + strings.Repeat(" ", 489) + "│ 世界 │\n" +
		"╰" + line + "┴──────╯\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestAge(t *testing.T) {
	for _, tt := range []struct {
		seconds float64
		want    string
	}{
		{0, "0 s"},
		{59.9, "59 s"},
		{60, "1 min"},
		{3599, "59 min"},
		{3600, "1 h"},
		{47 * 3600, "47 h"},
		{48 * 3600, "2 days"},
		{-1, "unknown time"},
		{1e300, "unknown time"},
	} {
		if got := render.Age(tt.seconds); got != tt.want {
			t.Errorf("Age(%v) = %q, want %q", tt.seconds, got, tt.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\x07")
	f.Add("\u202eright to left\u0085")
	f.Add("broken \xff\xfe")
	f.Fuzz(func(t *testing.T, s string) {
		got := render.Clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("Clean(%q) is not UTF-8: %q", s, got)
		}
		if strings.ContainsAny(got, "\x00\x07\x1b\n\r\t\u0085\u009b\u202e\u2066") {
			t.Errorf("Clean(%q) = %q", s, got)
		}
		if again := render.Clean(got); again != got {
			t.Errorf("Clean is not stable: %q, then %q", got, again)
		}
	})
}

func TestStyle_Colour(t *testing.T) {
	if got := (render.Style{}).Red("x"); got != "x" {
		t.Errorf("without colour: %q", got)
	}
	if got := (render.Style{Colour: true}).Green("x"); got != "\x1b[32mx\x1b[0m" {
		t.Errorf("with colour: %q", got)
	}
}

func BenchmarkTargets10000(b *testing.B) {
	l := &localapi.TargetList{Targets: make([]localapi.Target, 10_000)}
	for i := range l.Targets {
		l.Targets[i] = localapi.Target{
			ID: "0193f22a-9df3-78e3-b5bb-7ab631903306", Protocol: "SSH", Port: 22,
			Attributes: map[string]string{"hostname": "do-target"},
			Addresses:  []localapi.Address{{IP: "10.116.0.3", VNETName: "a1net"}},
			Usernames:  []string{"alice", "bob"},
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	var cols []render.Column
	for _, key := range render.TableColumns {
		c, err := render.FindColumn(key)
		if err != nil {
			b.Fatal(err)
		}
		cols = append(cols, c)
	}
	rows := render.Rows(l.Targets)
	b.ReportAllocs()
	for b.Loop() {
		if err := render.Targets(null, cols, rows); err != nil {
			b.Fatal(err)
		}
	}
}
