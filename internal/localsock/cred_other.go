//go:build unix && !linux && !darwin

package localsock

import (
	"errors"
	"fmt"
	"runtime"
)

// peerCredentials is not known for this system, so that every caller is refused.
func peerCredentials(int) (Caller, error) {
	return Caller{}, fmt.Errorf("peer credentials on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// servicePath is where the system's service listens.
func servicePath() string { return "/var/run/weft/warp.sock" }
