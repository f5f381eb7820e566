package proxy_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weft/agent/proxy"
	"weft/internal/localsock"
)

// The first datagram from anybody on the machine became the client's of a UDP association, and so did whoever took the
// port over: another user sent with this user's access, and heard the answers.
func TestSOCKS_UDPAssociateIsItsOwners_regression(t *testing.T) {
	d := &fakeDialer{tb: t, echo: echoServer(t)}
	self := localsock.Caller{UID: 1000}
	var mu sync.Mutex // guards owners
	owners := map[uint16]uint32{}
	own := func(port uint16, uid uint32) {
		mu.Lock()
		defer mu.Unlock()
		owners[port] = uid
	}
	s, addr := start(t, proxy.Config{
		Dialer: d, PacketDialer: d, TCPPeer: func(net.Conn) (localsock.Caller, error) { return self, nil },
		UDPOwners: func(a netip.AddrPort) ([]localsock.Caller, error) {
			mu.Lock()
			defer mu.Unlock()
			return []localsock.Caller{{UID: owners[a.Port()]}}, nil
		},
	})
	c := dial(t, addr)
	send(t, c, 5, 1, 0)
	expect(t, c, 5, 0)
	send(t, c, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0)
	expect(t, c, 5, 0, 0, 1, 127, 0, 0, 1)
	var port [2]byte
	_, err := io.ReadFull(c, port[:])
	must(t, err)
	open := func(uid uint32) *net.UDPConn {
		u, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(binary.BigEndian.Uint16(port[:]))})
		must(t, err)
		t.Cleanup(func() { _ = u.Close() })
		own(u.LocalAddr().(*net.UDPAddr).AddrPort().Port(), uid)
		return u
	}
	dropped := func(n uint64) {
		t.Helper()
		wait := time.NewTicker(time.Millisecond)
		defer wait.Stop()
		for end := time.Now().Add(5 * time.Second); s.Stats().UDPDrops < n; <-wait.C {
			if time.Now().After(end) {
				t.Fatalf("%d datagrams dropped; want %d", s.Stats().UDPDrops, n)
			}
		}
	}
	datagram := append([]byte{0, 0, 0, 1, 10, 1, 2, 3, 0, 53}, "q"...)
	send(t, open(1001), datagram...)
	dropped(1)
	mine := open(1000)
	send(t, mine, datagram...)
	must(t, mine.SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, err := mine.Read(make([]byte, 100)); err != nil {
		t.Fatal("the owner is not served:", err)
	}
	// The port becomes another account's; what was true a moment ago is looked at again.
	own(mine.LocalAddr().(*net.UDPAddr).AddrPort().Port(), 1001)
	end := time.Now().Add(5 * time.Second)
	for before := s.Stats().UDPDrops; s.Stats().UDPDrops == before; {
		if time.Now().After(end) {
			t.Fatal("another account goes on with the association")
		}
		send(t, mine, datagram...)
	}
}
