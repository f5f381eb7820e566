//go:build !linux

package netwatch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

func subscribe(context.Context) (<-chan struct{}, error) {
	return nil, fmt.Errorf("subscribe to network changes on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
