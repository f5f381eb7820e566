//go:build unix

package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/cli"
)

// syncBuffer is a buffer that one goroutine writes and another reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// eventually polls until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !ok(); {
		select {
		case <-deadline:
			tb.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

type watching struct {
	lines  *bufio.Scanner
	stderr *syncBuffer
	cancel context.CancelFunc
	code   chan int
	out    *os.File // our end
}

// watch runs `target list --watch` with its output in a pipe.
func watch(t *testing.T, socket string, args ...string) *watching {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	v := &watching{lines: bufio.NewScanner(r), stderr: &syncBuffer{}, cancel: cancel, code: make(chan int, 1), out: r}
	go func() {
		defer w.Close()
		v.code <- cli.Main(ctx, cli.Config{
			Args: append([]string{"--socket", socket, "target", "list", "--watch"}, args...), Stdin: strings.NewReader(""), Stdout: w, Stderr: v.stderr,
			Getenv: func(string) string { return "" },
		})
	}()
	t.Cleanup(func() { _ = r.Close() })
	return v
}

// next reads one line: its type, its revision and the hostnames in it.
func (v *watching) next(t *testing.T) string {
	t.Helper()
	if !v.lines.Scan() {
		t.Fatalf("the stream ended: %v; stderr %s", v.lines.Err(), v.stderr)
	}
	var l struct {
		Type          string            `json:"type"`
		SchemaVersion int               `json:"schema_version"`
		Revision      uint64            `json:"revision"`
		Targets       []localapi.Target `json:"targets"`
		Target        localapi.Target   `json:"target"`
	}
	if err := json.Unmarshal(v.lines.Bytes(), &l); err != nil {
		t.Fatalf("line %q: %v", v.lines.Text(), err)
	}
	if l.SchemaVersion != localapi.SchemaVersion {
		t.Errorf("line %q without a schema version", v.lines.Text())
	}
	text := l.Type
	for _, tg := range append(l.Targets, l.Target) {
		if tg.Hostname != "" {
			text += " " + tg.Hostname
		}
	}
	return text
}

func TestWatch_Lines(t *testing.T) {
	w := seedWorld(t)
	w.Targets.Targets = []localapi.Target{target("web-1", 22), target("db-1", 22)}
	l := startLiveAgent(t, w)
	hook := filepath.Join(t.TempDir(), "hook")
	v := watch(t, l.socket, "--hostname", "*-1", "--sort", "hostname", "--exec", `sh -c 'echo "$0 $1" >>"$2"' {{ .type }} '{{.target.hostname}}; echo $HOME' `+hook)
	if got := v.next(t); got != "snapshot db-1 web-1" {
		t.Errorf("first line %q", got)
	}
	l.change(func(w *world) {
		w.Targets.Targets = append(w.Targets.Targets, target("cache-1", 22), target("hidden-2", 22))
	})
	l.change(func(*world) {}) // nothing new: no line
	if got := v.next(t); got != "added cache-1" {
		t.Errorf("got %q", got)
	}
	l.change(func(w *world) {
		w.Targets.Targets[0].Usernames = []string{"root", "alice"}
		w.Targets.Targets = append(w.Targets.Targets[:1], w.Targets.Targets[2:]...)
	})
	if got := []string{v.next(t), v.next(t)}; !cmp.Equal(got, []string{"changed web-1", "removed db-1"}) {
		t.Errorf("got %q", got)
	}
	// The agent restarts, with another world: the difference is told.
	l.stop()
	l.change(func(w *world) { w.Targets.Targets = w.Targets.Targets[:1] })
	eventually(t, "a note", func() bool { return strings.Contains(v.stderr.String(), "Note: the agent has gone") })
	l.start()
	if got := v.next(t); got != "removed cache-1" {
		t.Errorf("got %q", got)
	}
	eventually(t, "another note", func() bool { return strings.Contains(v.stderr.String(), "Note: the agent is back") })
	l.change(func(w *world) { w.Status.ControlConnected = false })
	eventually(t, "a note about control", func() bool { return strings.Contains(v.stderr.String(), "the control plane is not being heard") })
	v.cancel() // as an interrupt does
	if code := <-v.code; code != 130 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(v.stderr.String(), "Error") {
		t.Errorf("stderr %s", v.stderr)
	}
	const want = "added cache-1; echo $HOME\nchanged web-1; echo $HOME\nremoved db-1; echo $HOME\nremoved cache-1; echo $HOME\n"
	if got, err := os.ReadFile(hook); err != nil || string(got) != want {
		t.Errorf("the hook wrote %q, %v; want %q", got, err, want)
	}
}

// Nothing changes, nothing is written, and still the watcher ends when its reader has gone.
func TestWatch_ReaderGone(t *testing.T) {
	v := watch(t, startLiveAgent(t, seedWorld(t)).socket)
	v.next(t)
	if err := v.out.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-v.code:
		if code != 0 || v.stderr.String() != "" {
			t.Errorf("exit code %d, stderr %s", code, v.stderr)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still running")
	}
}

func TestWatch_NoAgent(t *testing.T) {
	v := watch(t, filepath.Join(t.TempDir(), "none"))
	if code := <-v.code; code != 3 {
		t.Errorf("exit code %d, stderr %s", code, v.stderr)
	}
}

// terminalRun runs a command at a terminal of the given size.
type terminalRun struct {
	ours   *os.File
	seen   *syncBuffer // what the terminal got
	stdout *syncBuffer // what a stdout that is no terminal got
	cancel context.CancelFunc
	code   chan int
}

func runAtTerminal(t *testing.T, size pty.Winsize, stdoutToo bool, env map[string]string, args ...string) *terminalRun {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if err := pty.Setsize(ours, &size); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := &terminalRun{ours: ours, seen: &syncBuffer{}, stdout: &syncBuffer{}, cancel: cancel, code: make(chan int, 1)}
	go func() {
		_, _ = io.Copy(r.seen, ours) // its end is an error on some systems
	}()
	go func() {
		defer theirs.Close()
		c := cli.Config{Args: args, Stdin: theirs, Stdout: r.stdout, Stderr: theirs, Getenv: func(k string) string { return env[k] }}
		if stdoutToo {
			c.Stdout = theirs
		}
		r.code <- cli.Main(ctx, c)
	}()
	return r
}

func (r *terminalRun) sees(t *testing.T, text string) {
	t.Helper()
	eventually(t, text, func() bool { return strings.Contains(r.seen.String(), text) })
}

func TestWatch_Terminal(t *testing.T) {
	w := seedWorld(t)
	w.Targets.Targets = []localapi.Target{target("web-1", 22)}
	l := startLiveAgent(t, w)
	r := runAtTerminal(t, pty.Winsize{Rows: 9, Cols: 60}, true, nil, "--socket", l.socket, "target", "list", "--watch", "--columns", "hostname,ip")
	r.sees(t, "│ web-1    │ 10.0.0.1 (a1net)     │\r\n╰──────────┴──────────────────────╯\r\nrows: 1, revision 42 | Ctrl-C ends\r\n")
	l.change(func(w *world) { w.Targets.Targets = append(w.Targets.Targets, target("web-2", 22)) })
	// Six lines up, and the new table in their place, cut to what fits.
	r.sees(t, "\x1b[6A\r\x1b[J╭──────────┬")
	r.sees(t, "│ web-2    │ 10.0.0.1 (a1net)     │\r\n╰")
	l.change(func(w *world) { w.Targets.Targets = append(w.Targets.Targets, target("web-3", 22)) })
	r.sees(t, "rows: 3, revision 42 | 2 lines do not fit | last change: add\r\n")
	if strings.Contains(r.seen.String(), "web-3.a1net") {
		t.Error("a line is longer than the terminal is wide")
	}
	// A terminal of another width has broken the lines anew: the whole screen is drawn.
	if err := pty.Setsize(r.ours, &pty.Winsize{Rows: 20, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	r.sees(t, "\x1b[2J\x1b[H╭──────────┬")
	r.sees(t, "rows: 3, revision 42 | last change: added web-3.a1net SSH 22 | Ctrl-C ends\r\n")
	r.cancel()
	if code := <-r.code; code != 130 {
		t.Errorf("exit code %d", code)
	}
}
