//go:build unix

package cli_test

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// At a terminal an interrupt is for the program: neither it nor its port is taken away.
func TestTargetConnect_InterruptIsTheProgramsOwn(t *testing.T) {
	socket := startAgent(t, seedWorld(t))
	warp := build(t, filepath.Join(t.TempDir(), "warp-cli"), "../cmd/warp-cli")
	const script = `trap 'echo caught' INT; echo port {port} ready; while :; do read line || continue; [ "$line" = end ] && exit 5; done`
	cmd := exec.CommandContext(t.Context(), warp, "--socket", socket, "target", "connect", "do-target:7", "--", "sh", "-c", script)
	term, err := pty.Start(cmd)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer term.Close()
	lines := bufio.NewReader(term)
	await := func(word string) string {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if strings.Contains(line, word) {
				return line
			}
			if err != nil {
				t.Fatalf("waiting for %q: %v", word, err)
			}
		}
	}
	port := regexp.MustCompile(`[0-9]+`).FindString(await("ready"))
	echo := func() {
		t.Helper()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "hello\n" {
			t.Errorf("through the port: %q, %v", got, err)
		}
	}
	echo()
	for range 3 {
		if _, err := io.WriteString(term, "\x03"); err != nil {
			t.Fatal(err)
		}
		await("caught")
	}
	echo()
	if _, err := io.WriteString(term, "end\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, lines) // a terminal whose other end has gone reports an error of its own on some systems
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("ended with %v, want status 5", err)
	}
}
