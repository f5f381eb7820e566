package cli_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/cli"
)

// An agent that accepts and says nothing is told apart from one that is not there.
func TestMain_SilentAgent(t *testing.T) {
	dir, err := os.MkdirTemp("", "weft") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "a.sock")
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "unix", socket) // never accepts: the kernel does
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := cli.Main(ctx, cli.Config{
		Args: []string{"--socket", socket, "status"}, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(string) string { return "" },
	})
	if code != 14 || stdout.Len() > 0 {
		t.Errorf("exit code %d, stdout %q; want 14 and nothing", code, &stdout)
	}
	want := "Error: the weft agent at " + socket + " is running but does not answer\nNext: look at the agent's log, then start it again\n"
	if stderr.String() != want {
		t.Errorf("stderr %q, want %q", &stderr, want)
	}
}
