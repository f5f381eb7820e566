package connector_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"weft/api"
	"weft/connector"
	"weft/internal/connwire"
)

func TestNew_RefusesAnUnknownSourceMode(t *testing.T) {
	if _, err := connector.New(connector.Config{Token: api.ConnectorToken{TunnelID: tunnelID}, Control: new(api.Client), Source: "sometimes"}); err == nil {
		t.Error("it was taken")
	}
}

// ownAddress is one of this machine that is no loopback address, so that a route may cover it.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Skipf("no addresses: %v", err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap().Is4() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
				return ip.Unmap()
			}
		}
	}
	t.Skip("this machine has no IPv4 address but its loopback's")
	return netip.Addr{}
}

// listenAt takes connections and keeps them until the test ends.
func listenAt(t *testing.T, addr netip.Addr) netip.AddrPort {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Skipf("no port at %v: %v", addr, err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// A connector says from where a target sees it come exactly when it may, and only to a gateway that asked.
func TestConnector_VouchesForItsAddress(t *testing.T) {
	own, loopback := ownAddress(t), netip.MustParseAddr("127.0.0.1")
	direct, mapped := listenAt(t, own), listenAt(t, loopback)
	asked := netip.MustParseAddrPort("10.1.0.5:22") // stands for mapped
	for _, tc := range []struct {
		name string
		mode connector.SourceMode
		dst  netip.AddrPort
		want netip.Addr
	}{
		{"a target without a router between", "", direct, own},
		{"an address that stands for another", "", asked, netip.Addr{}},
		{"always", connector.SourceAlways, asked, loopback},
		{"never", connector.SourceNever, direct, netip.Addr{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGatewayOf(t, connwire.Protocols()...)
			startWith(t, newFakeControl(t, g.state("0.0.0.0/0")), connector.Config{
				Map: map[netip.AddrPort]netip.AddrPort{asked: mapped}, Source: tc.mode,
			})
			conn := g.accept(connwire.Verdict{OK: true})
			st, status := g.ask(conn, connwire.Request{Transport: connwire.TCP, Timeout: 10 * time.Second, VNET: string(netA), Destination: tc.dst})
			if status != connwire.StatusOK {
				t.Fatalf("status %v", status)
			}
			if got, err := connwire.ReadSource(st); err != nil || got != tc.want {
				t.Errorf("it comes from %v, %v; want %v", got, err, tc.want)
			}
			if n, err := st.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("read %d bytes more, %v", n, err) // nothing but the end that the target made
			}
		})
	}
}
