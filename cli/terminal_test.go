//go:build unix

package cli_test

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"

	"weft/cli"
)

// Colours are for terminals that want them, and for nothing else: what is said is the same both ways.
func TestColour_Terminal(t *testing.T) {
	w := seedWorld(t)
	w.Connectivity.Checks[1].OK, w.Connectivity.OK = false, false
	socket := startAgent(t, w)
	for _, command := range []struct {
		args string
		// golden is the first that is coloured, as a terminal that wants colours gets it.
		golden string
		code   int
	}{
		{"status", "Status update: \x1b[32mConnected\x1b[0m", 0},
		{"tunnel stats", "Tunnel: \x1b[32mup\x1b[0m", 0},
		{"debug connectivity-check", "control: \x1b[32mok\x1b[0m (https://control.company.com accepts this device; 3.5 ms)", 14},
		{"debug log", "\x1b[33mWARN\x1b[0m reopen sockets", 0},
		{"flow close 7", "\x1b[32mSuccess\x1b[0m", 0},
		{"status --check ready", "\x1b[32mready\x1b[0m", 0},
	} {
		for _, tt := range []struct {
			name   string
			env    map[string]string
			args   []string
			colour bool
		}{
			{"a terminal", nil, nil, true},
			{"NO_COLOR", map[string]string{"NO_COLOR": "1"}, nil, false},
			{"a dumb terminal", map[string]string{"TERM": "dumb"}, nil, false},
			{"--no-ansi", nil, []string{"--no-ansi"}, false},
		} {
			t.Run(command.args+" at "+tt.name, func(t *testing.T) {
				socket := socket
				if command.args == "flow close 7" {
					socket = startAgent(t, seedWorld(t)) // it closes only once
				}
				out := atTerminal(t, tt.env, command.code, slices.Concat(tt.args, []string{"--socket", socket}, strings.Fields(command.args)))
				want := command.golden
				if !tt.colour {
					want = regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(want, "")
				}
				if !strings.Contains(out, want) || !tt.colour && strings.Contains(out, "\x1b") {
					t.Errorf("output %q; want %q in it", out, want)
				}
			})
		}
	}
}

// atTerminal runs a command at a pseudo-terminal and returns what it showed.
func atTerminal(t *testing.T, env map[string]string, code int, args []string) string {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer ours.Close()
	done := make(chan int, 1)
	go func() {
		defer theirs.Close()
		done <- cli.Main(t.Context(), cli.Config{
			Args: args, Stdin: theirs, Stdout: theirs, Stderr: io.Discard, Getenv: func(k string) string { return env[k] },
		})
	}()
	// A terminal whose other end has gone reports an error of its own on some systems.
	out, _ := io.ReadAll(ours)
	if got := <-done; got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	return string(out)
}

// At a terminal the end of the target's output ends nc: nobody need press a key.
func TestNC_TerminalEnds(t *testing.T) {
	socket := startAgent(t, seedWorld(t))
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer ours.Close()
	defer theirs.Close()
	code := cli.Main(t.Context(), cli.Config{
		Args: []string{"--socket", socket, "nc", "x", "13"}, Stdin: theirs, Stdout: io.Discard, Stderr: io.Discard,
		Getenv: func(string) string { return "" },
	})
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}
