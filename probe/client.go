package probe

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

// mtu is the size that every path carries (RFC 8200 section 5: 1280 is IPv6's least).
const mtu = 1280

// client is the probe's end of the tunnel: upstream's device on upstream's netstack.
type client struct {
	dev     *device.Device
	net     *netstack.Net
	verdict *verdict
}

// newClient brings the device up. The source of the flow to the target is the first address: an unbound dial takes it.
func newClient(st *state, p plan, endpoint netip.AddrPort) (*client, error) {
	addrs := []netip.Addr{p.source}
	if p.control != p.source {
		addrs = append(addrs, p.control)
	}
	tun, n, err := netstack.CreateNetTUN(addrs, nil, mtu)
	if err != nil {
		return nil, fmt.Errorf("create the network stack: %w", err)
	}
	v := &verdict{}
	dev := device.NewDevice(&watchedTUN{Device: tun, verdict: v}, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	config, err := uapi(st.PrivateKey, p.gateway.PublicKey, endpoint)
	if err == nil {
		err = dev.IpcSet(config)
	}
	if err == nil {
		err = dev.Up()
	}
	if err != nil {
		dev.Close()
		return nil, fmt.Errorf("configure WireGuard: %w", err)
	}
	return &client{dev: dev, net: n, verdict: v}, nil
}

func (c *client) close() { c.dev.Close() }

// uapi is the device's configuration in WireGuard's cross-platform form (https://www.wireguard.com/xplatform/).
func uapi(privateKey, publicKey string, endpoint netip.AddrPort) (string, error) {
	private, err := hexKey(privateKey)
	if err != nil {
		return "", fmt.Errorf("private key: %w", err)
	}
	public, err := hexKey(publicKey)
	if err != nil {
		return "", fmt.Errorf("gateway's public key: %w", err)
	}
	return fmt.Sprintf("private_key=%s\nreplace_peers=true\npublic_key=%s\nendpoint=%s\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n",
		private, public, endpoint), nil
}

func hexKey(s string) (string, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != device.NoisePublicKeySize {
		return "", fmt.Errorf("want %d bytes in standard base64", device.NoisePublicKeySize)
	}
	return hex.EncodeToString(b), nil
}

// resolve turns a gateway's "host:port" into an address.
func resolve(ctx context.Context, endpoint string) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(endpoint)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("gateway's endpoint %q: %w", endpoint, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("gateway's endpoint %q: %w", endpoint, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve the gateway's endpoint: %w", err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}

// handshaken reports whether a handshake was completed since the device came up.
func (c *client) handshaken() (bool, error) {
	s, err := c.dev.IpcGet()
	if err != nil {
		return false, fmt.Errorf("read the device's state: %w", err)
	}
	for line := range strings.SplitSeq(s, "\n") {
		if v, ok := strings.CutPrefix(line, "last_handshake_time_nsec="); ok && v != "0" {
			return true, nil
		}
		if v, ok := strings.CutPrefix(line, "last_handshake_time_sec="); ok && v != "0" {
			return true, nil
		}
	}
	return false, nil
}

// startHandshake sends an initiation now: not when data does it, nor only 5 s after the last.
func (c *client) startHandshake(publicKey string) error {
	b, err := base64.StdEncoding.DecodeString(publicKey)
	if err != nil || len(b) != device.NoisePublicKeySize {
		return fmt.Errorf("gateway's public key: want %d bytes in standard base64", device.NoisePublicKeySize)
	}
	peer := c.dev.LookupPeer(device.NoisePublicKey(b))
	if peer == nil {
		return fmt.Errorf("the device lost its peer")
	}
	peer.ExpireCurrentKeypairs()
	return peer.SendHandshakeInitiation(false)
}

// pollInterval is how often the device, which tells nobody, is asked whether the handshake is done.
const pollInterval = 2 * time.Millisecond
