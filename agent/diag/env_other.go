//go:build !linux

package diag

import (
	"errors"
	"fmt"
	"runtime"
)

func systemFreeMemory() (uint64, error) {
	return 0, fmt.Errorf("read free memory on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
