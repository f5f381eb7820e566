//go:build !unix

package cli

import (
	"context"
	"os"
)

// notifyResize never has a value here: the next change draws for the size that the terminal then has.
func notifyResize() (resized <-chan os.Signal, stop func()) { return nil, func() {} }

// waitForReaderGone cannot know here; the next write fails.
func waitForReaderGone(ctx context.Context, _ *os.File) { <-ctx.Done() }
