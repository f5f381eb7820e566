//go:build !linux && !windows

package localsock

import (
	"errors"
	"fmt"
	"net"
)

// NamesTCPPeers says whether TCPPeer works on this system.
const NamesTCPPeers = false

// TCPPeer names the account behind the other side of a TCP connection within this host, or fails with ErrUnknownPeer.
// On systems that do not tell it fails with errors.ErrUnsupported.
func TCPPeer(net.Conn) (Caller, error) {
	return Caller{}, fmt.Errorf("name the peer of a TCP connection: %w", errors.ErrUnsupported)
}
