//go:build !linux

package localsock

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

// UDPOwners is not known on this system.
func UDPOwners(netip.AddrPort) ([]Caller, error) {
	return nil, fmt.Errorf("name the sender of a datagram on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
