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

// The tab key does not wait for an agent that says nothing.
func TestCompletion_SilentAgent(t *testing.T) {
	dir, err := os.MkdirTemp("", "weft") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "a.sock")
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var stdout, stderr bytes.Buffer
	begin := time.Now()
	code := cli.Main(t.Context(), cli.Config{
		Args: []string{"__complete", "--socket", socket, "nc", ""}, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(string) string { return "" },
	})
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if code != 0 || stdout.String() != ":4\n" {
		t.Errorf("exit code %d, stdout %q; want 0 and no word", code, &stdout)
	}
}
