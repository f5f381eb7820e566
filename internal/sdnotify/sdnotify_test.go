//go:build unix

package sdnotify_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft/internal/sdnotify"
)

// manager is a notify socket; next returns what came.
func manager(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return path, func() string {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("no message: %v", err)
		}
		return string(b[:n])
	}
}

func env(kv ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == name {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestNotifier_Messages(t *testing.T) {
	path, next := manager(t)
	n := sdnotify.FromEnv(env("NOTIFY_SOCKET", path), 7)
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		send func() error
		want string
	}{
		{"ready", func() error { return n.Ready(ctx, "serving") }, "READY=1\nSTATUS=serving"},
		{"status", func() error { return n.Status(ctx, "connected") }, "STATUS=connected"},
		{"a status cannot say more than one thing", func() error { return n.Status(ctx, "a\nMAINPID=1") }, "STATUS=a MAINPID=1"},
		{"long status", func() error { return n.Status(ctx, strings.Repeat("x", 9000)) }, "STATUS=" + strings.Repeat("x", 512)},
		{"stopping", func() error { return n.Stopping(ctx) }, "STOPPING=1"},
		{"more time", func() error { return n.ExtendTimeout(ctx, 30*time.Second) }, "EXTEND_TIMEOUT_USEC=30000000"},
		{"reloading", func() error { return n.Reloading(ctx, 1500*time.Microsecond) }, "RELOADING=1\nMONOTONIC_USEC=1500"},
		{"reloading without a clock", func() error { return n.Reloading(ctx, 0) }, "RELOADING=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.send(); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != tt.want {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNotifier_WithoutManager(t *testing.T) {
	n := sdnotify.FromEnv(env("WATCHDOG_USEC", "1000"), 7)
	if n.Enabled() || n.Watchdog() != 0 {
		t.Errorf("enabled %v, watchdog %s; want off", n.Enabled(), n.Watchdog())
	}
	if err := n.Ready(t.Context(), ""); err != nil {
		t.Error(err)
	}
	gone := sdnotify.FromEnv(env("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none")), 7)
	if err := gone.Ready(t.Context(), ""); err == nil {
		t.Error("no error although nobody listens at NOTIFY_SOCKET")
	}
}

func TestNotifier_WatchdogPeriod(t *testing.T) {
	for _, tt := range []struct {
		name, usec, pid string
		want            time.Duration
	}{
		{"ours", "3000000", "7", 3 * time.Second},
		{"anybody's", "3000000", "", 3 * time.Second},
		{"another process's", "3000000", "8", 0},
		{"not asked", "", "", 0},
		{"not a number", "soon", "", 0},
		{"negative", "-1", "", 0},
		{"too long", "9223372036854775807", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := sdnotify.FromEnv(env("NOTIFY_SOCKET", "/x", "WATCHDOG_USEC", tt.usec, "WATCHDOG_PID", tt.pid), 7)
			if got := n.Watchdog(); got != tt.want {
				t.Errorf("watchdog %s, want %s", got, tt.want)
			}
		})
	}
}

// The sign of life is given only while the process lives.
func TestNotifier_KeepAlive(t *testing.T) {
	path, next := manager(t)
	n := sdnotify.FromEnv(env("NOTIFY_SOCKET", path, "WATCHDOG_USEC", "60000"), 7)
	ctx, cancel := context.WithCancel(t.Context())
	var dead atomic.Bool
	failed := make(chan error, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.KeepAlive(ctx, func(ctx context.Context) error {
			if dead.Load() {
				<-ctx.Done() // hangs
				return ctx.Err()
			}
			return nil
		}, func(err error) {
			select {
			case failed <- err:
			default:
			}
		})
	}()
	for range 3 {
		if got := next(); got != "WATCHDOG=1" {
			t.Errorf("sent %q, want WATCHDOG=1", got)
		}
	}
	dead.Store(true)
	if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("failed with %v, want the deadline", err)
	}
	cancel()
	<-done
}

// A child of this test is started as systemd starts one: with a listening socket as descriptor 3.
func TestSockets(t *testing.T) {
	if os.Getenv("SDNOTIFY_TEST_CHILD") != "" {
		child(t)
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// sh replaces itself, so that $$ is the child's process ID.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -test.run '^TestSockets$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "SDNOTIFY_TEST_CHILD=1")
	cmd.ExtraFiles = []*os.File{f}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	n, err := c.Read(b)
	if werr := cmd.Wait(); werr != nil {
		t.Fatalf("child: %v\n%s", werr, out.String())
	}
	if err != nil || string(b[:n]) != "taken over" {
		t.Errorf("read %q, %v from the child", b[:n], err)
	}
}

func child(t *testing.T) {
	t.Helper()
	ls, err := sdnotify.Sockets(os.Getenv, os.Unsetenv, os.Getpid())
	if err != nil || len(ls) != 1 {
		t.Fatalf("sockets %v, %v; want one", ls, err)
	}
	if v := os.Getenv("LISTEN_FDS"); v != "" {
		t.Errorf("LISTEN_FDS is still %q", v)
	}
	c, err := ls[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("taken over")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Close(), ls[0].Close()); err != nil {
		t.Error(err)
	}
}

func TestSockets_NotOurs(t *testing.T) {
	unset := func(string) error { return nil }
	for _, tt := range []struct {
		name, pid, fds string
		bad            bool
	}{
		{"no manager", "", "", false},
		{"another process's", "8", "1", false},
		{"none", "7", "0", false},
		{"not a number", "7", "x", true},
		{"negative", "7", "-1", true},
		{"too many", "7", "4096", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ls, err := sdnotify.Sockets(env("LISTEN_PID", tt.pid, "LISTEN_FDS", tt.fds), unset, 7)
			if len(ls) != 0 || (err != nil) != tt.bad {
				t.Errorf("%d sockets, %v", len(ls), err)
			}
		})
	}
}
