//go:build unix

package cli_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The real program ends without a word when it is interrupted, and when its reader has gone.
func TestWatch_RealProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds warp-cli")
	}
	warp := build(t, filepath.Join(t.TempDir(), "warp-cli"), "../cmd/warp-cli")
	l := startLiveAgent(t, seedWorld(t))
	start := func() (*exec.Cmd, *bufio.Reader, *bytes.Buffer, func()) {
		cmd := exec.CommandContext(t.Context(), warp, "--socket", l.socket, "target", "list", "--watch")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(r)
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"type":"snapshot","schema_version":1,"revision":42,`) {
			t.Fatalf("first line %q, %v", line, err)
		}
		return cmd, lines, &stderr, func() { _ = r.Close() }
	}
	cmd, _, stderr, hangUp := start()
	defer hangUp()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 || stderr.Len() > 0 {
		t.Errorf("interrupted: %v, stderr %s", err, stderr)
	}
	cmd, _, stderr, hangUp = start()
	hangUp()
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("reader gone: %v, stderr %s", err, stderr)
	}
}
