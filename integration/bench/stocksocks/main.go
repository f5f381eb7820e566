// Command stocksocks is the baseline of the memory benchmark: WireGuard's own tun/netstack with the plainest
// SOCKS5 server on top (RFC 1928, CONNECT to an IPv4 address, no authentication). It is what one gets without a
// data path of one's own, and shares no code with Weft's.
//
// It reads its WireGuard configuration (UAPI) from its standard input, prints its address, and serves until it is
// killed.
package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

func main() {
	if err := run(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "stocksocks:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: stocksocks TUNNEL-ADDRESS < configuration")
	}
	local, err := netip.ParseAddr(os.Args[1])
	if err != nil {
		return err
	}
	config, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	dev, network, err := netstack.CreateNetTUN([]netip.Addr{local}, nil, 1280)
	if err != nil {
		return err
	}
	wg := device.NewDevice(dev, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	defer wg.Close()
	if err := wg.IpcSet(string(config)); err != nil {
		return err
	}
	if err := wg.Up(); err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	if _, err := fmt.Println(l.Addr()); err != nil {
		return err
	}
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return err
		}
		go serve(c, network)
	}
}

// closeWriter is either side of a relay.
type closeWriter interface {
	net.Conn
	CloseWrite() error
}

func serve(c *net.TCPConn, network *netstack.Net) {
	defer func() { _ = c.Close() }()
	to, err := request(c)
	if err != nil {
		return
	}
	up, err := network.DialTCPAddrPort(to)
	if err != nil {
		_, _ = c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	defer func() { _ = up.Close() }()
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(c, up)
	}()
	pipe(up, c)
	<-done
}

func pipe(to, from closeWriter) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
}

// request reads the greeting and the request of a client that offers no authentication.
func request(c io.ReadWriter) (netip.AddrPort, error) {
	b := make([]byte, 10)
	if _, err := io.ReadFull(c, b[:3]); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return netip.AddrPort{}, err
	}
	addr, _ := netip.AddrFromSlice(b[4:8])
	return netip.AddrPortFrom(addr, uint16(b[8])<<8|uint16(b[9])), nil
}
