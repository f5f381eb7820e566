//go:build unix

package cli_test

import (
	"bufio"
	"io"
	"os"
	"testing"

	"github.com/creack/pty"

	"weft/cli"
)

// Colours are for terminals that want them, and for nothing else.
func TestColour_Terminal(t *testing.T) {
	socket := startAgent(t, seedWorld(t))
	const plain, green = "Status update: Connected\r\n", "Status update: \x1b[32mConnected\x1b[0m\r\n"
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"a terminal", nil, nil, green},
		{"NO_COLOR", map[string]string{"NO_COLOR": "1"}, nil, plain},
		{"a dumb terminal", map[string]string{"TERM": "dumb"}, nil, plain},
		{"--no-ansi", nil, []string{"--no-ansi"}, plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs, err := pty.Open()
			if err != nil {
				t.Skipf("no pseudo-terminal: %v", err)
			}
			defer ours.Close()
			done := make(chan int, 1)
			go func() {
				defer theirs.Close()
				done <- cli.Main(t.Context(), cli.Config{
					Args: append(tt.args, "--socket", socket, "status"), Stdin: theirs, Stdout: theirs, Stderr: os.Stderr,
					Getenv: func(k string) string { return tt.env[k] },
				})
			}()
			got, err := bufio.NewReader(ours).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("first line %q, want %q", got, tt.want)
			}
			// A terminal whose other end has gone reports an error of its own on some systems.
			_, _ = io.Copy(io.Discard, ours)
			if code := <-done; code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
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
