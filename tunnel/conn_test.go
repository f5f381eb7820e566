package tunnel_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/nettest"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// TestTCPConn_NetConn runs the checks that a net.Conn must pass.
func TestTCPConn_NetConn(t *testing.T) {
	accepted := make(chan *tunnel.TCPConn)
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		if c, err := r.Accept(); err == nil {
			accepted <- c
		}
	})})
	for _, end := range []struct {
		name   string
		local  netip.Addr
		remote netip.AddrPort
	}{{"IPv4", client4, target4}, {"IPv6", client6, target6}} {
		t.Run(end.name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				c1, err := client.DialTCP(t.Context(), end.local, end.remote)
				if err != nil {
					return nil, nil, nil, err
				}
				c2 := <-accepted
				return c1, c2, func() { c1.Abort(); c2.Abort() }, nil
			})
		})
	}
}
