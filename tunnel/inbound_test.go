package tunnel_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// TestInbound: a line that stands costs packets, at a growing rate; one that
// is short or soon gone costs none.
func TestInbound(t *testing.T) {
	tests := []struct {
		name     string
		line     int // packets that wait all the time
		waited   time.Duration
		forTime  time.Duration
		clear    time.Duration // how often a packet did not wait; 0: never
		min, max int           // drops
	}{
		{name: "no line", line: 0, waited: 0, forTime: time.Second},
		{name: "a busy processor", line: 10, waited: 20 * time.Millisecond, forTime: time.Second},
		{name: "a fast line", line: 500, waited: 1900 * time.Microsecond, forTime: time.Second},
		{name: "a line that is emptied", line: 500, waited: 5 * time.Millisecond, forTime: time.Second, clear: 80 * time.Millisecond},
		{name: "a line that stands", line: 500, waited: 5 * time.Millisecond, forTime: 500 * time.Millisecond, min: 5, max: 15},
		{name: "one that stands longer", line: 500, waited: 5 * time.Millisecond, forTime: 2 * time.Second, min: 50, max: 150},
		{name: "one that never goes", line: 500, waited: 5 * time.Millisecond, forTime: 20 * time.Second, min: 1000, max: 16 * 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q tunnel.Inbound
				drops, cleared := 0, time.Now()
				q.Arrived(tt.line)
				for start := time.Now(); time.Since(start) < tt.forTime; {
					q.Arrived(10)
					<-time.After(time.Millisecond)
					waited := tt.waited
					if tt.clear != 0 && time.Since(cleared) >= tt.clear {
						waited, cleared = 0, time.Now()
					}
					if q.Delivered(10, waited) {
						drops++
					}
				}
				if drops < tt.min || drops > tt.max {
					t.Errorf("%d drops, want %d to %d", drops, tt.min, tt.max)
				}
			})
		})
	}
}

// TestInbound_Refused: packets that WireGuard refuses are not a line for ever.
func TestInbound_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q tunnel.Inbound
		q.Arrived(10_000) // never delivered
		<-time.After(time.Second)
		for range 2000 {
			q.Arrived(10)
			<-time.After(time.Millisecond)
			if q.Delivered(10, 5*time.Millisecond) {
				t.Fatal("a processor that is busy was taken for a line")
			}
		}
	})
}

// TestStamp: the age of a packet is read from its buffer, and only where it
// was written.
func TestStamp(t *testing.T) {
	const header, tag = 16, 16
	tests := []struct {
		name   string
		packet int // IP packet
		size   int // buffer
		want   bool
	}{
		{name: "small", packet: 40, size: 65535, want: true},
		{name: "MTU 1280", packet: 1280, size: 65535, want: true},
		{name: "MTU 1500", packet: 1500, size: 65535, want: true},
		{name: "jumbo", packet: 8920, size: 65535},
		{name: "short buffer", packet: 100, size: 2000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				buf := make([]byte, tt.size)
				tunnel.Stamp(buf, header+(tt.packet+15)&^15+tag)
				<-time.After(3 * time.Millisecond)
				got := tunnel.Age(buf[:header+tt.packet])
				want := time.Duration(0)
				if tt.want {
					want = 3 * time.Millisecond
				}
				if got != want {
					t.Errorf("age is %s, want %s", got, want)
				}
			})
		})
	}
}

// TestStamp_KeptByWireGuard: the stamp relies on WireGuard writing to its
// device from the buffer that it received into. A version that copies would
// make every age 0 without any other sign.
func TestStamp_KeptByWireGuard(t *testing.T) {
	network := new(tunneltest.Network)
	gw, endpoint := newGateway(t, network, tunnel.Config{Handler: echo})
	raw := tunneltest.NewRawPeer(t, network, rawHost, gw, endpoint, []netip.Addr{client4})
	raw.Send(t, udpPacket(netip.AddrPortFrom(client4, 5), target4, "x"))
	<-raw.Packets()
	if age := tunnel.LastAge(gw); age <= 0 || age > 5*time.Second {
		t.Errorf("age of a packet is %s", age)
	}
}
