//go:build unix

package main_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/agent/localapi/client"
)

// notifySocket is a service manager's; next returns the first message that contains want.
func notifySocket(t *testing.T, dir string) (path string, next func(want string) string) {
	t.Helper()
	path = filepath.Join(dir, "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return path, func(want string) string {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			if strings.Contains(string(b[:n]), want) {
				return string(b[:n])
			}
		}
	}
}

// The program under a service manager: a socket that is there before it, readiness, signs of life, a log that is opened
// anew, and an end that is announced.
func TestWarpSvc_UnderManager(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	dir := t.TempDir()
	bin := build(t)
	socket, log := filepath.Join(dir, "s"), filepath.Join(dir, "log", "warp-svc.log")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	notify, next := notifySocket(t, dir)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh",
		bin, "run", "--state-dir", filepath.Join(dir, "state"), "--socket", socket, "--proxy-listen", "off", "--log-file", log)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=300000", "WEFT_KEYSTORE=file")
	cmd.ExtraFiles = []*os.File{f}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if err := f.Close(); err != nil {
		t.Error(err)
	}

	if got := next("READY=1"); got != "READY=1\nSTATUS=0 sessions, 0 connected" {
		t.Errorf("ready: %q", got)
	}
	if _, err := client.New(socket).Status(t.Context()); err != nil {
		t.Error(err)
	}
	next("WATCHDOG=1")
	if err := os.Rename(log, log+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	next("RELOADING=1")
	next("READY=1")
	if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), "log opened anew") {
		t.Errorf("log after SIGHUP: %q, %v", b, err)
	}
	next("WATCHDOG=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v; want exit code 0\n%s", err, out.String())
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the manager's socket: %v", err)
	}
	if out.Len() > 0 {
		t.Errorf("with a log file, stderr got %q", out.String())
	}
}
