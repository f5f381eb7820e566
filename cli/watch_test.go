package cli_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"weft/cli"
)

// cancelAfter cancels when so many lines were written.
type cancelAfter struct {
	bytes.Buffer
	lines  int
	cancel context.CancelFunc
}

func (c *cancelAfter) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if bytes.Count(c.Bytes(), []byte{'\n'}) >= c.lines {
		c.cancel()
	}
	return n, err
}

// A list with --watch is shown again and again, with --json as one line each, and ends when it is interrupted.
func TestWatchAgain(t *testing.T) {
	for _, tt := range []struct{ name, prefix string }{
		{"flow", `{"schema_version":1,"flows":[{"id":"7"`},
		{"forward", `{"schema_version":1,"forwards":[{"schema_version":1,"name":"db"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			socket := startAgent(t, seedWorld(t))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out := &cancelAfter{lines: 2, cancel: cancel}
			code := cli.Main(ctx, cli.Config{
				Args: []string{"--socket", socket, tt.name, "list", "--watch", "--json"}, Stdin: strings.NewReader(""), Stdout: out, Stderr: io.Discard,
				Getenv: func(string) string { return "" },
			})
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if code != 130 || len(lines) != 2 || lines[0] != lines[1] || !strings.HasPrefix(lines[0], tt.prefix) {
				t.Errorf("exit code %d, output %q", code, lines)
			}
		})
	}
}
