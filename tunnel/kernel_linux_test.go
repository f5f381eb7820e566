package tunnel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// fixedMTU answers for an OS device whose interface is in another network
// namespace than the goroutine that asks.
type fixedMTU struct {
	tun.Device
	mtu int
}

func (d fixedMTU) MTU() (int, error) { return d.mtu, nil }

// inNamespace runs f on a thread in a network namespace of its own. The
// thread, and with it the namespace, ends with f.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace and a TUN device")
	}
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is not fit for others
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		f()
	}()
	if err, ok := <-done; ok {
		t.Skipf("no network namespace: %v", err)
	}
}

// TestKernel_TCP: a kernel's TCP, which verifies every checksum, length and
// sequence number, talks through an OS TUN device to the gateway.
func TestKernel_TCP(t *testing.T) {
	for _, mtu := range []int{1280, 1420} {
		t.Run(fmt.Sprintf("MTU %d", mtu), func(t *testing.T) {
			network := new(tunneltest.Network)
			gw, endpoint := newGateway(t, network, tunnel.Config{Handler: echo, MTUBytes: mtu})
			inNamespace(t, func() { kernelClient(t, network, gw, endpoint, mtu) })
		})
	}
}

func kernelClient(t *testing.T, network *tunneltest.Network, gw *tunnel.Tunnel, endpoint netip.AddrPort, mtu int) {
	t.Helper()
	dev, err := tun.CreateTUN("weft0", mtu)
	if err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	tunneltest.WireGuard(t, network, rawHost, fixedMTU{dev, mtu}, gw, endpoint, []netip.Addr{client4, client6})
	for _, args := range [][]string{
		{"address", "add", client4.String() + "/32", "dev", "weft0"},
		{"-6", "address", "add", client6.String() + "/128", "dev", "weft0", "nodad"},
		{"link", "set", "weft0", "up"},
		{"route", "add", "default", "dev", "weft0"},
		{"-6", "route", "add", "default", "dev", "weft0"},
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	overhead := map[bool]int{true: 20 + 20 + 12, false: 40 + 20 + 12}
	for _, remote := range []netip.AddrPort{target4, target6} {
		mss := mtu - overhead[remote.Addr().Is4()]
		for _, size := range []int{1, mss - 1, mss, mss + 1, 2*mss - 1, 2 * mss, 32<<10 - 1, 32 << 10, 32<<10 + 1, 65537, 1 << 20} {
			kernelEcho(t, remote, size)
		}
		kernelDatagrams(t, remote, mtu)
	}
}

// kernelEcho sends size bytes, and compares what comes back.
func kernelEcho(t *testing.T, remote netip.AddrPort, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", remote.String())
	if err != nil {
		t.Errorf("size %d: %v", size, err)
		return
	}
	defer closeConn(conn)
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Error(err)
	}
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i % 251)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(want)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%s, size %d: read: %v", remote, size, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("%s, size %d: write: %v", remote, size, err)
	}
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s: sent %d bytes, got %d or other ones", remote, size, len(got))
	}
}

// kernelDatagrams exchanges datagrams up to one that needs fragments.
func kernelDatagrams(t *testing.T, remote netip.AddrPort, mtu int) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "udp", remote.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer closeConn(conn)
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Error(err)
	}
	b := make([]byte, 4096)
	for _, size := range []int{0, 1, 100, mtu - 48, mtu + 500} {
		want := bytes.Repeat([]byte{0xa5}, size)
		if _, err := conn.Write(want); err != nil {
			t.Errorf("%s, datagram of %d: write: %v", remote, size, err)
			continue
		}
		n, err := conn.Read(b)
		if err != nil || !bytes.Equal(b[:n], want) {
			t.Errorf("%s, datagram of %d: got %d bytes, %v", remote, size, n, err)
		}
	}
}
