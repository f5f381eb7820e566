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

// With a user timeout the netstack ends a flow whose reader pauses for so long, and a busy one at a retransmission so
// long after another: seen at 60 s, with a reader that paused for 75 s.
func TestTCPConn_HasNoUserTimeout_regression(t *testing.T) {
	accepted := make(chan *tunnel.TCPConn, 1)
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		c, err := r.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
		}
		accepted <- c
	})})
	dialled, err := client.DialTCP(t.Context(), client4, netip.MustParseAddrPort("10.1.1.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(dialled)
	for name, c := range map[string]*tunnel.TCPConn{"client": dialled, "gateway": <-accepted} {
		d, err := c.UserTimeoutForTest()
		if err != nil || d != 0 {
			t.Errorf("%s end: user timeout %s, %v; want none", name, d, err)
		}
		closeConn(c)
	}
}
