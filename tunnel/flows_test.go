package tunnel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// tcpHandler is a handler for TCP alone.
func tcpHandler(f func(r *tunnel.TCPRequest)) tunneltest.Handler {
	return tunneltest.Handler{TCP: func(_ context.Context, r *tunnel.TCPRequest) { f(r) }}
}

// dial opens a flow within 5 s or fails the test.
func dial(t *testing.T, client *tunnel.Tunnel, local netip.Addr, remote netip.AddrPort) *tunnel.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := client.DialTCP(ctx, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

// eventually polls until cond holds, for at most 5 s.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// closeConn closes a connection whose error nobody can use.
func closeConn(c io.Closer) { _ = c.Close() }

// TestTunnel_TwoNetworks: the source address of a dial chooses the network,
// though both have the same target, and a stream that is open does not notice.
func TestTunnel_TwoNetworks(t *testing.T) {
	a, b := netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("100.64.0.2")
	servers := map[netip.Addr]string{a: "server in A", b: "server in B"}
	streamPort := uint16(9)
	client, _ := tunneltest.NewPair(t, tunneltest.Config{
		Addresses: []netip.Addr{a, b},
		Handler: tcpHandler(func(r *tunnel.TCPRequest) {
			c, err := r.Accept()
			if err != nil {
				return
			}
			defer closeConn(c)
			if r.Flow().Destination.Port() == streamPort {
				_, _ = io.Copy(c, c)
				return
			}
			_, _ = io.WriteString(c, servers[r.Flow().Source.Addr()])
		}),
	})

	stream := dial(t, client, a, netip.AddrPortFrom(target4.Addr(), streamPort))
	sent, got := sha256.New(), sha256.New()
	stop := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { sendRandom(t, stream, sent, stop) })
	both.Go(func() {
		if _, err := io.Copy(got, stream); err != nil {
			t.Error(err)
		}
	})

	for i := range 100 {
		local := a
		if i%2 == 1 {
			local = b
		}
		c := dial(t, client, local, target4)
		reply, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if string(reply) != servers[local] {
			t.Fatalf("switch %d: from %s got %q, want %q", i, local, reply, servers[local])
		}
		closeConn(c)
	}
	close(stop)
	both.Wait()
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("the stream did not return what was sent")
	}
}

// sendRandom writes random bytes until stop, then ends the stream.
func sendRandom(t *testing.T, c *tunnel.TCPConn, sum hash.Hash, stop <-chan struct{}) {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 10_000)
	for {
		select {
		case <-stop:
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			return
		default:
		}
		_, _ = rnd.Read(b)
		_, _ = sum.Write(b)
		if _, err := c.Write(b); err != nil {
			t.Error(err)
			return
		}
	}
}

func TestTunnel_DialMustBeBound(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	tests := []struct {
		name   string
		local  netip.Addr
		remote netip.AddrPort
	}{
		{name: "no address", remote: target4},
		{name: "unspecified address", local: netip.IPv4Unspecified(), remote: target4},
		{name: "an address of another tunnel", local: netip.MustParseAddr("100.64.9.9"), remote: target4},
		{name: "the target's address", local: target4.Addr(), remote: target4},
		{name: "other IP version", local: client6, remote: target4},
		{name: "no remote", local: client4},
		{name: "no port", local: client4, remote: netip.AddrPortFrom(target4.Addr(), 0)},
		{name: "mapped remote", local: client4, remote: netip.MustParseAddrPort("[::ffff:10.0.0.1]:22")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := client.DialTCP(t.Context(), tt.local, tt.remote); err == nil {
				c.Abort()
				t.Error("TCP dial succeeded")
			}
			if c, err := client.DialUDP(t.Context(), tt.local, tt.remote); err == nil {
				c.Abort()
				t.Error("UDP dial succeeded")
			}
		})
	}
	if n := client.Stats().FlowsOpen; n != 0 {
		t.Errorf("%d flows open, want none", n)
	}
}

// TestTunnel_Verdicts: how each refusal looks, and that it is prompt.
func TestTunnel_Verdicts(t *testing.T) {
	var how tunnel.Rejection
	var mu sync.Mutex
	verdict := func() tunnel.Rejection {
		mu.Lock()
		defer mu.Unlock()
		return how
	}
	client, gateway := tunneltest.NewPair(t, tunneltest.Config{Handler: tunneltest.Handler{
		TCP: func(_ context.Context, r *tunnel.TCPRequest) { r.Reject(verdict()) },
		UDP: func(_ context.Context, r *tunnel.UDPRequest) { r.Reject(verdict()) },
	}})
	tests := []struct {
		name string
		how  tunnel.Rejection
		want error
		udp  error
	}{
		{name: "refused", how: tunnel.RejectRefused, want: tunnel.ErrRefused, udp: tunnel.ErrRefused},
		{name: "prohibited", how: tunnel.RejectProhibited, want: tunnel.ErrProhibited, udp: tunnel.ErrProhibited},
		{name: "unreachable", how: tunnel.RejectUnreachable, want: tunnel.ErrUnreachable, udp: tunnel.ErrUnreachable},
		{name: "silent", how: tunnel.RejectSilent, want: context.DeadlineExceeded},
	}
	ends := []struct {
		name   string
		local  netip.Addr
		remote netip.AddrPort
	}{{"IPv4", client4, target4}, {"IPv6", client6, target6}}
	// The first packet waits for WireGuard's handshake.
	_, _ = client.DialTCP(t.Context(), client4, target4)
	for _, end := range ends {
		for _, tt := range tests {
			t.Run(end.name+" "+tt.name, func(t *testing.T) {
				mu.Lock()
				how = tt.how
				mu.Unlock()
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				_, err := client.DialTCP(ctx, end.local, end.remote)
				if !errors.Is(err, tt.want) {
					t.Errorf("TCP: got %v, want %v", err, tt.want)
				}
				if tt.udp != nil {
					if err := udpError(t, client, end.local, end.remote); !errors.Is(err, tt.udp) {
						t.Errorf("UDP: got %v, want %v", err, tt.udp)
					}
				}
			})
		}
	}
	eventually(t, "no dial in flight, no flow open", func() bool {
		s := gateway.Stats()
		return s.DialsInFlight == 0 && s.FlowsOpen == 0
	})
}

// udpError writes until the refusal of the first datagram comes back.
func udpError(t *testing.T, client *tunnel.Tunnel, local netip.Addr, remote netip.AddrPort) error {
	t.Helper()
	c, err := client.DialUDP(t.Context(), local, remote)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(c)
	var failure error
	eventually(t, "a refused datagram is reported", func() bool {
		_, failure = c.Write([]byte("x"))
		return failure != nil
	})
	return failure
}

// TestTunnel_DialBeforeAccept: the client is not connected before the handler
// accepts, and learns that it never will be.
func TestTunnel_DialBeforeAccept(t *testing.T) {
	arrived, decide := make(chan *tunnel.TCPRequest), make(chan struct{})
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		arrived <- r
		<-decide
		r.Reject(tunnel.RejectRefused)
	})})
	result := make(chan error, 1)
	go func() {
		_, err := client.DialTCP(t.Context(), client4, target4)
		result <- err
	}()
	r := <-arrived
	if want := (netip.AddrPort{}); r.Flow().Source.Addr() != client4 || r.Flow().Destination != target4 || r.Flow().Source == want {
		t.Errorf("flow is %+v", r.Flow())
	}
	select {
	case err := <-result:
		t.Fatalf("dial ended before the verdict: %v", err)
	default:
	}
	close(decide)
	if err := <-result; !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("got %v, want %v", err, tunnel.ErrRefused)
	}
}

// TestTunnel_Undecided: a handler that forgets its request refuses it.
func TestTunnel_Undecided(t *testing.T) {
	client, gateway := tunneltest.NewPair(t, tunneltest.Config{Handler: tunneltest.Handler{
		TCP: func(context.Context, *tunnel.TCPRequest) {},
		UDP: func(context.Context, *tunnel.UDPRequest) {},
	}})
	if _, err := client.DialTCP(t.Context(), client4, target4); !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("TCP: got %v, want %v", err, tunnel.ErrRefused)
	}
	if err := udpError(t, client, client4, target4); !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("UDP: got %v, want %v", err, tunnel.ErrRefused)
	}
	if n := gateway.Stats().Dropped["undecided"]; n < 2 {
		t.Errorf("counted %d undecided flows, want at least 2", n)
	}
}

// TestTunnel_HalfClose: each direction ends by itself.
func TestTunnel_HalfClose(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		c, err := r.Accept()
		if err != nil {
			return
		}
		defer closeConn(c)
		request, err := io.ReadAll(c)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "%d bytes", len(request))
	})})
	c := dial(t, client, client4, target4)
	if _, err := c.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(c)
	if err != nil || string(reply) != "100000 bytes" {
		t.Errorf("got %q, %v", reply, err)
	}
}

// TestTunnel_Abort: an abnormal end does not look like an orderly one, in
// either direction and by AbortFlows and RemoveAddress too.
func TestTunnel_Abort(t *testing.T) {
	tests := []struct {
		name string
		end  func(client, gateway *tunnel.Tunnel, atClient, atGateway *tunnel.TCPConn)
		far  bool // the client's end is the one that is told
	}{
		{name: "gateway aborts", far: true, end: func(_, _ *tunnel.Tunnel, _, g *tunnel.TCPConn) { g.Abort() }},
		{name: "client aborts", end: func(_, _ *tunnel.Tunnel, c, _ *tunnel.TCPConn) { c.Abort() }},
		{name: "AbortFlows at the gateway", far: true, end: func(_, gw *tunnel.Tunnel, _, _ *tunnel.TCPConn) {
			if n := gw.AbortFlows(func(f tunnel.Flow) bool { return f.Source.Addr() == client4 }); n != 1 {
				t.Errorf("aborted %d flows, want 1", n)
			}
		}},
		{name: "AbortFlows at the client", end: func(cl, _ *tunnel.Tunnel, _, _ *tunnel.TCPConn) {
			if n := cl.AbortFlows(func(tunnel.Flow) bool { return true }); n != 1 {
				t.Errorf("aborted %d flows, want 1", n)
			}
		}},
		{name: "address removed", end: func(cl, _ *tunnel.Tunnel, _, _ *tunnel.TCPConn) {
			if err := cl.RemoveAddress(client4); err != nil {
				t.Error(err)
			}
			if _, err := cl.DialTCP(t.Context(), client4, target4); err == nil {
				t.Error("dial from a removed address succeeded")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			accepted := make(chan *tunnel.TCPConn, 1)
			client, gateway := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
				if c, err := r.Accept(); err == nil {
					accepted <- c
				}
			})})
			near := dial(t, client, client4, target4)
			far := <-accepted
			told, ended := far, near
			if tt.far {
				told, ended = near, far
			}
			read := make(chan error, 1)
			go func() {
				_, err := told.Read(make([]byte, 1))
				read <- err
			}()
			start := time.Now()
			tt.end(client, gateway, near, far)
			if err := <-read; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("other end got %v, want %v", err, syscall.ECONNRESET)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %s", d)
			}
			if _, err := ended.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("own end got %v, want %v", err, net.ErrClosed)
			}
			far.Abort()
			near.Abort()
			if c, g := client.Stats().FlowsOpen, gateway.Stats().FlowsOpen; c != 0 || g != 0 {
				t.Errorf("%d flows open at the client, %d at the gateway", c, g)
			}
		})
	}
}

func TestTunnel_Deadline(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	c := dial(t, client, client4, target4)
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%v is not a timeout", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("after the deadline was lifted: %v", err)
	}
}

func TestTunnel_DialContext(t *testing.T) {
	hold := make(chan struct{})
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		<-hold
		r.Reject(tunnel.RejectSilent)
	})})
	defer close(hold)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.DialTCP(ctx, client4, target4)
		result <- err
	}()
	eventually(t, "the dial counts as a flow", func() bool { return client.Stats().DialsInFlight == 0 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
