package tunneltest

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"weft/tunnel"
)

// rawPackets is how many packets a RawPeer keeps for the test to take.
const rawPackets = 1024

// RawPeer is a WireGuard peer without a TCP/IP stack: the test writes and
// reads IP packets. It can send what no honest client would.
type RawPeer struct {
	Key tunnel.PublicKey
	out chan []byte
	in  chan []byte
}

// NewRawPeer adds a raw peer to a network and makes it a peer of gateway,
// which takes from it only addrs.
func NewRawPeer(tb testing.TB, network *Network, host netip.Addr, gateway *tunnel.Tunnel, endpoint netip.AddrPort, addrs []netip.Addr) *RawPeer {
	tb.Helper()
	p := &RawPeer{out: make(chan []byte), in: make(chan []byte, rawPackets)}
	dev := &rawTUN{peer: p, events: make(chan tun.Event, 1), closed: make(chan struct{})}
	p.Key = WireGuard(tb, network, host, dev, gateway, endpoint, addrs)
	return p
}

// WireGuard runs a stock WireGuard device over dev as a peer of gateway, and
// returns its key. The device is closed, and dev with it, when the test ends.
func WireGuard(tb testing.TB, network *Network, host netip.Addr, dev tun.Device, gateway *tunnel.Tunnel, endpoint netip.AddrPort, addrs []netip.Addr) tunnel.PublicKey {
	tb.Helper()
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		tb.Fatal(err)
	}
	wg := device.NewDevice(dev, network.Bind(host), device.NewLogger(device.LogLevelSilent, ""))
	tb.Cleanup(wg.Close)
	gw := gateway.PublicKey()
	var b strings.Builder
	fmt.Fprintf(&b, "private_key=%s\npublic_key=%s\n", hex.EncodeToString(key[:]), hex.EncodeToString(gw[:]))
	fmt.Fprintf(&b, "endpoint=%s\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n", endpoint)
	if err := wg.IpcSet(b.String()); err != nil {
		tb.Fatal(err)
	}
	if err := wg.Up(); err != nil {
		tb.Fatal(err)
	}
	peer := tunnel.Peer{PublicKey: key.Public()}
	for _, a := range addrs {
		peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(a, a.BitLen()))
	}
	if err := gateway.SetPeer(peer); err != nil {
		tb.Fatal(err)
	}
	return peer.PublicKey
}

// Send sends one IP packet; it returns when WireGuard has taken it.
func (p *RawPeer) Send(tb testing.TB, packet []byte) {
	tb.Helper()
	select {
	case p.out <- packet:
	case <-tb.Context().Done():
		tb.Fatal("packet not taken before the test ended")
	}
}

// Packets are the IP packets that came.
func (p *RawPeer) Packets() <-chan []byte { return p.in }

// rawTUN is the device of a RawPeer.
type rawTUN struct {
	peer   *RawPeer
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func (d *rawTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-d.peer.out:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *rawTUN) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		select {
		case d.peer.in <- append([]byte(nil), b[offset:]...):
		default: // nobody looks
		}
	}
	return len(bufs), nil
}

func (d *rawTUN) Close() error {
	d.once.Do(func() {
		close(d.closed)
		close(d.events)
	})
	return nil
}

func (d *rawTUN) File() *os.File           { return nil }
func (d *rawTUN) MTU() (int, error)        { return 1420, nil }
func (d *rawTUN) Name() (string, error)    { return "raw", nil }
func (d *rawTUN) Events() <-chan tun.Event { return d.events }
func (d *rawTUN) BatchSize() int           { return 1 }
