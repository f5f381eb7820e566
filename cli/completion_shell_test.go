//go:build unix

package cli_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Real shells, at a terminal, complete what the agent knows.
func TestCompletion_RealShells(t *testing.T) {
	socket := startAgent(t, seedWorld(t))
	for _, tt := range []struct {
		shell string
		argv  []string
		setup string
	}{
		{"bash", []string{"--norc", "--noprofile", "-i"}, `bind 'set enable-bracketed-paste off'; eval "$(warp-cli generate-completions bash)"`},
		{"zsh", []string{"-f", "-i"}, `autoload -Uz compinit && compinit -D -u; eval "$(warp-cli generate-completions zsh)"`},
		{"fish", []string{"--no-config", "-i"}, `warp-cli generate-completions fish | source`},
		{"pwsh", []string{"-NoProfile"}, `warp-cli generate-completions powershell | Out-String | Invoke-Expression`},
	} {
		t.Run(tt.shell, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(tt.shell)
			if err != nil {
				t.Skipf("%s is not installed", tt.shell)
			}
			s := startShell(t, path, tt.argv, socket)
			s.types(t, tt.setup+"; echo rea''dy\r")
			s.sees(t, "ready")
			for _, c := range []struct{ typed, want string }{
				{"warp-cli target sh\t", "warp-cli target show "},
				{"warp-cli target show az-target.\t", "az-target.b1net"},
				{"warp-cli vnet sel\ta\t", "vnet select a1net"},
				{"warp-cli target list --username ro\t", "--username root"},
				{"warp-cli target list --port 8\t", "--port 80"},
				{"warp-cli target list --output js\tl\t", "--output jsonl"},
				{"warp-cli target list --columns hostname,usern\t", "--columns hostname,usernames"},
				{"warp-cli target list --attribute hostname=a\t", "hostname=az-target"},
				{"warp-cli ssh bob@az-target.\t", "az-target.b1net"},
				{"warp-cli nc do-target.a1net 22\t", "do-target.a1net 22 "},
				{"warp-cli profile use ac\t", "profile use acme"},
				{"warp-cli forward remove d\t", "forward remove db"},
				{"warp-cli target connect do-target.a1net:22\t", "do-target.a1net:22 "},
			} {
				s.completes(t, c.typed, c.want)
			}
		})
	}
}

// What stands on the line is not run by a press of the tab key.
func TestCompletion_BashRunsNothing(t *testing.T) {
	path, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	s := startShell(t, path, []string{"--norc", "--noprofile", "-i"}, startAgent(t, seedWorld(t)))
	s.types(t, `eval "$(warp-cli generate-completions bash)"; echo rea''dy`+"\r")
	s.sees(t, "ready")
	mark := t.TempDir() + "/ran"
	s.completes(t, "warp-cli target show $(touch "+mark+") \t\x15warp-cli target sh\t", "warp-cli target show ")
	if _, err := os.Stat(mark); err == nil {
		t.Error("the tab key ran a command")
	}
}

func startShell(t *testing.T, path string, argv []string, socket string) *terminalRun {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, argv...)
	cmd.Env = append(os.Environ(), "WARP_SOCKET="+socket, "TERM=xterm", "PS1=$ ", "INPUTRC=/dev/null", "HOME="+t.TempDir(), "HISTFILE=/dev/null", "fish_greeting=")
	ours, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 200})
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	s := &terminalRun{ours: ours, seen: &syncBuffer{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := ours.Read(b)
			_, _ = s.seen.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = ours.Close()
		<-read
		if t.Failed() {
			t.Logf("the terminal saw %q", s.seen)
		}
	})
	return s
}

// completes types a line and waits until the terminal shows want in what came after, then clears the line.
func (r *terminalRun) completes(t *testing.T, typed, want string) {
	t.Helper()
	from := len(r.seen.String())
	// The shell is asked a little at a time: what is typed ahead of a prompt or a completion may be lost.
	for _, piece := range strings.SplitAfter(typed, "\t") {
		r.types(t, piece)
		r.settles()
	}
	eventually(t, want+" after "+typed, func() bool { return strings.Contains(bare(r.seen.String()[from:]), bare(want)) })
	r.types(t, "\x15")
	r.settles()
}

// settles waits until the terminal shows nothing new for a while.
func (r *terminalRun) settles() {
	last := -1
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 30 {
		<-tick.C
		if n := len(r.seen.String()); n == last {
			return
		} else {
			last = n
		}
	}
}

// dress is what terminals get beside text: sequences that move and colour, and single control characters.
var dress = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[=>]|[\x00-\x20]")

// bare is text without its dress and its blanks, which shells draw, take back and draw again.
func bare(s string) string { return dress.ReplaceAllString(s, "") }
