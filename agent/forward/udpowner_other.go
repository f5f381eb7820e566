//go:build !linux

package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"weft/internal/localsock"
)

// udpOwners is not known on this system.
func udpOwners(netip.AddrPort) ([]localsock.Caller, error) {
	return nil, fmt.Errorf("name the sender of a datagram on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
