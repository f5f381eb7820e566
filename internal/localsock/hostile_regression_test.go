//go:build unix

package localsock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"weft/internal/localsock"
)

// The sticky bit keeps others from renaming a file, but not the owner of the directory: whoever makes
// /tmp/weft-1000 with mode 1777 before its user comes could replace the user's socket at any time.
func TestListen_StickyDirectoryOfAnother_regression(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := filepath.Join(t.TempDir(), "weft-1000")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	l, err := localsock.Listen(t.Context(), filepath.Join(dir, "warp.sock"))
	if err != nil {
		t.Fatalf("a sticky directory of our own: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if l, err := localsock.Listen(t.Context(), filepath.Join(dir, "warp.sock")); !errors.Is(err, localsock.ErrUnsafe) {
		if err == nil {
			_ = l.Close()
		}
		t.Errorf("a sticky directory of another user: %v, want ErrUnsafe", err)
	}
}
