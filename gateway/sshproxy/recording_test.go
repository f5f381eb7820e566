//go:build unix

package sshproxy_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/gateway/recording"
	"weft/gateway/sshproxy"
)

// recorded records every connection of a world, one at a time.
type recorded struct {
	tb  testing.TB
	w   *world
	r   *recording.Recorder
	dir string
	n   int
	rec *recording.Session
	off atomic.Bool
}

func record(tb testing.TB, w *world, mod ...func(*recording.Config)) *recorded {
	tb.Helper()
	_, key := newKey(tb)
	c := &recorded{tb: tb, w: w, dir: tb.TempDir()}
	cfg := recording.Config{Dir: c.dir, Key: key, HashTransfers: true}
	for _, m := range mod {
		m(&cfg)
	}
	var err error
	if c.r, err = recording.New(cfg); err != nil {
		tb.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session.OnLogin = func(login string, _ access.Decision) error {
		if c.off.Load() {
			return nil
		}
		c.n++
		var err error
		c.rec, err = c.r.Start(recording.SessionConfig{
			Subject: recording.Subject{SessionID: fmt.Sprintf("s%d", c.n), Login: login},
			OnFail:  func(err error) { tb.Errorf("recording failed: %v", err) },
		})
		return err
	}
	w.session.Tap = func(channel int) sshproxy.Tap {
		if c.off.Load() {
			return nil
		}
		return c.rec.Channel(channel, "session")
	}
	return c
}

// finish waits for the end of the connection and returns what was recorded: each event in a few words, and the output.
func (c *recorded) finish() (events []string, output string) {
	c.tb.Helper()
	res := c.w.result()
	sum, err := c.rec.Close(recording.EndClosed, int64(res.BytesUp), int64(res.BytesDown))
	if err != nil {
		c.tb.Fatal(err)
	}
	f, err := recording.OpenFile(filepath.Join(c.dir, filepath.FromSlash(sum.Name)))
	if err != nil {
		c.tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := recording.NewReader(f, nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	var rec recording.Record
	for {
		if err := r.Next(&rec); err != nil {
			if err != io.EOF { //nolint:errorlint // it is returned bare at the end
				c.tb.Fatal(err)
			}
			return events, out.String()
		}
		switch rec.Kind {
		case recording.RecordOutput:
			out.Write(rec.Data)
		case recording.RecordEvent:
			e, err := rec.Event()
			if err != nil {
				c.tb.Fatal(err)
			}
			words := []string{e.Type}
			for _, w := range []string{e.Command, e.Name, e.Operation, filepath.Base(e.Path), e.Result} {
				if w != "" && w != "." {
					words = append(words, w)
				}
			}
			if e.Bytes != nil {
				words = append(words, fmt.Sprint(*e.Bytes))
			}
			if e.Status != nil {
				words = append(words, fmt.Sprint(*e.Status))
			}
			if e.SHA256 != "" {
				words = append(words, "hashed")
			}
			events = append(events, strings.Join(words, " "))
		default:
		}
	}
}

// without drops the events that open and close, whose number depends on the client.
func without(events []string, prefixes ...string) []string {
	return slices.DeleteFunc(events, func(e string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(e, p) })
	})
}

func TestRecording_OpenSSH(t *testing.T) {
	o := newOpenSSH(t)
	c := record(t, o.world)
	config := filepath.Join(o.dir, "config")
	src := filepath.Join(o.dir, "src")
	writeFile(t, src, bytes.Repeat([]byte("x"), 300<<10))
	for _, tt := range []struct {
		name   string
		run    func() run
		events []string
		output string
	}{
		{"exec", func() run { return o.ssh("", "weft", "echo out; exit 3") }, []string{"exec echo out; exit 3", "exit 3"}, "out\n"},
		{
			"script", func() run { return o.ssh("echo one\necho two\n", "-T", "weft") },
			[]string{"shell", "command echo one", "command echo two", "exit 0"},
			"one\ntwo\n",
		},
		{
			"much output", func() run { return o.ssh("", "weft", "head -c 400000 /dev/zero") },
			[]string{"exec head -c 400000 /dev/zero", "truncated 262144", "exit 0"},
			strings.Repeat("\x00", 256<<10),
		},
		{
			"scp", func() run { return o.command("", "scp", "-q", "-F", config, src, "weft:"+filepath.Join(o.dir, "up")) },
			[]string{"subsystem sftp", "sftp write up ok 307200 hashed", "exit 0"},
			"",
		},
		{
			"scp -O", func() run {
				return o.command("", "scp", "-O", "-q", "-F", config, "weft:"+src, filepath.Join(o.dir, "down"))
			},
			[]string{"exec scp -f " + src, "scp read src ok 307200", "exit 0"},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := tt.run(); r.code == 255 {
				t.Fatalf("%+v", r)
			}
			events, output := c.finish()
			// The exit status goes beside the output.
			events = without(events, "channel_", "env", "sftp setstat")
			slices.SortStableFunc(events, func(a, b string) int {
				return strings.Compare(last(a), last(b))
			})
			if d := cmp.Diff(tt.events, events); d != "" {
				t.Error(d)
			}
			if output != tt.output {
				t.Errorf("%d bytes of output, want %d", len(output), len(tt.output))
			}
		})
	}
}

// last sorts the exit behind everything else.
func last(e string) string {
	if strings.HasPrefix(e, "exit ") {
		return "1"
	}
	return "0"
}

// A terminal is recorded as one by the request for it, whatever runs on it.
func TestRecording_OpenSSHTerminal(t *testing.T) {
	needTerminals(t)
	o := newOpenSSH(t)
	c := record(t, o.world)
	term := o.terminal(t, "PS1='$ ' HISTFILE= bash --norc --noprofile -i")
	term.expect(t, "$ ")
	for i, line := range []string{"echo first", "echo second"} {
		if _, err := term.f.WriteString(line + "\r"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the next prompt", func() bool { return strings.Count(term.out.String(), "$ ") >= i+2 })
	}
	if _, err := term.f.WriteString("exit\r"); err != nil {
		t.Fatal(err)
	}
	_ = term.cmd.Wait()
	events, output := c.finish()
	var commands []string
	for _, e := range events {
		if s, ok := strings.CutPrefix(e, "command "); ok {
			commands = append(commands, s)
		}
	}
	if d := cmp.Diff([]string{"echo first", "echo second", "exit"}, commands); d != "" {
		t.Errorf("%s\n%q", d, output)
	}
	if !strings.Contains(output, "second\r\n") {
		t.Errorf("output %q", output)
	}
}
