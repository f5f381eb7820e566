package tunnel_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"testing"

	"weft/tunnel"
)

// newUDPPair is a client and a gateway over real sockets.
func newUDPPair(tb testing.TB, listen string, h tunnel.Handler) (client, gateway *tunnel.Tunnel) {
	tb.Helper()
	at := netip.MustParseAddr(listen)
	end := func(cfg tunnel.Config) *tunnel.Tunnel {
		key, err := tunnel.NewPrivateKey()
		if err != nil {
			tb.Fatal(err)
		}
		cfg.PrivateKey = key
		tun, err := tunnel.New(cfg)
		if err != nil && at.Is6() {
			tb.Skipf("no IPv6 here: %v", err)
		}
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { closeConn(tun) })
		return tun
	}
	gateway = end(tunnel.Config{Listen: netip.AddrPortFrom(at, 0), Handler: h})
	client = end(tunnel.Config{Listen: netip.AddrPortFrom(at, 0), Addresses: []netip.Addr{client4, client6}})
	to := at
	if at.IsUnspecified() {
		to = netip.MustParseAddr("127.0.0.1")
	}
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	err := client.SetPeer(tunnel.Peer{
		PublicKey: gateway.PublicKey(), Endpoint: netip.AddrPortFrom(to, gateway.ListenPort()), AllowedIPs: all,
	})
	if err == nil {
		err = gateway.SetPeer(tunnel.Peer{PublicKey: client.PublicKey(), AllowedIPs: []netip.Prefix{
			netip.PrefixFrom(client4, 32), netip.PrefixFrom(client6, 128),
		}})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return client, gateway
}

// TestListen: traffic passes on each kind of address, and only the specified
// one is bound.
func TestListen(t *testing.T) {
	for _, listen := range []string{"127.0.0.1", "127.0.0.2", "::1", "0.0.0.0"} {
		t.Run(listen, func(t *testing.T) {
			client, gateway := newUDPPair(t, listen, echo)
			c := dial(t, client, client4, target4)
			want := bytes.Repeat([]byte("weft"), 1<<20)
			go func() {
				if _, err := c.Write(want); err != nil {
					t.Error(err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes of %d, %v", len(got), len(want), err)
			}
			if err := client.Rebind(); err != nil {
				t.Fatal(err)
			}
			d := dial(t, client, client6, target6)
			if err := exchange(d); err != nil {
				t.Error(err)
			}
			if netip.MustParseAddr(listen).IsUnspecified() {
				return
			}
			for _, other := range []string{"127.0.0.3", "::1", "127.0.0.1"} {
				if other == listen {
					continue
				}
				pc, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", net.JoinHostPort(other, strconv.Itoa(int(gateway.ListenPort()))))
				if err != nil {
					t.Errorf("port is taken on %s too: %v", other, err)
					continue
				}
				closeConn(pc)
			}
		})
	}
}

// TestListen_PortInUse is an error at once, not a silent tunnel.
func TestListen_PortInUse(t *testing.T) {
	_, gateway := newUDPPair(t, "127.0.0.1", echo)
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	end, err := tunnel.New(tunnel.Config{
		PrivateKey: key, Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), gateway.ListenPort()),
	})
	if err == nil {
		closeConn(end)
		t.Fatal("two tunnels listen on one port")
	}
	t.Log(err)
}

// TestListen_AnswersFromSameAddress: an end that listens on every address
// answers from the one that the peer used; a firewall, or a peer's NAT, takes
// no other.
func TestListen_AnswersFromSameAddress(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("every address of 127.0.0.0/8 is only there on Linux")
	}
	client, gateway := newUDPPair(t, "0.0.0.0", echo)
	for _, host := range []string{"127.0.0.2", "127.0.0.3", "::1"} {
		endpoint := netip.AddrPortFrom(netip.MustParseAddr(host), gateway.ListenPort())
		all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		if err := client.SetPeer(tunnel.Peer{PublicKey: gateway.PublicKey(), Endpoint: endpoint, AllowedIPs: all}); err != nil {
			t.Fatal(err)
		}
		c := dial(t, client, client4, target4)
		for range 3 {
			if err := exchange(c); err != nil {
				t.Fatal(err)
			}
		}
		// WireGuard answers to where the last packet came from.
		if s, _ := client.PeerStats(gateway.PublicKey()); s.Endpoint != endpoint {
			t.Errorf("asked %s, was answered from %s", endpoint, s.Endpoint)
		}
	}
}
