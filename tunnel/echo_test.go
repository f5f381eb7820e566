package tunnel_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// echo accepts every flow and sends back what comes.
var echo = tunneltest.Handler{
	TCP: func(_ context.Context, r *tunnel.TCPRequest) {
		c, err := r.Accept()
		if err != nil {
			return
		}
		defer closeConn(c)
		if _, err := io.Copy(c, c); err != nil {
			c.Abort()
			return
		}
		_ = c.CloseWrite()
	},
	UDP: func(_ context.Context, r *tunnel.UDPRequest) {
		c, err := r.Accept()
		if err != nil {
			return
		}
		go func() {
			defer closeConn(c)
			b := make([]byte, 2048)
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				if _, err := c.Write(b[:n]); err != nil {
					return
				}
			}
		}()
	},
}

var (
	client4 = netip.MustParseAddr("100.64.0.1")
	client6 = netip.MustParseAddr("fd00:64::1")
	target4 = netip.MustParseAddrPort("10.0.0.10:22")
	target6 = netip.MustParseAddrPort("[fd00:10::10]:22")
)

func TestTunnel_Echo(t *testing.T) {
	tests := []struct {
		name   string
		local  netip.Addr
		remote netip.AddrPort
	}{
		{name: "IPv4", local: client4, remote: target4},
		{name: "IPv6", local: client6, remote: target6},
	}
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	for _, tt := range tests {
		t.Run(tt.name+" TCP", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			c, err := client.DialTCP(ctx, tt.local, tt.remote)
			if err != nil {
				t.Fatal(err)
			}
			defer closeConn(c)
			want := make([]byte, 3<<20)
			for i := range want {
				want[i] = byte(i * 7 >> 3)
			}
			go func() {
				if _, err := c.Write(want); err != nil {
					t.Error(err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
			}()
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes, which differ from the %d sent", len(got), len(want))
			}
		})
		t.Run(tt.name+" UDP", func(t *testing.T) {
			c, err := client.DialUDP(t.Context(), tt.local, tt.remote)
			if err != nil {
				t.Fatal(err)
			}
			defer closeConn(c)
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1, 512, 1200, 2000} {
				want := bytes.Repeat([]byte{'x'}, size)
				if _, err := c.Write(want); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 4096)
				n, err := c.Read(b)
				if err != nil || !bytes.Equal(b[:n], want) {
					t.Fatalf("size %d: got %d bytes, %v", size, n, err)
				}
			}
		})
	}
}
