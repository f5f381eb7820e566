// Package forward keeps local ports and Unix sockets that lead to targets. They are declared
// once, kept in the agent's state directory, and are there again after a restart. The target
// is looked up at each connection; a connection that cannot be made is reset at once.
package forward

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weft/agent/fault"
	"weft/internal/kind"
)

// The networks of a forward's local side.
const (
	TCP  = "tcp"
	UDP  = "udp"
	Unix = "unix"
)

// Spec is a forward as it is declared and kept.
type Spec struct {
	Name string `json:"name"`
	// Network is TCP, UDP or Unix; Listen is ADDRESS:PORT or an absolute path.
	Network string `json:"network"`
	Listen  string `json:"listen"`
	// Target is a hostname, target ID or address within VNET, which is an ID.
	Target      string    `json:"target"`
	Port        uint16    `json:"port"`
	VNET        string    `json:"vnet"`
	AllowRemote bool      `json:"allow_remote"`
	AllUsers    bool      `json:"all_users"`
	CreatedAt   time.Time `json:"created_at"`
}

const (
	maxNameBytes = 64
	maxPathBytes = 100 // unix(7) has room for 108, other systems for less
)

// ParseListen reads PORT, ADDRESS:PORT or unix:PATH. network is TCP or UDP for a port, and must not be UDP for a path.
func ParseListen(s, network string) (gotNetwork, listen string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		switch {
		case network == UDP:
			return "", "", invalid("a Unix socket carries no datagrams of a target: %q", s)
		case !filepath.IsAbs(path) || filepath.Clean(path) != path:
			return "", "", invalid("the socket's path %q is not absolute and plain", path)
		case len(path) > maxPathBytes:
			return "", "", invalid("the socket's path has %d bytes, more than %d", len(path), maxPathBytes)
		case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return "", "", invalid("the socket's path %q holds control characters", path)
		}
		return Unix, path, nil
	}
	host, port := "127.0.0.1", s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
		if strings.EqualFold(host, "localhost") {
			host = "127.0.0.1"
		}
		if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
			host = host[1 : len(host)-1]
		}
	}
	addr, aerr := netip.ParseAddr(host)
	n, perr := strconv.ParseUint(port, 10, 16)
	if aerr != nil || perr != nil || addr.Zone() != "" || port[0] == '+' {
		return "", "", invalid("%q is not PORT, ADDRESS:PORT or unix:PATH", s)
	}
	return cmp.Or(network, TCP), netip.AddrPortFrom(addr.Unmap(), uint16(n)).String(), nil
}

// validate refuses what cannot be served, or must not be.
func (s *Spec) validate() error {
	if !validName(s.Name) {
		return invalid("the name %q of a forward may hold 1 to %d letters, digits, '-', '_' and '.'", s.Name, maxNameBytes)
	}
	if s.Target == "" || s.Port == 0 {
		return invalid("a forward needs a target and its port")
	}
	if s.Network != TCP && s.Network != UDP && s.Network != Unix {
		return invalid("a forward cannot listen over %q", s.Network)
	}
	network, listen, err := ParseListen(s.source(), networkOrNone(s.Network))
	if err != nil {
		return err
	}
	if network != s.Network || listen != s.Listen {
		return invalid("a forward cannot listen at %q over %q", s.Listen, s.Network)
	}
	if s.Network == Unix {
		return nil
	}
	ap := netip.MustParseAddrPort(s.Listen) // ParseListen wrote it
	if !ap.Addr().IsLoopback() && !s.AllowRemote {
		return invalid("%s is not a loopback address: everybody who reaches it could use your access", ap.Addr()).
			WithHint("use 127.0.0.1:%d, or --allow-remote if that is what you want", ap.Port())
	}
	return nil
}

// source is Listen as ParseListen reads it.
func (s *Spec) source() string {
	if s.Network == Unix {
		return "unix:" + s.Listen
	}
	return s.Listen
}

// loopback reports whether only this machine reaches the port.
func (s *Spec) loopback() bool {
	ap, err := netip.ParseAddrPort(s.Listen)
	return err == nil && ap.Addr().IsLoopback()
}

func networkOrNone(n string) string {
	if n == Unix {
		return ""
	}
	return n
}

func validName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(string(kind.Invalid), format, args...)
}
