package targets

import (
	"strings"

	"weft/internal/kind"
)

// Protocols returns every protocol, in the order of the documentation.
func Protocols() []Protocol {
	return []Protocol{SSH, TCP, UDP, RDP, VNC, HTTP, HTTPS, Postgres, MySQL, Redis, MongoDB, Kubernetes}
}

// ParseProtocol accepts the exact upper-case name, or any case.
func ParseProtocol(s string) (Protocol, error) {
	for _, p := range Protocols() {
		if EqualHostname(string(p), s) {
			return p, nil
		}
	}
	names := make([]string, 0, 16)
	for _, p := range Protocols() {
		names = append(names, string(p))
	}
	return "", kind.Field("/protocol", "protocol %s is unknown", quote(s)).WithHint("one of %s", strings.Join(names, ", "))
}

// Known reports whether p is spelled exactly as one of the protocols.
func (p Protocol) Known() bool {
	q, err := ParseProtocol(string(p))
	return err == nil && q == p
}

// Carries reports whether p runs over tr: UDP over udp only, RDP over both, the
// rest over tcp. An unknown protocol runs over nothing.
func (p Protocol) Carries(tr Transport) bool {
	switch p {
	case UDP:
		return tr == TransportUDP
	case RDP:
		return tr == TransportTCP || tr == TransportUDP
	case SSH, TCP, VNC, HTTP, HTTPS, Postgres, MySQL, Redis, MongoDB, Kubernetes:
		return tr == TransportTCP
	}
	return false
}

// Terminated reports whether the gateway terminates p (SSH) rather than relaying it.
func (p Protocol) Terminated() bool { return p == SSH }
