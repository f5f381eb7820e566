//go:build !linux

package sdnotify

import "time"

// Monotonic returns 0: only systemd asks for it.
func Monotonic() time.Duration { return 0 }
