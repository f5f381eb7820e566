//go:build unix

package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"

	"weft/agent/localapi"
	"weft/cli"
)

func (r *terminalRun) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := r.ours.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func TestPick(t *testing.T) {
	w := seedWorld(t)
	w.Targets.Targets = []localapi.Target{target("web-1", 22), target("web-2", 22), target("db-1", 5432)}
	w.Targets.Targets[2].Protocol = "POSTGRES"
	socket := startAgent(t, w)
	for _, tt := range []struct {
		name, keys, want string
		args             []string
		code             int
	}{
		{name: "the first", keys: "\r", want: "db-1.a1net\n"},
		{name: "down and up", keys: "\x1b[B\x1b[B\x1b[A\r", want: "web-1.a1net\n"},
		{name: "beyond the end", keys: "\x1bOB\x1bOB\x1bOB\x1bOB\r", want: "web-2.a1net\n"},
		{name: "by part of the name", keys: "w2\r", want: "web-2.a1net\n"},
		{name: "by two words", keys: "ssh web\x0e\r", want: "web-2.a1net\n"},
		{name: "by port, after a change of mind", keys: "web\x155432\r", want: "db-1.a1net\n"},
		{name: "backspace", keys: "web-3\x7f2\r", want: "web-2.a1net\n"},
		{name: "nothing fits, so Enter does nothing", keys: "zzz\r\x15db\r", want: "db-1.a1net\n"},
		{name: "escape", keys: "\x1b", code: 130},
		{name: "interrupt", keys: "\x03", code: 130},
		{name: "filters", keys: "\r", args: []string{"--hostname", "*-2"}, want: "web-2.a1net\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runAtTerminal(t, pty.Winsize{Rows: 10, Cols: 70}, false, nil, append([]string{"--socket", socket, "target", "pick"}, tt.args...)...)
			r.sees(t, "\x1b[7m> ")
			// Piece by piece, as keys come.
			for _, piece := range strings.SplitAfter(tt.keys, "\r") {
				r.types(t, piece)
			}
			if code := <-r.code; code != tt.code || r.stdout.String() != tt.want {
				t.Errorf("exit code %d, stdout %q; want %d, %q", code, r.stdout, tt.code, tt.want)
			}
		})
	}
}

func TestPick_KeyInPieces(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "a": false, "\x1b": true, "ab\x1b[": true, "\x1bO": true, "\x1b[5": true, "\x1b[5~": false, "\x1b[A": false, "\x1bOA": false,
		"\x1bx": false, "\xe4": true, "\xe4\xb8": true, "\xe4\xb8\x96": false, "\x80": false, "\x1b[Aa": false,
	} {
		if got := cli.Unfinished([]byte(s)); got != want {
			t.Errorf("%q is unfinished: %v", s, got)
		}
	}
	w := seedWorld(t)
	w.Targets.Targets = []localapi.Target{target("web-1", 22), target("web-2", 22)}
	r := runAtTerminal(t, pty.Winsize{Rows: 10, Cols: 70}, false, nil, "--socket", startAgent(t, w), "target", "pick")
	r.sees(t, "\x1b[7m> web-1")
	r.types(t, "\x1b")
	r.types(t, "[")
	r.types(t, "B")
	r.sees(t, "\x1b[7m> web-2")
	r.types(t, "\r")
	if code := <-r.code; code != 0 || r.stdout.String() != "web-2.a1net\n" {
		t.Errorf("exit code %d, stdout %q", code, r.stdout)
	}
}

// The list is drawn in its lines, follows the choice, and leaves nothing behind.
func TestPick_View(t *testing.T) {
	w := seedWorld(t)
	w.Targets.Targets = nil
	for i := range 30 {
		w.Targets.Targets = append(w.Targets.Targets, target(fmt.Sprintf("web-%02d", i), 22))
	}
	r := runAtTerminal(t, pty.Winsize{Rows: 5, Cols: 24}, false, nil, "--socket", startAgent(t, w), "target", "pick")
	r.sees(t, ">   (30 of 30)\r\n\x1b[7m> web-00.a1net  SSH 22  \x1b[0m\r\n  web-01.a1net  SSH 22  \r\n  web-02.a1net  SSH 22  \r\n")
	r.types(t, "\x1b[B\x1b[B\x1b[B")
	r.sees(t, "\x1b[4A\r\x1b[J>   (30 of 30)\r\n  web-01.a1net  SSH 22  \r\n  web-02.a1net  SSH 22  \r\n\x1b[7m> web-03.a1net")
	r.types(t, "29")
	r.sees(t, "> 29  (1 of 30)\r\n\x1b[7m> web-29.a1net  SSH 22  \x1b[0m\r\n")
	r.types(t, "\r")
	if code := <-r.code; code != 0 || r.stdout.String() != "web-29.a1net\n" {
		t.Errorf("exit code %d, stdout %q", code, r.stdout)
	}
	eventually(t, "an empty screen", func() bool { return strings.HasSuffix(r.seen.String(), "\x1b[2A\r\x1b[J") })
}

// --ssh offers a line for each user and logs in.
func TestPick_SSH(t *testing.T) {
	w := seedWorld(t)
	tg := target("web-1", 2222)
	tg.Usernames = []string{"alice", "root"}
	w.Targets.Targets = []localapi.Target{tg}
	bin := t.TempDir()
	script := "#!/bin/sh\nfor a in \"$@\"; do printf '[%s]\\n' \"$a\" >>" + filepath.Join(bin, "out") + "; done\n"
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	// ssh takes the place of the process: another one must be it.
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	socket := startAgent(t, w)
	cmd := commandAtTerminal(t, "warp-cli", "--socket", socket, "target", "pick", "--ssh")
	cmd.sees(t, "\x1b[7m> alice@web-1.a1net  2222")
	cmd.types(t, "root\r")
	if code := <-cmd.code; code != 0 {
		t.Errorf("exit code %d: %s", code, cmd.seen)
	}
	out, err := os.ReadFile(filepath.Join(bin, "out"))
	if err != nil || !strings.Contains(string(out), "[-p]\n[2222]\n") || !strings.Contains(string(out), "[--]\n[root@web-1.a1net]\n") {
		t.Errorf("ssh was called with %s, %v", out, err)
	}
}

// --connect runs the program for the protocol at once, and what is typed after the choice is the program's.
func TestPick_Connect(t *testing.T) {
	w := seedWorld(t)
	db := target("db-1", 5432)
	db.Protocol, db.Usernames = "POSTGRES", []string{"app"}
	w.Targets.Targets = []localapi.Target{target("web-1", 22), db}
	w.Resolution = localapi.Resolution{TargetID: db.ID, Hostname: "db-1", IP: "10.0.0.1", VNETID: "v1", VNETName: "a1net", Ports: []uint16{5432}}
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"psql $* asks\"\nread first\nread second\necho \"got $first and $second\"\nexit 9\n"
	if err := os.WriteFile(filepath.Join(bin, "psql"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	cmd := commandAtTerminal(t, "warp-cli", "--socket", startAgent(t, w), "target", "pick", "--connect")
	cmd.sees(t, "\x1b[7m> db-1.a1net")
	cmd.types(t, "\r")
	cmd.sees(t, "psql host=db-1 hostaddr=127.0.0.1 port=")
	cmd.sees(t, "-U app asks")
	cmd.types(t, "one\n")
	cmd.types(t, "two\n")
	cmd.sees(t, "got one and two")
	if code := <-cmd.code; code != 9 {
		t.Errorf("exit code %d, want that of psql: %s", code, cmd.seen)
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, s := range []string{"abc", "\x1b", "\x1b[A", "\x1b[5~x", "\x1bO", "\x1b[", "\x1b\x1b", "\xff\xfe", "世界\r", "\x1b[200~paste"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		query, found := cli.PressKeys(b, "web-1", "db-1", "世界")
		if !utf8.ValidString(query) || strings.ContainsAny(query, "\x1b\r\n\x00") || len(query) > 260 {
			t.Errorf("the query after %q is %q", b, query)
		}
		if found < 0 || found > 3 {
			t.Errorf("%d found", found)
		}
	})
}
