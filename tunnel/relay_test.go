package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// relay joins a flow and a connection as a gateway does.
func relay(flow *tunnel.TCPConn, target *net.TCPConn) {
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := io.Copy(target, flow); err != nil {
			flow.Abort()
		}
		_ = target.CloseWrite()
	})
	both.Go(func() {
		if _, err := io.Copy(flow, target); err != nil {
			flow.Abort()
		}
		_ = flow.CloseWrite()
	})
	both.Wait()
	closeConn(target)
	closeConn(flow)
}

// tcpPair is two ends of a kernel connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(ln)
	ca, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cb, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return ca.(*net.TCPConn), cb.(*net.TCPConn)
}

// TestTCPConn_RelayToSocket: through io.Copy, a flow and a socket pass bytes,
// half-closes and failures on, in both directions.
func TestTCPConn_RelayToSocket(t *testing.T) {
	near, target := tcpPair(t)
	done := make(chan struct{})
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		defer close(done)
		if c, err := r.Accept(); err == nil {
			relay(c, near)
		}
	})})
	c := dial(t, client, client4, target4)
	want := bytes.Repeat([]byte("weft"), 1<<19)
	var both sync.WaitGroup
	both.Go(func() { // the target: reads all, then answers with all
		got, err := io.ReadAll(target)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("target got %d bytes, %v", len(got), err)
		}
		if _, err := target.Write(got); err != nil {
			t.Error(err)
		}
		closeConn(target)
	})
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("client got %d bytes, %v", len(got), err)
	}
	both.Wait()
	<-done
}

// TestTCPConn_ReadFromFails: a failure of either side is not an end of stream.
func TestTCPConn_ReadFromFails(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	t.Run("socket", func(t *testing.T) {
		near, target := tcpPair(t)
		defer closeConn(near)
		c := dial(t, client, client4, target4)
		if err := target.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		closeConn(target) // resets
		if _, err := c.ReadFrom(near); err == nil {
			t.Error("a reset was taken for an end of stream")
		}
	})
	t.Run("socket closed here", func(t *testing.T) {
		near, target := tcpPair(t)
		defer closeConn(target)
		c := dial(t, client, client4, target4)
		closeConn(near)
		if _, err := c.ReadFrom(near); err == nil {
			t.Error("a closed socket was taken for an end of stream")
		}
	})
	t.Run("reader", func(t *testing.T) {
		c := dial(t, client, client4, target4)
		broken := errors.New("broken")
		n, err := c.ReadFrom(io.MultiReader(bytes.NewReader(make([]byte, 5000)), failingReader{broken}))
		if n != 5000 || !errors.Is(err, broken) {
			t.Errorf("copied %d bytes, %v", n, err)
		}
	})
	t.Run("flow", func(t *testing.T) {
		c := dial(t, client, client4, target4)
		c.Abort()
		if _, err := c.ReadFrom(bytes.NewReader([]byte("x"))); !errors.Is(err, net.ErrClosed) {
			t.Errorf("copy to an aborted flow: %v", err)
		}
		if _, err := c.WriteTo(io.Discard); !errors.Is(err, net.ErrClosed) {
			t.Errorf("copy from an aborted flow: %v", err)
		}
	})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// TestUDPConn_RefusalWakesRead: a client that waits for an answer learns at
// once that there will be none.
func TestUDPConn_RefusalWakesRead(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tunneltest.Handler{
		UDP: func(_ context.Context, r *tunnel.UDPRequest) { r.Reject(tunnel.RejectProhibited) },
	}})
	c, err := client.DialUDP(t.Context(), client4, target4)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(c)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, tunnel.ErrProhibited) {
		t.Errorf("got %v, want %v", err, tunnel.ErrProhibited)
	}
}
