package localsock

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// senderKept is how long an answer about an address holds: a port can be another account's as soon as it is closed, and
// the kernel's table is long to read.
const senderKept = 100 * time.Millisecond

// UDPSender watches over the address that a client's datagrams come from and its answers go to: whoever takes the port
// over must not take over what the client was let to. Safe for concurrent use.
type UDPSender struct {
	from   netip.AddrPort
	allow  func(Caller) bool
	owners func(netip.AddrPort) ([]Caller, error)

	mu sync.Mutex // guards what follows
	at time.Time  // of the last look
	ok bool
}

// NewUDPSender returns one for an address of this machine. owners nil means UDPOwners.
func NewUDPSender(from netip.AddrPort, allow func(Caller) bool, owners func(netip.AddrPort) ([]Caller, error)) *UDPSender {
	if owners == nil {
		owners = UDPOwners
	}
	return &UDPSender{from: from, allow: allow, owners: owners}
}

// OK reports whether every socket at the address is of an account that is allowed, as of a moment ago. Where the system
// does not tell it is; where there is no socket it is not.
func (s *UDPSender) OK() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.at) >= senderKept {
		s.ok, s.at = s.look(), now
	}
	return s.ok
}

func (s *UDPSender) look() bool {
	ids, err := s.owners(s.from)
	if errors.Is(err, errors.ErrUnsupported) {
		return true // the manual says so
	}
	if err != nil || len(ids) == 0 {
		return false
	}
	for _, id := range ids {
		if !s.allow(id) {
			return false
		}
	}
	return true
}
