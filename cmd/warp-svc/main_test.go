package main_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/internal/localsock"
)

// build makes the program once per test binary.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "warp-svc")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// exitOf returns the exit code and what was said.
func exitOf(t *testing.T, bin string, env []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestWarpSvc(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	bin, dir := build(t), t.TempDir()
	state, socket := filepath.Join(dir, "state"), filepath.Join(dir, "s")
	cmd := exec.CommandContext(t.Context(), bin, "run", "--state-dir", state, "--socket", socket, "--proxy-listen", "127.0.0.1:0")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(log).ReadString('\n')
	if err != nil || !strings.Contains(line, "agent is ready") {
		t.Fatalf("log %q, %v", line, err)
	}
	_, proxy, _ := strings.Cut(line, "proxy=")
	proxy, _, _ = strings.Cut(proxy, " ")
	c, err := localsock.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", proxy); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}

	other := func(flag, value string) []string {
		args := map[string]string{
			"--state-dir": filepath.Join(dir, "other"), "--socket": filepath.Join(dir, "o"), "--proxy-listen": "127.0.0.1:0",
		}
		args[flag] = value
		out := []string{"run"}
		for k, v := range args {
			out = append(out, k, v)
		}
		return out
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"state directory in use", other("--state-dir", state), 3, "another agent uses the state directory"},
		{"socket in use", other("--socket", socket), 3, "another agent answers at"},
		{"port in use", other("--proxy-listen", proxy), 3, "choose another with --proxy-listen"},
		{"proxy for everybody", other("--proxy-listen", "0.0.0.0:0"), 2, "not a loopback address"},
		{"state directory is a file", other("--state-dir", file), 4, "choose a --state-dir"},
		{"socket path is a file", other("--socket", file), 2, "not a socket"},
		{"unknown flag", []string{"run", "--nope"}, 2, "unknown flag"},
		{"unknown command", []string{"nope"}, 2, "unknown command"},
		{"version", []string{"version"}, 0, "warp-svc "},
		{"help", []string{"run", "--help"}, 0, "/var/lib/weft for root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, out := exitOf(t, bin, nil, tt.args...); code != tt.code || !strings.Contains(out, tt.says) {
				t.Errorf("exit %d, %s; want %d and %q", code, out, tt.code, tt.says)
			}
		})
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v; want exit code 0", err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}
