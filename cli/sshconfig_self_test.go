//go:build unix

package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A link by which the program is found stays in the file, and a check at a connection does not put the real path, which
// an upgrade takes away, in its place.
func TestSSHConfig_KeepsTheLinkToTheProgram(t *testing.T) {
	dir := t.TempDir()
	warp := build(t, filepath.Join(dir, "warp-cli-1.2.3"), "../cmd/warp-cli")
	link := filepath.Join(dir, "bin", "warp-cli")
	if err := os.Mkdir(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(warp, link); err != nil {
		t.Fatal(err)
	}
	socket := startAgent(t, seedWorld(t))
	home := t.TempDir()
	run := func(path string, program string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Args[0] = program
		cmd.Env = []string{"HOME=" + home, "PATH=" + path}
		if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(strings.Join(args, " "), "match") {
			t.Fatalf("%s %q: %v: %s", program, args, err, out)
		}
	}
	check := func(when string) {
		t.Helper()
		text := read(t, filepath.Join(home, ".ssh", "weft", "config"))
		if !strings.Contains(text, "ProxyCommand "+link+" ") || strings.Contains(text, "1.2.3") {
			t.Errorf("%s:\n%s", when, text)
		}
	}
	run(filepath.Dir(link), link, "--socket", socket, "ssh-config", "--install")
	check("installed")
	run("/nowhere", link, "--socket", socket, "ssh-config", "match", "web-1", "22")
	check("after a connection")
}
