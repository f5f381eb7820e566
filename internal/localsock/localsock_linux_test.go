package localsock_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestDial_SquattedSocket: a user's client tells nothing to a socket that another ordinary user put there.
func TestDial_SquattedSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to act as two users")
	}
	dir := shortDir(t)
	must(t, os.Chmod(dir, 0o777|os.ModeSticky))
	path := filepath.Join(dir, "s")
	// The thread that listens is the one whose identity counts.
	made := make(chan net.Listener)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), 23456, ^uintptr(0)); e != 0 {
			t.Error(e)
		}
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Error(err)
			close(made)
			return
		}
		made <- ln
	}()
	ln, ok := <-made
	if !ok {
		t.FailNow()
	}
	t.Cleanup(func() { _ = ln.Close() })
	must(t, os.Chmod(path, 0o777))
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "send me your secrets")
			_ = c.Close()
		}
	}()
	out, err := dialAs(t, 12345, path)
	if err == nil || !strings.Contains(out, "owner uid 23456") {
		t.Errorf("child: %q, %v; want a refusal", out, err)
	}
}
