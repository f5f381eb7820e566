//go:build e2e && linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// shared is the fixture of all tests; nil when this machine cannot have it, and then missing says why.
var (
	shared  *world
	missing string
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if missing = lacking(); missing != "" {
		return m.Run()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	w, err := newWorld(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "set up the world: %v\n", err)
		return errorsJoin(1, w.close(true))
	}
	shared = w
	code := m.Run()
	return errorsJoin(code, w.close(code != 0))
}

// errorsJoin makes a failure of the clean-up a failure of the run.
func errorsJoin(code int, err error) int {
	if err != nil {
		fmt.Fprintf(os.Stderr, "take down the world: %v\n", err)
		return max(code, 1)
	}
	return code
}

// lacking says what this machine lacks for these tests.
func lacking() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	for _, tool := range []string{"ip", "ssh", "scp", "sftp", "unshare", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	if _, err := os.Stat(sshdPath); errors.Is(err, os.ErrNotExist) {
		return "the OpenSSH server is not installed"
	}
	probe := fmt.Sprintf("weft%d-try", os.Getpid())
	if err := ip(context.Background(), "netns", "add", probe); err != nil {
		return "namespaces cannot be made here: " + err.Error()
	}
	_ = ip(context.Background(), "netns", "delete", probe) // it exists: just made
	return ""
}

// theWorld is the shared fixture, or skips the test with the reason.
func theWorld(t *testing.T) *world {
	t.Helper()
	if shared == nil {
		t.Skip(missing)
	}
	return shared
}

// need skips the test when a program is missing.
func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip(tool + " is not installed")
	}
}

// eventually polls ok until it holds; the message says what was waited for.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
