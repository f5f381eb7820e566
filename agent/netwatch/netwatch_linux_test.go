package netwatch_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/agent/netwatch"
)

// TestWatch_Address adds an address in a network namespace of its own.
func TestWatch_Address(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("needs the ip command")
	}
	runtime.LockOSThread() // never unlocked: the thread and its namespace end with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs a network namespace: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan struct{}, 8)
	events, err := netwatch.SubscribeForTest(ctx) // in this thread, that is in its namespace
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		netwatch.CoalesceForTest(ctx, 10*time.Millisecond, events, func() { called <- struct{}{} })
	}()
	run := exec.CommandContext(ctx, ip, "link", "set", "lo", "up")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	select {
	case <-called:
	case <-time.After(5 * time.Second):
		t.Error("a link went up and nobody was told")
	}
	cancel()
	<-done
}
