//go:build !unix

package sshhost

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

const shellSupported = false

func (s *session) startShell(context.Context, string, bool) (program, error) {
	return nil, fmt.Errorf("shell on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
