//go:build unix

package localsock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/internal/localsock"
)

// TestDial_Places: a user's client looks at where the socket lies before it connects. The server is root's throughout,
// which alone would be good enough.
func TestDial_Places(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to act as another user")
	}
	const me, attacker = 12345, 23456
	for _, tt := range []struct {
		name string
		make func(dir, sock string) error
		says string // empty: it connects
	}{
		{"a place of root's", func(string, string) error { return nil }, ""},
		{"a place of the user's", func(dir, sock string) error { return own(me, dir, sock) }, ""},
		{"open to everybody and sticky, of root's", func(dir, _ string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, ""},
		{"open to everybody", func(dir, _ string) error { return os.Chmod(dir, 0o777) }, "0777"},
		{"open to a group", func(dir, _ string) error { return os.Chmod(dir, 0o775) }, "0775"},
		{"a directory of another user's", func(dir, _ string) error { return own(attacker, dir) }, "owner uid 23456"},
		{"a socket of another user's", func(dir, sock string) error {
			return errors.Join(os.Chmod(dir, 0o777|os.ModeSticky), own(attacker, sock))
		}, "owner uid 23456"},
		{"open to everybody further up", func(dir, _ string) error { return os.Chmod(filepath.Dir(dir), 0o777) }, "open to everybody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := shortDir(t)
			must(t, os.Chmod(top, 0o755))
			dir := filepath.Join(top, "d")
			must(t, os.Mkdir(dir, 0o755))
			sock := filepath.Join(dir, "s")
			ln, err := localsock.Listen(t.Context(), sock)
			must(t, err)
			t.Cleanup(func() { _ = ln.Close() })
			accepted := make(chan struct{}, 1)
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					accepted <- struct{}{}
					_, _ = io.WriteString(c, "hello")
					_ = c.Close()
				}
			}()
			must(t, tt.make(dir, sock))
			out, err := dialAs(t, me, sock)
			if tt.says == "" {
				if err != nil || out != "hello" {
					t.Errorf("child: %q, %v", out, err)
				}
				return
			}
			if err == nil || !strings.Contains(out, tt.says) {
				t.Errorf("child: %q, %v; want %q", out, err, tt.says)
			}
			if len(accepted) != 0 {
				t.Error("the socket was connected to")
			}
		})
	}
}

func own(uid int, paths ...string) (err error) {
	for _, p := range paths {
		err = errors.Join(err, os.Chown(p, uid, uid))
	}
	return err
}

// TestDial_Link: a link leads where it leads; the place that counts is the one behind it.
func TestDial_Link(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to act as another user")
	}
	top := shortDir(t)
	must(t, os.Chmod(top, 0o755))
	theirs := filepath.Join(top, "theirs")
	must(t, os.Mkdir(theirs, 0o755))
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(theirs, "s"))
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	must(t, own(23456, theirs))
	link := filepath.Join(top, "link")
	must(t, os.Symlink(filepath.Join(theirs, "s"), link))
	if out, err := dialAs(t, 12345, link); err == nil || !strings.Contains(out, "owner uid 23456") {
		t.Errorf("child: %q, %v", out, err)
	}
}

// TestListen_SquattedStale: a stale socket that another user left in a sticky directory is neither removed nor used.
func TestListen_SquattedStale(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := localsock.Listen(t.Context(), path); !errors.Is(err, localsock.ErrNotSocket) {
		t.Errorf("a file in the socket's place: %v", err)
	}
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o700))
	if _, err := localsock.Listen(t.Context(), path); !errors.Is(err, localsock.ErrNotSocket) {
		t.Errorf("a directory in the socket's place: %v", err)
	}
	must(t, os.Remove(path))
	must(t, os.Symlink("/dev/null", path))
	if _, err := localsock.Listen(t.Context(), path); !errors.Is(err, localsock.ErrNotSocket) {
		t.Errorf("a link in the socket's place: %v", err)
	}
}
