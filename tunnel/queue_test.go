package tunnel_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"weft/tunnel"
)

// packetOf is a packet of the flow with the given source port.
func packetOf(proto tcpip.TransportProtocolNumber, port uint16, size int) *stack.PacketBuffer {
	from := netip.AddrPortFrom(client4, port)
	whole, transport := synPacket(from, target4), header.TCPMinimumSize
	if proto == header.UDPProtocolNumber {
		whole, transport = udpPacket(from, target4, ""), header.UDPMinimumSize
	}
	payload := buffer.MakeWithData(make([]byte, size-len(whole)))
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: len(whole), Payload: payload})
	copy(pkt.TransportHeader().Push(transport), whole[len(whole)-transport:])
	copy(pkt.NetworkHeader().Push(len(whole)-transport), whole)
	pkt.TransportProtocolNumber = proto
	return pkt
}

func push(t *testing.T, q *tunnel.Queue, pkt *stack.PacketBuffer) bool {
	t.Helper()
	defer pkt.DecRef()
	return q.Push(pkt)
}

func sourcePort(pkt *stack.PacketBuffer) uint16 {
	return header.TCP(pkt.TransportHeader().Slice()).SourcePort() // UDP has it in the same place
}

// TestQueue_NewFlowFirst: one packet of an idle flow does not wait behind the
// megabytes of another.
func TestQueue_NewFlowFirst(t *testing.T) {
	q := tunnel.NewQueue(64 << 20)
	for range 200 {
		push(t, q, packetOf(header.TCPProtocolNumber, 1, 32<<10))
	}
	for range 3 { // the bulk flow has had its turns
		q.Pop().DecRef()
	}
	for range 5 {
		push(t, q, packetOf(header.TCPProtocolNumber, 2, 104))
		before := 0
		for {
			pkt := q.Pop()
			port := sourcePort(pkt)
			pkt.DecRef()
			if port == 2 {
				break
			}
			before++
		}
		if before > 1 {
			t.Errorf("%d large packets went before the small one", before)
		}
	}
	q.Close()
}

// TestQueue_FairShare: flows that always have packets waiting get the same
// number of bytes, whatever the size of their packets.
func TestQueue_FairShare(t *testing.T) {
	q := tunnel.NewQueue(64 << 20)
	sizes := map[uint16]int{1: 32 << 10, 2: 1280, 3: 100}
	for port, size := range sizes {
		for range (2 << 20) / size {
			push(t, q, packetOf(header.TCPProtocolNumber, port, size))
		}
	}
	got := make(map[uint16]int)
	last := make(map[uint16]byte)
	for total := 0; total < 3<<20; {
		pkt := q.Pop()
		got[sourcePort(pkt)] += pkt.Size()
		total += pkt.Size()
		last[sourcePort(pkt)]++
		pkt.DecRef()
	}
	for port, n := range got {
		if n < 1<<20-64<<10 || n > 1<<20+64<<10 {
			t.Errorf("flow with packets of %d got %d bytes, want about %d", sizes[port], n, 1<<20)
		}
	}
	q.Close()
}

// TestQueue_Order: packets of one flow stay in order.
func TestQueue_Order(t *testing.T) {
	q := tunnel.NewQueue(64 << 20)
	for i := range 500 {
		push(t, q, packetOf(header.TCPProtocolNumber, uint16(i%3), 100+i))
	}
	next := map[uint16]int{}
	for pkt := q.Pop(); pkt != nil; pkt = q.Pop() {
		if size := pkt.Size(); size <= next[sourcePort(pkt)] {
			t.Errorf("packet of %d bytes came after one of %d", size, next[sourcePort(pkt)])
		} else {
			next[sourcePort(pkt)] = size
		}
		pkt.DecRef()
	}
	if len(next) != 3 || next[1] != 599 {
		t.Errorf("last packets are %v", next)
	}
}

// TestQueue_Bounds: what waits is bounded, in total and for datagrams of a
// flow, and what is refused is counted.
func TestQueue_Bounds(t *testing.T) {
	tests := []struct {
		name  string
		proto tcpip.TransportProtocolNumber
		max   int
		size  int
		want  int
	}{
		{name: "in total", proto: header.TCPProtocolNumber, max: 100_000, size: 1000, want: 100},
		{name: "datagrams of a flow", proto: header.UDPProtocolNumber, max: 64 << 20, size: 1 << 10, want: 512},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := tunnel.NewQueue(tt.max)
			taken := 0
			for range 1000 {
				if push(t, q, packetOf(tt.proto, 1, tt.size)) {
					taken++
				}
			}
			if taken != tt.want || q.Dropped() != uint64(1000-tt.want) {
				t.Errorf("%d taken and %d dropped, want %d taken", taken, q.Dropped(), tt.want)
			}
			q.Close()
			if q.Pop() != nil || push(t, q, packetOf(tt.proto, 1, tt.size)) {
				t.Error("a closed queue still works")
			}
		})
	}
}

func TestQueue_CloseWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tunnel.NewQueue(1 << 20)
		woken := make(chan bool)
		go func() { woken <- q.PopWait() == nil }()
		synctest.Wait()
		q.Close()
		if !<-woken {
			t.Error("a closed queue gave a packet")
		}
	})
}

// TestGate: it shuts at its limit, opens when something leaves, gives up on
// what never does, and lets go when it is closed.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := tunnel.NewGate(3)
		g.Enter()
		g.Enter()
		if !g.Wait() {
			t.Fatal("shut below its limit")
		}
		g.Enter()
		opened := make(chan bool, 1)
		wait := func() { opened <- g.Wait() }
		go wait()
		synctest.Wait()
		select {
		case <-opened:
			t.Fatal("open above its limit")
		default:
		}
		start := time.Now()
		g.Leave(1)
		if !<-opened || time.Since(start) != 0 {
			t.Errorf("opened after %s", time.Since(start))
		}
		g.Enter()
		go wait()
		if !<-opened || time.Since(start) > 10*time.Millisecond || g.Timeouts() != 1 {
			t.Errorf("gave up after %s, %d times", time.Since(start), g.Timeouts())
		}
		g.Leave(1) // late
		for range 4 {
			g.Enter()
		}
		go wait()
		synctest.Wait()
		g.Close()
		if <-opened {
			t.Error("a closed gate reports room")
		}
	})
}

// TestQueue_DiscardData: data goes; what carries none stays, as the resets of
// flows that have just been aborted must.
func TestQueue_DiscardData(t *testing.T) {
	q := tunnel.NewQueue(64 << 20)
	empty := packetOf(header.TCPProtocolNumber, 1, header.IPv4MinimumSize+header.TCPMinimumSize).Size()
	for _, p := range []struct {
		port uint16
		size int
	}{{1, 1200}, {1, empty}, {2, 32 << 10}, {3, empty}, {1, 1200}} {
		push(t, q, packetOf(header.TCPProtocolNumber, p.port, p.size))
	}
	q.DiscardData()
	left := map[uint16]int{}
	for pkt := q.Pop(); pkt != nil; pkt = q.Pop() {
		left[sourcePort(pkt)] += pkt.Data().Size() + 1
		pkt.DecRef()
	}
	if diff := cmp.Diff(map[uint16]int{1: 1, 3: 1}, left); diff != "" {
		t.Errorf("left by flow (-want +got):\n%s", diff)
	}
	push(t, q, packetOf(header.TCPProtocolNumber, 2, 1200)) // it goes on
	if pkt := q.Pop(); pkt == nil || sourcePort(pkt) != 2 {
		t.Error("the queue does not work after it")
	} else {
		pkt.DecRef()
	}
}
