//go:build unix

package diag

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// systemFiles counts by /dev/fd, which every Unix has.
func systemFiles() (open, limit uint64, err error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, 0, fmt.Errorf("read limit of open files: %w", err)
	}
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0, uint64(r.Cur), fmt.Errorf("count open files: %w", err)
	}
	return uint64(len(list)), uint64(r.Cur), nil
}

func systemFreeDisk(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("read free space: %w", err)
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
