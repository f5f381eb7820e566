package connectors_test

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"weft/gateway/connectors"
)

// mute swallows what is sent once it is on: to the other side that looks like a machine that lost its power.
type mute struct {
	net.PacketConn
	on atomic.Bool
}

// WriteTo pretends.
func (m *mute) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.on.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

// TestDial_LeavesASilentReplica: one that does not even acknowledge costs a second once, not QUIC's idle limit, and its
// target is not dialled twice at a replica that is merely slow.
func TestDial_LeavesASilentReplica(t *testing.T) {
	l := listen(t, connectors.Limits{})
	l.SetTunnels(keys())
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	m := &mute{PacketConn: socket}
	dead, live := dialFrom(t, l, m), dial(t, l)
	dead.mustHello("dead")
	live.mustHello("live")
	dead.serve()
	r := live.serve()
	m.on.Store(true)
	var slow int
	for range 8 {
		start := time.Now()
		c, err := l.DialTCP(t.Context(), dest)
		if err != nil {
			t.Fatal(err)
		}
		c.Abort()
		switch took := time.Since(start); {
		case took > 5*time.Second:
			t.Errorf("a dial took %v", took)
		case took >= time.Second: // silentAfter
			slow++
		}
	}
	if slow != 1 {
		t.Errorf("%d dials waited for the silent replica, want 1", slow)
	}
	if n := r.asked.Load(); n != 8 {
		t.Errorf("the live replica was asked %d times, want 8", n)
	}
}
