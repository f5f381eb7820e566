//go:build linux

package faults_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relayHost is the address by which agents and connectors know the gateway; 127.0.0.0/8 is all loopback on Linux.
const relayHost = "127.0.0.2"

// udpRelay is the network between agents and a gateway, with the same ports at another address.
type udpRelay struct {
	blocked atomic.Bool
	maxSize atomic.Int64 // larger datagrams are swallowed; 0: none
	every   atomic.Int64 // one in so many towards the gateway is lost, see loses; 0: none
	delay   atomic.Int64 // nanoseconds
	count   atomic.Int64
	// instead is where datagrams for the first server go instead.
	instead atomic.Pointer[netip.AddrPort]
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
		first := len(r.socks) == 1
		r.wg.Go(func() { r.serve(c, s, first) })
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

// loses reports whether a datagram towards the gateway is one of those that are lost: only what is larger than the agent's own
// probes and is no handshake (148 bytes) counts, so that what diag sends is lost as evenly as can be.
func (r *udpRelay) loses(n int) bool {
	every := r.every.Load()
	return every > 0 && n > 100 && n != 148 && r.count.Add(1)%every == 0
}

// way is a sender and where it leads.
type way struct{ from, to netip.AddrPort }

func (r *udpRelay) serve(front *net.UDPConn, server netip.AddrPort, first bool) {
	backs := map[way]*net.UDPConn{}
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
		if !r.passes(n) || r.loses(n) {
			continue
		}
		to := server
		if other := r.instead.Load(); other != nil && first {
			to = *other
		}
		b := backs[way{from, to}]
		if b == nil {
			if b, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to)); err != nil {
				return
			}
			backs[way{from, to}] = b
			r.wg.Go(func() { r.back(front, b, from) })
		}
		r.later(buf[:n], func(p []byte) { _, _ = b.Write(p) })
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
			r.later(buf[:n], func(p []byte) { _, _ = front.WriteToUDPAddrPort(p, to) })
		}
	}
}

// later sends now, or after the delay; order is kept by the delay's being the same for all.
func (r *udpRelay) later(p []byte, send func([]byte)) {
	d := time.Duration(r.delay.Load())
	if d == 0 {
		send(p)
		return
	}
	p = bytes.Clone(p)
	r.wg.Add(1)
	time.AfterFunc(d, func() {
		defer r.wg.Done()
		send(p)
	})
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

// close ends the listener too: the port is closed then.
func (r *tcpRelay) close() {
	r.block(true)
	_ = r.ln.Close()
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
