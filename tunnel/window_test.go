package tunnel_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// Two ends that only write stand still when all buffers are full. A closed window must not stay closed then: behind it
// the netstack ignores acknowledgements, so that an end which does read would wait for ever too. See openWindow; seen as
// echo flows that stopped for good within a minute of full load.
func TestTCPConn_OpensWindowWhileWriteWaits_regression(t *testing.T) {
	fill := func(c *tunnel.TCPConn, n *atomic.Int64) {
		b := make([]byte, 3000)
		for {
			m, err := c.Write(b)
			n.Add(int64(m))
			if err != nil {
				return
			}
		}
	}
	var down, up atomic.Int64
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		c, err := r.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer c.Abort()
		fill(c, &down)
	})})
	c, err := client.DialTCP(t.Context(), client4, netip.MustParseAddrPort("10.1.1.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); fill(c, &up) }()

	deadline := time.After(30 * time.Second)
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for stood, last := false, int64(-1); ; {
		select {
		case <-deadline:
			t.Fatalf("no more than %d bytes up and %d down were taken", up.Load(), down.Load())
		case <-look.C:
		}
		n := up.Load() + down.Load()
		if stood && n > last {
			break
		}
		stood, last = n == last, n
	}
	c.Abort()
	<-done
}
