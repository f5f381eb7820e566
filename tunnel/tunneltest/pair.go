package tunneltest

import (
	"log/slog"
	"net/netip"
	"testing"

	"weft/tunnel"
)

// Hosts of a pair on its network.
var (
	gatewayHost = netip.MustParseAddr("192.0.2.1")
	clientHost  = netip.MustParseAddr("192.0.2.2")
)

// Config describes a pair.
type Config struct {
	// Handler serves the flows that arrive at the gateway; nil rejects all.
	Handler tunnel.Handler
	// Addresses are the client's tunnel addresses; none means 100.64.0.1 and
	// fd00:64::1.
	Addresses []netip.Addr
	// MTUBytes of both ends; 0 means the tunnel's default.
	MTUBytes int
	// Limits of the gateway end.
	Limits tunnel.Limits
	Logger *slog.Logger
}

// DefaultAddresses are the client's addresses when a Config names none.
func DefaultAddresses() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("fd00:64::1")}
}

// NewPair returns a client and a gateway that are peers of each other over a
// network in memory. Both are closed when the test ends.
func NewPair(tb testing.TB, cfg Config) (client, gateway *tunnel.Tunnel) {
	tb.Helper()
	network := new(Network)
	if cfg.Handler == nil {
		cfg.Handler = rejectAll{}
	}
	if len(cfg.Addresses) == 0 {
		cfg.Addresses = DefaultAddresses()
	}
	gateway = New(tb, network, gatewayHost, tunnel.Config{
		Handler: cfg.Handler, MTUBytes: cfg.MTUBytes, Limits: cfg.Limits, Logger: cfg.Logger,
	})
	client = New(tb, network, clientHost, tunnel.Config{
		Addresses: cfg.Addresses, MTUBytes: cfg.MTUBytes, Logger: cfg.Logger,
	})
	Connect(tb, client, gateway, netip.AddrPortFrom(gatewayHost, gateway.ListenPort()), cfg.Addresses)
	return client, gateway
}

// New returns one end on a network, with a key of its own unless cfg has one.
// It is closed when the test ends.
func New(tb testing.TB, network *Network, host netip.Addr, cfg tunnel.Config) *tunnel.Tunnel {
	tb.Helper()
	if cfg.PrivateKey.IsZero() {
		key, err := tunnel.NewPrivateKey()
		if err != nil {
			tb.Fatal(err)
		}
		cfg.PrivateKey = key
	}
	end, err := tunnel.NewWithBind(cfg, network.Bind(host))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := end.Close(); err != nil {
			tb.Error(err)
		}
	})
	return end
}

// Connect makes two ends peers: the client knows the gateway's endpoint and
// sends it everything, the gateway takes from the client its addresses.
func Connect(tb testing.TB, client, gateway *tunnel.Tunnel, endpoint netip.AddrPort, addrs []netip.Addr) {
	tb.Helper()
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if err := client.SetPeer(tunnel.Peer{PublicKey: gateway.PublicKey(), Endpoint: endpoint, AllowedIPs: all}); err != nil {
		tb.Fatal(err)
	}
	var own []netip.Prefix
	for _, a := range addrs {
		own = append(own, netip.PrefixFrom(a, a.BitLen()))
	}
	if err := gateway.SetPeer(tunnel.Peer{PublicKey: client.PublicKey(), AllowedIPs: own}); err != nil {
		tb.Fatal(err)
	}
}
