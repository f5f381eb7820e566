package faults_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// relayHost is the address by which agents and connectors know the gateway; 127.0.0.0/8 is all loopback on Linux.
const relayHost = "127.0.0.2"

// udpRelay is the network between agents and a gateway, with the same ports at another address.
type udpRelay struct {
	blocked atomic.Bool
	maxSize atomic.Int64 // larger datagrams are swallowed; 0: none
	socks   []*net.UDPConn
	wg      sync.WaitGroup
	once    sync.Once
}

func newUDPRelay(tb testing.TB, servers ...netip.AddrPort) *udpRelay {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("the relay needs a second loopback address, which only Linux has from the start")
	}
	r := &udpRelay{}
	for _, s := range servers {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(relayHost), Port: int(s.Port())})
		must(tb, err)
		r.socks = append(r.socks, c)
		r.wg.Go(func() { r.serve(c, s) })
	}
	tb.Cleanup(r.close)
	return r
}

// close ends the relay: its ports are closed then, and the system says so to who sends there.
func (r *udpRelay) close() {
	r.once.Do(func() {
		for _, c := range r.socks {
			_ = c.Close()
		}
	})
	r.wg.Wait()
}

func (r *udpRelay) passes(n int) bool {
	most := r.maxSize.Load()
	return !r.blocked.Load() && (most == 0 || int64(n) <= most)
}

func (r *udpRelay) serve(front *net.UDPConn, server netip.AddrPort) {
	backs := map[netip.AddrPort]*net.UDPConn{}
	defer func() {
		for _, b := range backs {
			_ = b.Close()
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if !r.passes(n) {
			continue
		}
		b := backs[from]
		if b == nil {
			if b, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server)); err != nil {
				return
			}
			backs[from] = b
			r.wg.Go(func() { r.back(front, b, from) })
		}
		_, _ = b.Write(buf[:n])
	}
}

func (r *udpRelay) back(front, b *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 64<<10)
	for {
		n, err := b.Read(buf)
		if err != nil {
			if r.ended(b) {
				return
			}
			continue // refused: the gateway is not there now
		}
		if r.passes(n) {
			_, _ = front.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

func (r *udpRelay) ended(b *net.UDPConn) bool { return b.SetDeadline(noDeadline) != nil }

// tcpRelay is the network between agents and control.
type tcpRelay struct {
	addr    string
	target  atomic.Pointer[string]
	ln      net.Listener
	wg      sync.WaitGroup
	mu      sync.Mutex
	blocked bool
	open    map[net.Conn]struct{}
}

func newTCPRelay(tb testing.TB, target string) *tcpRelay {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	r := &tcpRelay{addr: ln.Addr().String(), ln: ln, open: map[net.Conn]struct{}{}}
	r.target.Store(&target)
	r.wg.Go(r.serve)
	tb.Cleanup(func() {
		r.block(true)
		_ = ln.Close()
		r.wg.Wait()
	})
	return r
}

// block ends what is open and everything that comes.
func (r *tcpRelay) block(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = yes
	if yes {
		for c := range r.open {
			_ = c.Close()
		}
	}
}

func (r *tcpRelay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked {
		return false
	}
	r.open[c] = struct{}{}
	return true
}

func (r *tcpRelay) forget(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

func (r *tcpRelay) serve() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.relay(c) })
	}
}

func (r *tcpRelay) relay(c net.Conn) {
	defer func() { _ = c.Close() }()
	if !r.keep(c) {
		return
	}
	defer r.forget(c)
	up, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", *r.target.Load())
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	if !r.keep(up) {
		return
	}
	defer r.forget(up)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
	_ = c.Close()
	<-done
}
