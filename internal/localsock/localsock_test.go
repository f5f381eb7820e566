//go:build unix

package localsock_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/internal/localsock"
)

// envChild makes the test binary dial a socket and say what came of it.
const envChild = "LOCALSOCK_TEST_DIAL"

func TestMain(m *testing.M) {
	if path := os.Getenv(envChild); path != "" {
		os.Exit(child(path))
	}
	goleak.VerifyTestMain(m)
}

func child(path string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := localsock.Dial(ctx, path)
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
		return 1
	}
	b, err := io.ReadAll(c)
	_, _ = os.Stdout.Write(b)
	if err != nil {
		return 1
	}
	return 0
}

// dialAs runs the child as another user.
func dialAs(t *testing.T, uid uint32, path string) (string, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to run a process as another user")
	}
	// The test binary must be reachable by that user.
	exe, err := os.Executable()
	must(t, err)
	b, err := os.ReadFile(exe)
	must(t, err)
	dir, err := os.MkdirTemp("/tmp", "localsock") //nolint:usetesting // t.TempDir is closed to other users
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	bin := filepath.Join(dir, "child")
	must(t, os.WriteFile(bin, b, 0o755))
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Env = []string{envChild + "=" + path}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.Output()
	return string(out), err
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// shortDir is a directory whose paths fit a socket address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ls") //nolint:usetesting // t.TempDir is too long for a socket on some systems
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestListen_CallerIsThisProcess(t *testing.T) {
	path := filepath.Join(shortDir(t), "weft", "warp.sock")
	ln, err := localsock.Listen(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	want := os.FileMode(0o600)
	dirWant := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		want, dirWant = 0o666, 0o755
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
		t.Errorf("socket mode %v, %v; want %v", fi.Mode(), err, want)
	}
	if fi, err := os.Stat(filepath.Dir(path)); err != nil || fi.Mode().Perm() != dirWant {
		t.Errorf("directory mode %v, %v; want %v", fi.Mode(), err, dirWant)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			close(accepted)
			return
		}
		accepted <- c
	}()
	client, err := localsock.Dial(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	server, ok := (<-accepted).(*localsock.Conn)
	if !ok {
		t.Fatal("Accept returns another type")
	}
	t.Cleanup(func() { _ = server.Close() })
	me, err := localsock.Self()
	must(t, err)
	for side, c := range map[string]*localsock.Conn{"server sees": server, "client sees": client} {
		id, err := c.Caller()
		if err != nil || id.UID != uint32(os.Geteuid()) || id.PID != os.Getpid() || !id.SameUser(me) || id.Privileged != (os.Geteuid() == 0) {
			t.Errorf("%s %+v, %v; want this process", side, id, err)
		}
	}
	// Half-close: the answer still comes.
	must(t, client.CloseWrite())
	if b, err := io.ReadAll(server); err != nil || len(b) != 0 {
		t.Errorf("server reads %q, %v", b, err)
	}
	_, err = server.Write([]byte("bye"))
	must(t, err)
	must(t, server.Close())
	if b, err := io.ReadAll(client); err != nil || string(b) != "bye" {
		t.Errorf("client reads %q, %v", b, err)
	}
}

func TestListen_StaleAndLive(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	ln, err := localsock.Listen(t.Context(), path)
	must(t, err)
	if _, err := localsock.Listen(t.Context(), path); !errors.Is(err, localsock.ErrInUse) {
		t.Errorf("a second listener: %v; want ErrInUse", err)
	}
	c, err := localsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatalf("the refused listener broke the first: %v", err)
	}
	must(t, c.Close())
	must(t, ln.Close())
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays after Close: %v", err)
	}
	if _, err := localsock.Dial(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dial: %v; want ErrNotExist", err)
	}
	// What a crash leaves behind.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	if _, err := localsock.Dial(t.Context(), path); !errors.Is(err, localsock.ErrNobody) {
		t.Errorf("dial a stale socket: %v; want ErrNobody", err)
	}
	ln, err = localsock.Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	must(t, ln.Close())
}

func TestListen_Refuses(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(file, link))
	open := filepath.Join(dir, "open")
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o777))
	for _, tt := range []struct {
		name, path string
		want       error
		says       string
	}{
		{"a file", file, localsock.ErrNotSocket, ""},
		{"a link to a file", link, localsock.ErrNotSocket, ""},
		{"a directory that everybody writes", filepath.Join(open, "s"), localsock.ErrUnsafe, "0777"},
		{"a path that is too long", filepath.Join(dir, strings.Repeat("x", 120)), nil, "limit of 103"},
		{"a file as directory", filepath.Join(file, "s"), syscall.ENOTDIR, ""},
		{"nothing", "", nil, "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := localsock.Listen(t.Context(), tt.path)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want %v, %q", err, tt.want, tt.says)
			}
		})
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

// TestListen_StartRace: of many that start at once over a stale socket, one wins and works.
func TestListen_StartRace(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	won := make(chan *localsock.Listener, 8)
	for range cap(won) {
		go func() {
			ln, err := localsock.Listen(t.Context(), path)
			if err != nil && !errors.Is(err, localsock.ErrInUse) {
				t.Error(err)
			}
			won <- ln
		}()
	}
	var winner *localsock.Listener
	for range cap(won) {
		if ln := <-won; ln != nil {
			if winner != nil {
				t.Error("two listeners on one path")
				_ = ln.Close()
				continue
			}
			winner = ln
		}
	}
	if winner == nil {
		t.Fatal("nobody listens")
	}
	c, err := localsock.Dial(t.Context(), path)
	must(t, err)
	must(t, c.Close())
	must(t, winner.Close())
}

// TestListen_OtherUser: root's socket can be reached by others, who are seen as themselves.
func TestListen_OtherUser(t *testing.T) {
	dir := shortDir(t)
	must(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "s")
	ln, err := localsock.Listen(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	seen := make(chan localsock.Caller, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		id, err := c.(*localsock.Conn).Caller()
		if err == nil {
			seen <- id
		}
		_, _ = io.WriteString(c, "hello")
		_ = c.Close()
	}()
	out, err := dialAs(t, 12345, path)
	if err != nil || out != "hello" {
		t.Fatalf("child: %q, %v", out, err)
	}
	id := <-seen
	me, err := localsock.Self()
	must(t, err)
	if id.UID != 12345 || id.Privileged || id.Operates(me) {
		t.Errorf("caller %+v", id)
	}
}

func TestCaller_Operates(t *testing.T) {
	root := localsock.Caller{UID: 0, Privileged: true}
	alice, bob := localsock.Caller{UID: 1000}, localsock.Caller{UID: 1001}
	winAlice := localsock.Caller{SID: "S-1-5-21-1"}
	winAdmin := localsock.Caller{SID: "S-1-5-21-1", Privileged: true}
	winBob := localsock.Caller{SID: "S-1-5-21-2"}
	for _, tt := range []struct {
		name          string
		caller, owner localsock.Caller
		want          bool
	}{
		{"root at root's", root, root, true},
		{"root at a user's", root, alice, true},
		{"a user at their own", alice, alice, true},
		{"a user at another's", bob, alice, false},
		{"a user at root's", alice, root, false},
		{"filtered token at the own", winAlice, winAlice, true},
		{"filtered token at an elevated agent of the same SID", winAlice, winAdmin, false},
		{"elevated token", winAdmin, winBob, true},
		{"another SID", winBob, winAlice, false},
		{"uid 0 is not the empty SID's", localsock.Caller{}, winAlice, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.caller.Operates(tt.owner); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestDefaultPaths(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv(localsock.EnvSocket, "/elsewhere/s")
	if got := localsock.DefaultPath(); got != "/elsewhere/s" {
		t.Errorf("with %s: %s", localsock.EnvSocket, got)
	}
	if got := localsock.ListenPath(); got != "/elsewhere/s" {
		t.Errorf("with %s: %s", localsock.EnvSocket, got)
	}
	t.Setenv(localsock.EnvSocket, "")
	if os.Geteuid() == 0 {
		if got := localsock.ListenPath(); got != "/run/weft/warp.sock" && runtime.GOOS == "linux" {
			t.Errorf("root listens at %s", got)
		}
		return
	}
	if got := localsock.ListenPath(); got != filepath.Join(dir, "weft", "warp.sock") {
		t.Errorf("a user listens at %s", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := localsock.ListenPath(); !strings.Contains(got, "weft-"+strconv.Itoa(os.Geteuid())) {
		t.Errorf("without a runtime directory: %s", got)
	}
}
