package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// exchange sends a byte and waits for its echo.
func exchange(c io.ReadWriter) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// TestTunnel_GatewayRestart: with the handshake forced, traffic passes within
// a second of the restart, where WireGuard alone needs 15.
func TestTunnel_GatewayRestart(t *testing.T) {
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	network := new(tunneltest.Network)
	cfg := tunnel.Config{PrivateKey: key, Handler: echo, Listen: netip.MustParseAddrPort("192.0.2.1:443")}
	gw, endpoint := newGateway(t, network, cfg)
	addrs := []netip.Addr{client4}
	client := tunneltest.New(t, network, otherHost, tunnel.Config{Addresses: addrs})
	tunneltest.Connect(t, client, gw, endpoint, addrs)
	old := dial(t, client, client4, target4)
	if err := exchange(old); err != nil {
		t.Fatal(err)
	}
	if s, ok := client.PeerStats(gw.PublicKey()); !ok || s.LastHandshake.IsZero() || s.RxBytes == 0 || s.TxBytes == 0 || s.Endpoint != endpoint {
		t.Errorf("peer stats are %+v, %t", s, ok)
	}

	// A gateway that goes in an orderly way says so.
	closeConn(gw)
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("old stream got %v, want an error", err)
	}

	start := time.Now()
	gw2, _ := newGateway(t, network, cfg)
	if err := gw2.SetPeer(tunnel.Peer{PublicKey: client.PublicKey(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(client4, 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := client.ForceHandshake(gw2.PublicKey()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, client, client4, target4)
	if err := exchange(c); err != nil {
		t.Fatal(err)
	}
	d := time.Since(start)
	t.Logf("traffic %s after the restart", d)
	if d > 4*time.Second {
		t.Errorf("traffic passed %s after the restart", d)
	}
}

// TestTunnel_Roam: flows survive a change of the client's socket.
func TestTunnel_Roam(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	c := dial(t, client, client4, target4)
	for range 5 {
		before := client.ListenPort()
		if err := client.Rebind(); err != nil {
			t.Fatal(err)
		}
		if client.ListenPort() == before {
			t.Errorf("port is still %d", before)
		}
		start := time.Now()
		if err := exchange(c); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("exchange took %s after the rebind", d)
		}
	}
}

// TestTunnel_CloseUnderLoad: closing either end ends every operation on it,
// and (TestMain) leaves no goroutine.
func TestTunnel_CloseUnderLoad(t *testing.T) {
	for _, end := range []string{"client", "gateway"} {
		t.Run(end, func(t *testing.T) {
			client, gateway := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
			var flows sync.WaitGroup
			for range 20 {
				c := dial(t, client, client4, target4)
				flows.Go(func() { _, _ = io.Copy(io.Discard, c) })
				flows.Go(func() {
					b := make([]byte, 32<<10)
					for {
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				})
			}
			dialing, stop := context.WithCancel(t.Context())
			defer stop()
			for range 4 {
				flows.Go(func() {
					for dialing.Err() == nil {
						c, err := client.DialTCP(dialing, client4, target4)
						if errors.Is(err, tunnel.ErrClosed) {
							return
						}
						if err == nil {
							c.Abort()
						}
					}
				})
			}
			eventually(t, "data moves", func() bool {
				s, _ := client.PeerStats(gateway.PublicKey())
				return s.RxBytes > 4<<20
			})
			closing := client
			if end == "gateway" {
				closing = gateway
			}
			start := time.Now()
			closeConn(closing)
			if d := time.Since(start); d > 3*time.Second {
				t.Errorf("close took %s", d)
			}
			stop()
			client.AbortFlows(func(tunnel.Flow) bool { return true }) // what no reset reached would wait for its timers
			flows.Wait()
			if err := closing.SetPeer(tunnel.Peer{PublicKey: tunnel.PublicKey{1}}); !errors.Is(err, tunnel.ErrClosed) {
				t.Errorf("SetPeer after Close: %v", err)
			}
			if err := closing.Rebind(); !errors.Is(err, tunnel.ErrClosed) {
				t.Errorf("Rebind after Close: %v", err)
			}
			closeConn(closing) // again
		})
	}
}

// TestTunnel_CloseWaitsForHandlers: requests that are being decided end too.
func TestTunnel_CloseWaitsForHandlers(t *testing.T) {
	started := make(chan struct{})
	var ended bool
	client, gateway := tunneltest.NewPair(t, tunneltest.Config{Handler: tunneltest.Handler{
		TCP: func(ctx context.Context, r *tunnel.TCPRequest) {
			close(started)
			<-ctx.Done()
			if _, err := r.Accept(); err == nil {
				t.Error("a closed tunnel accepted a flow")
			}
			ended = true
		},
	}})
	dialing, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = client.DialTCP(dialing, client4, target4)
	}()
	<-started
	closeConn(gateway)
	if !ended {
		t.Error("Close returned before the handler")
	}
	stop()
	<-done
}

// TestTunnel_SetPeer: repeating a peer changes nothing, least of all the
// endpoint that was learned.
func TestTunnel_SetPeer(t *testing.T) {
	client, gateway := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	peer := tunnel.Peer{PublicKey: client.PublicKey(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(client4, 32)}, Keepalive: 25 * time.Second}
	c := dial(t, client, client4, target4)
	learned, ok := gateway.PeerStats(client.PublicKey())
	if !ok || !learned.Endpoint.IsValid() {
		t.Fatalf("gateway has not learned the endpoint: %+v", learned)
	}
	for range 3 {
		if err := gateway.SetPeer(peer); err != nil {
			t.Fatal(err)
		}
	}
	if s, _ := gateway.PeerStats(client.PublicKey()); s.Endpoint != learned.Endpoint {
		t.Errorf("endpoint is %s, want %s", s.Endpoint, learned.Endpoint)
	}
	if err := exchange(c); err != nil {
		t.Error(err)
	}
	if err := gateway.RemovePeer(client.PublicKey()); err != nil {
		t.Fatal(err)
	}
	if _, ok := gateway.PeerStats(client.PublicKey()); ok {
		t.Error("a removed peer has stats")
	}
	if err := gateway.ForceHandshake(client.PublicKey()); err == nil {
		t.Error("handshake with a removed peer")
	}

	bad := []tunnel.Peer{
		{},
		{PublicKey: tunnel.PublicKey{1}, Keepalive: -time.Second},
		{PublicKey: tunnel.PublicKey{1}, Endpoint: netip.AddrPortFrom(client4, 0)},
		{PublicKey: tunnel.PublicKey{1}, AllowedIPs: []netip.Prefix{{}}},
	}
	for _, p := range bad {
		if err := gateway.SetPeer(p); err == nil {
			t.Errorf("accepted %+v", p)
		}
	}
}

func TestNew_BadConfig(t *testing.T) {
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		cfg  tunnel.Config
	}{
		{name: "no key", cfg: tunnel.Config{}},
		{name: "MTU below IPv6's", cfg: tunnel.Config{PrivateKey: key, MTUBytes: 1279}},
		{name: "MTU above a datagram", cfg: tunnel.Config{PrivateKey: key, MTUBytes: 65536}},
		{name: "gateway with addresses", cfg: tunnel.Config{PrivateKey: key, Handler: echo, Addresses: []netip.Addr{client4}}},
		{name: "unspecified address", cfg: tunnel.Config{PrivateKey: key, Addresses: []netip.Addr{netip.IPv4Unspecified()}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if end, err := tunnel.New(tt.cfg); err == nil {
				closeConn(end)
				t.Error("accepted")
			}
		})
	}
}

// TestTCPConn_CopyBothWays: what a relay does, through WriteTo and ReadFrom.
func TestTCPConn_CopyBothWays(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	c := dial(t, client, client4, target4)
	want := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	var got bytes.Buffer
	var both sync.WaitGroup
	both.Go(func() {
		if n, err := c.ReadFrom(bytes.NewReader(want)); err != nil || n != int64(len(want)) {
			t.Errorf("ReadFrom: %d bytes, %v", n, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	both.Go(func() {
		if n, err := c.WriteTo(&got); err != nil || n != int64(len(want)) {
			t.Errorf("WriteTo: %d bytes, %v", n, err)
		}
	})
	both.Wait()
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("what came back differs")
	}
}
