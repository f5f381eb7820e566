//go:build unix

package lab_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/integration/lab"
)

func start(t *testing.T, script string) *lab.Process {
	t.Helper()
	p, err := lab.Start(t.Context(), lab.Command{Name: "p", LogDir: t.TempDir(), Args: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestProcess_StopsCleanly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	p := start(t, "trap 'echo ending; exit 0' TERM; touch "+file+"; while :; do sleep 0.05; done")
	if err := p.AwaitFile(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(5 * time.Second); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if p.Tail(1) != "ending" {
		t.Errorf("the log ends with %q", p.Tail(1))
	}
}

func TestProcess_IsKilledWithItsGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := start(t, "trap '' TERM; sleep 600 & echo $! > "+file+".tmp; mv "+file+".tmp "+file+"; while :; do sleep 0.05; done")
	if err := p.AwaitFile(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("Stop of a process that ignores SIGTERM: %v", err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for !gone(child) {
		if time.Now().After(deadline) {
			t.Fatalf("its child %d lives on", child)
		}
	}
}

// gone reports whether a process has ended; one that nobody has waited for yet counts as ended.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestProcess_AwaitSaysWhy(t *testing.T) {
	p := start(t, "echo the reason; exit 3")
	err := p.AwaitFile(t.Context(), filepath.Join(t.TempDir(), "never"))
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a process that ended: %v", err)
	}
	p = start(t, "exec sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.AwaitFile(ctx, filepath.Join(t.TempDir(), "never")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a process that does nothing: %v", err)
	}
}

func TestParseExports(t *testing.T) {
	got, err := lab.ParseExports("export A='x'\nexport B=''\nexport C='it'\\''s'\n")
	if diff := cmp.Diff(lab.Env{"A": "x", "B": "", "C": "it's"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, s := range []string{"A='x'\n", "export A=x\n", "export A\n", "export A='x\n"} {
		if _, err := lab.ParseExports(s); err == nil {
			t.Errorf("ParseExports(%q) did not fail", s)
		}
	}
}
