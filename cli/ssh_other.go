//go:build !unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// runSSH runs the ssh client and ends with its status.
func runSSH(ctx context.Context, path string, argv []string, cfg Config) error {
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitStatus(e.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}
