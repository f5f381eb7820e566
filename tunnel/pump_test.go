package tunnel_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"weft/tunnel"
	"weft/tunnel/tunneltest"
)

// ended is what a pump said when it was done.
type ended struct {
	n   int64
	err error
}

func startPump(c *tunnel.TCPConn, w io.Writer) <-chan ended {
	done := make(chan ended, 2)
	c.Pump(w, func(n int64, err error) { done <- ended{n, err} })
	return done
}

func awaitPump(t *testing.T, done <-chan ended) ended {
	t.Helper()
	select {
	case e := <-done:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("the pump goes on")
		return ended{}
	}
}

// TestTCPConn_Pump: a pump copies everything up to the end, says so once, and has the flow free for reads then.
func TestTCPConn_Pump(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	c := dial(t, client, client4, target4)
	want := bytes.Repeat([]byte("weft"), 1<<19)
	var got bytes.Buffer
	done := startPump(c, &got)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if e := awaitPump(t, done); e.err != nil || e.n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("pumped %d bytes, %v; the writer has %d", e.n, e.err, got.Len())
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read after the pump: %d, %v", n, err)
	}
	closeConn(c)
	select {
	case e := <-done:
		t.Errorf("done a second time: %+v", e)
	default:
	}
}

// TestTCPConn_PumpEnds: whatever ends a flow ends its pump, with an error unless the end was orderly.
func TestTCPConn_PumpEnds(t *testing.T) {
	far := make(chan *tunnel.TCPConn, 1)
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		if c, err := r.Accept(); err == nil {
			far <- c
		}
	})})
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		w    io.Writer
		end  func(near, far *tunnel.TCPConn)
		want error // nil: any error
	}{
		{"closed here", io.Discard, func(near, _ *tunnel.TCPConn) { closeConn(near) }, net.ErrClosed},
		{"aborted here", io.Discard, func(near, _ *tunnel.TCPConn) { near.Abort() }, net.ErrClosed},
		{"aborted there", io.Discard, func(_, far *tunnel.TCPConn) { far.Abort() }, nil},
		{"writer fails", failingWriter{broken}, func(_, far *tunnel.TCPConn) { _, _ = far.Write([]byte("x")) }, broken},
		{"writer takes too little", failingWriter{}, func(_, far *tunnel.TCPConn) { _, _ = far.Write([]byte("x")) }, io.ErrShortWrite},
		{"deadline", io.Discard, func(near, _ *tunnel.TCPConn) { _ = near.SetReadDeadline(time.Now()) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near := dial(t, client, client4, target4)
			other := <-far
			defer closeConn(other)
			done := startPump(near, tt.w)
			tt.end(near, other)
			if e := awaitPump(t, done); e.err == nil || tt.want != nil && !errors.Is(e.err, tt.want) {
				t.Errorf("ended with %v, want %v", e.err, tt.want)
			}
			closeConn(near)
		})
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestTCPConn_PumpHoldsNothing: flows that carry nothing have no goroutine in the direction that is pumped.
func TestTCPConn_PumpHoldsNothing(t *testing.T) {
	const flows = 200
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: tcpHandler(func(r *tunnel.TCPRequest) {
		if c, err := r.Accept(); err == nil {
			c.Pump(c, func(int64, error) { closeConn(c) }) // an echo without a goroutine
		}
	})})
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for range flows {
		near, end := io.Pipe()
		c := dial(t, client, client4, target4)
		all.Add(1)
		c.Pump(end, func(int64, error) {
			_ = end.Close()
			closeConn(c)
			all.Done()
		})
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(near, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.CloseWrite() }()
	}
	// Workers that were many at once end by and by.
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+2*tunnel.MaxIdleWorkersForTest {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines for %d idle flows", runtime.NumGoroutine()-before, flows)
		}
		runtime.Gosched()
	}
}

// TestTCPConn_PumpStalls: a writer that does not take anything holds up its own flow only.
func TestTCPConn_PumpStalls(t *testing.T) {
	client, _ := tunneltest.NewPair(t, tunneltest.Config{Handler: echo})
	for range 3 * tunnel.MaxIdleWorkersForTest {
		near, end := io.Pipe()
		c := dial(t, client, client4, target4)
		done := startPump(c, end)
		if _, err := c.Write([]byte("never read")); err != nil {
			t.Fatal(err)
		}
		defer func() { <-done }()
		defer closeConn(near)
		defer closeConn(c)
	}
	c := dial(t, client, client4, target4)
	near, end := io.Pipe()
	done := startPump(c, end)
	defer func() { <-done }()
	defer closeConn(near)
	defer closeConn(c)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
