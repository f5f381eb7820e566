//go:build unix

package dev

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"weft/internal/kind"
)

// lockDir makes sure that one Dev at a time uses dir. The kernel releases the lock when the process ends, however it ends.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, kind.New(kind.Conflict, "another weft dev is running on %s", dir).
			WithHint("end it, or choose another --dir").WithCause(err)
	}
	return func() { _ = f.Close() }, nil // closing releases; nothing was written
}
