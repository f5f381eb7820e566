package tunnel_test

import (
	"net/netip"
	"testing"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// A client that takes another key keeps its flows, once the gateway gives the new key the old one's addresses.
func TestTunnel_SetPrivateKey(t *testing.T) {
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{PrivateKey: key, Handler: echo, Listen: netip.MustParseAddrPort("192.0.2.1:443")})
	addrs := []netip.Addr{client4}
	client := tunneltest.New(t, network, otherHost, tunnel.Config{Addresses: addrs})
	tunneltest.Connect(t, client, gw, endpoint, addrs)
	c := dial(t, client, client4, target4)
	if err := exchange(c); err != nil {
		t.Fatal(err)
	}
	old := client.PublicKey()
	next, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.SetPeer(tunnel.Peer{PublicKey: next.Public()}); err != nil { // may shake hands, and carry nothing
		t.Fatal(err)
	}
	begun := time.Now()
	if err := client.SetPrivateKey(next); err != nil {
		t.Fatal(err)
	}
	if client.PublicKey() != next.Public() {
		t.Error("the public key is the old one")
	}
	if err := client.ForceHandshake(gw.PublicKey()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; {
		if s, ok := client.PeerStats(gw.PublicKey()); ok && s.LastHandshake.After(begun) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no handshake with the new key within 5 s")
		}
	}
	if err := gw.SetPeer(tunnel.Peer{PublicKey: next.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(client4, 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := gw.RemovePeer(old); err != nil {
		t.Fatal(err)
	}
	if err := exchange(c); err != nil {
		t.Fatalf("the flow did not survive: %v", err)
	}
	if sent, received := c.Bytes(); sent != 2 || received != 2 {
		t.Errorf("%d bytes sent, %d received; want 2 and 2", sent, received)
	}
	if s := client.Stats(); s.PacketsSent == 0 || s.PacketsReceived == 0 {
		t.Errorf("packets: %d sent, %d received", s.PacketsSent, s.PacketsReceived)
	}
	if err := client.SetPrivateKey(tunnel.PrivateKey{}); err == nil {
		t.Error("no key was taken")
	}
}
