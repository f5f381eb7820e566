//go:build unix

package cli

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// runSSH becomes the ssh client; it returns only when that fails.
func runSSH(_ context.Context, path string, argv []string, _ Config) error {
	if err := syscall.Exec(path, argv, os.Environ()); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}
