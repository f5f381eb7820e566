package tunnel_test

import (
	"net/netip"
	"sync"
	"testing"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// A peer that opens as many flows as it may and reads none of them had the gateway hold 1 to 8 MiB for each, in both
// directions: tens of gigabytes for one peer.
func TestGateway_BuffersOfManyFlowsShareABudget_regression(t *testing.T) {
	const flows = 1200
	a := netip.MustParseAddr("100.64.0.1")
	var mu sync.Mutex
	var all []*tunnel.TCPConn
	done := make(chan struct{})
	client, _ := tunneltest.NewPair(t, tunneltest.Config{
		Addresses: []netip.Addr{a},
		Handler: tcpHandler(func(r *tunnel.TCPRequest) {
			c, err := r.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			<-done
			c.Abort()
		}),
	})
	defer close(done)
	for i := range flows {
		dial(t, client, a, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i)))
	}
	eventually(t, "every flow is accepted", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(all) == flows
	})
	first, _ := tunnel.Buffers(all[0])
	send, receive := tunnel.Buffers(all[flows-1])
	if send > 512<<10 || receive > 512<<10 || first < 1<<20 {
		t.Errorf("of %d flows the last has buffers of %d and %d bytes, the first one of %d", flows, send, receive, first)
	}
}
