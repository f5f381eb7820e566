package tunnel_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// countingBind counts the handshakes that an end begins.
type countingBind struct {
	conn.Bind
	initiations atomic.Int64
}

func (b *countingBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	for _, m := range bufs {
		if len(m) >= 4 && binary.LittleEndian.Uint32(m) == 1 { // type 1, section 5.4.2 of WireGuard's paper
			b.initiations.Add(1)
		}
	}
	return b.Bind.Send(bufs, ep)
}

// A handshake that traffic began right after the key changed is not thrown away for another one: see ForceHandshake.
func TestTunnel_SetPrivateKeyShakesHandsOnce(t *testing.T) {
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{Handler: echo, Listen: netip.MustParseAddrPort("192.0.2.1:443")})
	addrs := []netip.Addr{client4}
	bind := &countingBind{Bind: network.Bind(otherHost)}
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	client, err := tunnel.NewWithBind(tunnel.Config{PrivateKey: key, Addresses: addrs}, bind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	tunneltest.Connect(t, client, gw, endpoint, addrs)
	c := dial(t, client, client4, target4)
	if err := exchange(c); err != nil {
		t.Fatal(err)
	}
	for n, slow := int64(0), true; slow; {
		n, slow = rekeyUnderTraffic(t, client, gw.PublicKey(), c, bind)
		if !slow && n != 1 {
			t.Errorf("%d handshakes were begun; want 1", n)
		}
	}
}

// rekeyUnderTraffic changes the key, sends something, asks for a handshake, twice, and counts those that begin. The gateway
// does not know the key: nobody answers, and nothing but this end decides. It is slow when a handshake may begin again.
func rekeyUnderTraffic(t *testing.T, client *tunnel.Tunnel, gw tunnel.PublicKey, c net.Conn, bind *countingBind) (n int64, slow bool) {
	t.Helper()
	next, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	before, begun := bind.initiations.Load(), time.Now()
	if err := client.SetPrivateKey(next); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := client.ForceHandshake(gw); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); bind.initiations.Load() == before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("no handshake was begun")
		}
	}
	if err := client.ForceHandshake(gw); err != nil {
		t.Fatal(err)
	}
	return bind.initiations.Load() - before, time.Since(begun) > tunnel.RekeySettleForTest
}
