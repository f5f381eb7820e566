package tunnel_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"weft/tunnel"
)

// newStockSystem is what a benchmark compares with: upstream's netstack as the
// client, and as the gateway the like of it (it cannot be one itself): one
// packet at a time, no segmentation offload, no merging.
func newStockSystem(b *testing.B) system {
	b.Helper()
	clientKey, gatewayKey := newKey(b), newKey(b)
	gatewayTUN := newStockTUN(b)
	stockDevice(b, gatewayTUN, gatewayKey, fmt.Sprintf("listen_port=0\npublic_key=%s\nallowed_ip=%s/32\n", hexKey(clientKey.Public()), client4))
	port := gatewayTUN.port(b)
	clientTUN, tnet, err := netstack.CreateNetTUN([]netip.Addr{client4}, nil, 1280)
	if err != nil {
		b.Fatal(err)
	}
	stockDevice(b, clientTUN, clientKey, fmt.Sprintf("public_key=%s\nendpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\n", hexKey(gatewayKey.Public()), port))
	return system{name: "stock", dial: func(ctx context.Context, port uint16) (net.Conn, error) {
		return tnet.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(target4.Addr(), port))
	}}
}

func hexKey(k tunnel.PublicKey) string { return hex.EncodeToString(k[:]) }

func newKey(b *testing.B) tunnel.PrivateKey {
	b.Helper()
	k, err := tunnel.NewPrivateKey()
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func stockDevice(b *testing.B, dev tun.Device, key tunnel.PrivateKey, config string) {
	b.Helper()
	wg := device.NewDevice(dev, conn.NewStdNetBind(), device.NewLogger(device.LogLevelSilent, ""))
	b.Cleanup(wg.Close)
	if err := wg.IpcSet("private_key=" + hex.EncodeToString(key[:]) + "\n" + config); err != nil {
		b.Fatal(err)
	}
	if err := wg.Up(); err != nil {
		b.Fatal(err)
	}
	if s, ok := dev.(*stockTUN); ok {
		s.wg = wg
	}
}

// stockTUN is the gateway's device: a channel endpoint, one packet per call.
type stockTUN struct {
	ep     *channel.Endpoint
	stack  *stack.Stack
	wg     *device.Device
	events chan tun.Event
	ctx    context.Context //nolint:containedctx // ends Read
	cancel context.CancelFunc
	once   sync.Once
}

func newStockTUN(b *testing.B) *stockTUN {
	b.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	sack, wait := tcpip.TCPSACKEnabled(true), tcpip.TCPTimeWaitTimeoutOption(time.Millisecond)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &wait) // or the connections of the benchmark would hang
	d := &stockTUN{ep: channel.New(1024, 1280, ""), stack: s, events: make(chan tun.Event, 1)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if err := s.CreateNIC(1, d.ep); err != nil {
		b.Fatal(err)
	}
	s.SetPromiscuousMode(1, true)
	s.SetSpoofing(1, true)
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	fwd := tcp.NewForwarder(s, 0, 4096, func(r *tcp.ForwarderRequest) {
		var wq waiter.Queue
		ep, err := r.CreateEndpoint(&wq)
		r.Complete(false)
		if err == nil {
			ep.SocketOptions().SetDelayOption(false)
			c := gonet.NewTCPConn(&wq, ep)
			serveBench(c, localPort(c))
		}
	})
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, fwd.HandlePacket)
	b.Cleanup(s.Destroy)
	return d
}

func localPort(c net.Conn) uint16 {
	a, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return a.AddrPort().Port()
}

func (d *stockTUN) port(b *testing.B) (port int) {
	b.Helper()
	text, err := d.wg.IpcGet()
	if err != nil {
		b.Fatal(err)
	}
	for rest := text; rest != ""; {
		var line string
		if _, err := fmt.Sscanf(rest, "%s\n", &line); err != nil {
			break
		}
		if n, _ := fmt.Sscanf(line, "listen_port=%d", &port); n == 1 {
			return port
		}
		rest = rest[len(line)+1:]
	}
	b.Fatal("no port")
	return 0
}

func (d *stockTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	pkt := d.ep.ReadContext(d.ctx)
	if pkt == nil {
		return 0, os.ErrClosed
	}
	defer pkt.DecRef()
	v := pkt.ToView()
	defer v.Release()
	n, err := v.Read(bufs[0][offset:])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	sizes[0] = n
	return 1, err
}

func (d *stockTUN) Write(bufs [][]byte, offset int) (int, error) {
	for _, p := range bufs {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p[offset:])})
		d.ep.InjectInbound(ipv4.ProtocolNumber, pkt)
		pkt.DecRef()
	}
	return len(bufs), nil
}

func (d *stockTUN) Close() error {
	d.once.Do(func() {
		d.cancel()
		close(d.events)
	})
	return nil
}

func (d *stockTUN) File() *os.File           { return nil }
func (d *stockTUN) MTU() (int, error)        { return 1280, nil }
func (d *stockTUN) Name() (string, error)    { return "stock", nil }
func (d *stockTUN) Events() <-chan tun.Event { return d.events }
func (d *stockTUN) BatchSize() int           { return 1 }
