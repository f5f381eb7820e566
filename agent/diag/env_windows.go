package diag

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

func systemFiles() (open, limit uint64, err error) {
	return 0, 0, fmt.Errorf("count handles: %w", errors.ErrUnsupported)
}

func systemFreeDisk(dir string) (uint64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("read free space: %w", err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("read free space: %w", err)
	}
	return free, nil
}
