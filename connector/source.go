package connector

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weft/internal/kind"
)

// SourceMode says when the connector vouches that targets see its connections come from its own address. SSH logins are then
// good from that address alone (the critical option source-address), so that it must not do so where anything between
// translates addresses: such logins would be refused.
type SourceMode string

// The modes.
const (
	// SourceAuto, the default, is for a target on a network that this machine is in itself: no router is between. Not where
	// Config.Map says that the address is another's.
	SourceAuto   SourceMode = "auto"
	SourceAlways SourceMode = "always"
	SourceNever  SourceMode = "never"
)

// SourceModes are all, the default first.
func SourceModes() []SourceMode { return []SourceMode{SourceAuto, SourceAlways, SourceNever} }

func (m *SourceMode) validate() error {
	if *m == "" {
		*m = SourceAuto
	}
	if !slices.Contains(SourceModes(), *m) {
		return kind.New(kind.Invalid, "a connector vouches for its address auto, always or never, not %q", *m)
	}
	return nil
}

// linksAge is how long what is known of the machine's networks counts.
const linksAge = 5 * time.Second

// linkNetworks knows the networks of this machine. Safe for concurrent use.
type linkNetworks struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	at       time.Time
	prefixes []netip.Prefix // with the machine's own address in each
}

// between reports whether this machine reaches dst from its address src without a router.
func (l *linkNetworks) between(src, dst netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.prefixes == nil || now.Sub(l.at) >= linksAge {
		l.prefixes, l.at = ownPrefixes(), now
	}
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool {
		return p.Addr() == src && (p.Contains(dst) && !p.IsSingleIP() || src == dst)
	})
}

// ownPrefixes are the networks of all interfaces; none when the system does not tell, and then nothing is vouched for.
func ownPrefixes() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	out := make([]netip.Prefix, 0, len(addrs))
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ones, _ := n.Mask.Size()
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			out = append(out, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return out
}

// source is the address that the target sees a connection come from, as far as this connector vouches for it. asked is
// the destination of the request, before Config.Map.
func (d *dialer) source(conn *net.TCPConn, asked netip.AddrPort) netip.Addr {
	local, remote := tcpAddr(conn.LocalAddr()), tcpAddr(conn.RemoteAddr())
	switch d.mode {
	case SourceAlways:
		return local
	case SourceAuto:
		if _, translated := d.translate[asked]; !translated && d.links.between(local, remote) {
			return local
		}
	case SourceNever:
	}
	return netip.Addr{}
}

func tcpAddr(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap()
}
