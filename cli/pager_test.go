//go:build unix

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/cli"
)

// commandAtTerminal runs this very program (see runCLI) at a terminal, as a process of its own.
func commandAtTerminal(t *testing.T, name string, args ...string) *terminalRun {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "TERM=xterm")
	ours, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 10, Cols: 80})
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	r := &terminalRun{ours: ours, seen: &syncBuffer{}, stdout: &syncBuffer{}, code: make(chan int, 1)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := ours.Read(b)
			_, _ = r.seen.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	go func() {
		_ = cmd.Wait()
		r.code <- cmd.ProcessState.ExitCode()
	}()
	return r
}

func TestPager(t *testing.T) {
	w := seedWorld(t)
	w.Targets.Targets = nil
	for i := range 20 {
		w.Targets.Targets = append(w.Targets.Targets, target(fmt.Sprintf("web-%02d", i), 22))
	}
	socket := startAgent(t, w)
	dir := t.TempDir()
	pager := filepath.Join(dir, "my pager")
	if err := os.WriteFile(pager, []byte("#!/bin/sh\necho \"PAGED $1 $LESS\"\nexec cat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	quoted := "'" + pager + "' 'two words'"
	for _, tt := range []struct {
		name  string
		env   map[string]string
		rows  uint16
		args  []string
		paged bool
		note  string
	}{
		{name: "a long list", env: map[string]string{"WARP_PAGER": quoted}, paged: true},
		{name: "PAGER", env: map[string]string{"PAGER": quoted}, paged: true},
		{name: "WARP_PAGER before PAGER", env: map[string]string{"PAGER": broken, "WARP_PAGER": quoted}, paged: true},
		{name: "names too", env: map[string]string{"PAGER": quoted}, args: []string{"-o", "name"}, paged: true},
		{name: "a list that fits", env: map[string]string{"PAGER": quoted}, rows: 100},
		{name: "cat is no pager", env: map[string]string{"PAGER": quoted, "WARP_PAGER": "cat"}},
		{name: "--no-paginate", env: map[string]string{"PAGER": quoted}, args: []string{"--no-paginate"}},
		{name: "--json", env: map[string]string{"PAGER": quoted}, args: []string{"--json"}},
		{name: "CSV", env: map[string]string{"PAGER": quoted}, args: []string{"-o", "csv"}},
		{name: "a dumb terminal", env: map[string]string{"PAGER": quoted, "TERM": "dumb"}},
		{name: "a pager that is not there", env: map[string]string{"PAGER": "/nonexistent/pager"}, note: "Note: the pager \"/nonexistent/pager\" failed"},
		{name: "a pager that fails", env: map[string]string{"PAGER": broken}, note: "failed: exit status 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows := tt.rows
			if rows == 0 {
				rows = 10
			}
			r := runAtTerminal(t, pty.Winsize{Rows: rows, Cols: 200}, true, tt.env, append([]string{"--socket", socket, "target", "list"}, tt.args...)...)
			r.sees(t, "web-19")
			if code := <-r.code; code != 0 {
				t.Errorf("exit code %d", code)
			}
			if tt.note != "" {
				r.sees(t, tt.note)
			}
			if got := strings.Contains(r.seen.String(), "PAGED two words FRX\r\n"); got != tt.paged {
				t.Errorf("paged: %v; the terminal saw %.200q", got, r.seen)
			}
			if n := strings.Count(r.seen.String(), "web-07"); n == 0 || n > 3 {
				t.Errorf("the list was written %d times", n)
			}
		})
	}
}

func TestSplitWords(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
		bad  bool
	}{
		{in: "less -FRX", want: []string{"less", "-FRX"}},
		{in: "  a\t'b  c' \"d \\\" e\" f\\ g ''  ", want: []string{"a", "b  c", `d " e`, "f g", ""}},
		{in: `'\'`, want: []string{`\`}},
		{in: "", want: nil},
		{in: `a {{ join .x ", " }}b '{{ c'`, want: []string{"a", `{{ join .x ", " }}b`, "{{ c"}},
		{in: `{{ a\ b`, want: []string{"{{", "a b"}},
		{in: "'open", bad: true},
		{in: `open\`, bad: true},
	} {
		got, err := cli.SplitWords(tt.in)
		if diff := cmp.Diff(tt.want, got); (err != nil) != tt.bad || diff != "" && !tt.bad {
			t.Errorf("%q: %q, %v", tt.in, got, err)
		}
	}
}

func FuzzSplitWords(f *testing.F) {
	for _, s := range []string{"a b", "'a b'", `"a\"b"`, `a\ b`, "''", "'", "\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := cli.SplitWords(s)
		if err != nil {
			return
		}
		// Quoted again, the words are the same.
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again, err := cli.SplitWords(strings.Join(quoted, " "))
		if err != nil || !cmp.Equal(words, again) {
			t.Fatalf("%q is %q; quoted %q it is %q, %v", s, words, quoted, again, err)
		}
	})
}

func TestCurlLine(t *testing.T) {
	for _, tt := range []struct{ goos, socket, path, want string }{
		{"linux", "/run/a.sock", "/v1/targets", "curl --silent --show-error --no-buffer --unix-socket /run/a.sock http://localhost/v1/targets"},
		{"darwin", "/a b/a.sock", "/v1/targets?a=b&c", "curl --silent --show-error --no-buffer --unix-socket '/a b/a.sock' 'http://localhost/v1/targets?a=b&c'"},
		{"windows", `\\.\pipe\weft`, "/v1/targets", `GET /v1/targets HTTP/1.1 (Host: localhost) on \\.\pipe\weft`},
	} {
		got, err := cli.CurlLine(tt.goos, tt.socket, tt.path)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.goos, got, err, tt.want)
		}
	}
}

// Of several targets those that answer are listed, whatever became of the others.
func TestReachable_Mixed(t *testing.T) {
	w := seedWorld(t)
	w.Targets.Targets = nil
	want := "10\n12\n"
	for p := range uint16(4) {
		w.Targets.Targets = append(w.Targets.Targets, target("web-1", 10+p))
	}
	w.Targets.Targets[3].Protocol = "UDP"
	l := startLiveAgent(t, w)
	l.dials[11] = localapi.Error{Code: localapi.CodeProhibited, Message: "not allowed"}
	stdout, stderr, code := run(t, "--socket", l.socket, "target", "list", "--reachable", "-o", "template={{.port}}")
	if code != 0 || stdout != want || stderr != "Note: 2 of 4 did not answer; to see why: --reachable=all\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	stdout, _, _ = run(t, "--socket", l.socket, "target", "list", "--reachable=all", "--sort", "-reachable",
		"-o", "template={{.port}} {{.reachability.reachable}} {{.reachability.code}}")
	if want := "11 false prohibited\n13 false not_tried\n"; !strings.HasPrefix(stdout, want) {
		t.Errorf("stdout %q; want %q first", stdout, want)
	}
	// A failure of the agent is no property of a target.
	l.dials[12] = localapi.Error{Code: localapi.CodeNotConnected, Message: "gone"}
	if stdout, _, code = run(t, "--socket", l.socket, "target", "list", "--reachable=all"); code != 6 || stdout != "" {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	// A few at a time.
	delete(l.dials, 12)
	l.change(func(w *world) {
		for p := range uint16(200) {
			w.Targets.Targets = append(w.Targets.Targets, target("web-1", 1000+p))
		}
	})
	dialling := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.dialling
	}
	l.dialling, l.gate = 0, make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stdout, _, code = run(t, "--socket", l.socket, "target", "list", "--reachable", "-o", "template={{.port}}")
	}()
	eventually(t, "sixteen dials", func() bool { return dialling() == 16 })
	<-time.After(50 * time.Millisecond) // for a seventeenth, which must not come
	if n := dialling(); n != 16 {
		t.Errorf("%d dials at once", n)
	}
	close(l.gate)
	<-ended
	if n := strings.Count(stdout, "\n"); code != 0 || n != 202 {
		t.Errorf("exit code %d, %d rows", code, n)
	}
	// More than a thousand connections are not opened.
	l.change(func(w *world) {
		for range 1001 {
			w.Targets.Targets = append(w.Targets.Targets, target("web-1", 10))
		}
	})
	if _, stderr, code = run(t, "--socket", l.socket, "target", "list", "--reachable"); code != 2 || !strings.Contains(stderr, "the most is 1000") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = cli.Main(t.Context(), cli.Config{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
	})
	return out.String(), errs.String(), code
}
