package agent_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"weft/agent/localapi"
)

// socksRequest asks for the echo port of the target by address, without a user.
var socksRequest = []byte{5, 1, 0, 1, 10, 1, 2, 3, 0, echoPort}

func socksOpen(addr string) (*net.TCPConn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := nc.(*net.TCPConn)
	var b [16]byte
	if _, err := c.Write([]byte{5, 1, 0}); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return nil, err
	}
	if _, err := c.Write(socksRequest); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, b[:10]); err != nil {
		return nil, err
	}
	if b[1] != 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return c, nil
}

// BenchmarkSOCKS_NewConnections opens, exchanges 64 bytes and closes; 16 at a time.
// Agent, gateway, target and load share the processors.
func BenchmarkSOCKS_NewConnections(b *testing.B) {
	w := newWorld(b)
	addr := w.agent.ready.Proxy
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range 16 {
		wg.Go(func() {
			buf := make([]byte, 64)
			for left.Add(-1) >= 0 {
				c, err := socksOpen(addr)
				if err != nil {
					b.Error(err)
					return
				}
				_, err = c.Write(buf)
				if err == nil {
					_, err = io.ReadFull(c, buf)
				}
				if err != nil {
					b.Error(err)
				}
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conn/s")
}

// BenchmarkSOCKS_Exchange is one 64-byte request and answer on an open connection.
func BenchmarkSOCKS_Exchange(b *testing.B) {
	w := newWorld(b)
	c, err := socksOpen(w.agent.ready.Proxy)
	must(b, err)
	b.Cleanup(func() { _ = c.Close() })
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDial_NewFlows is the same without the proxy.
func BenchmarkDial_NewFlows(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	buf := make([]byte, 64)
	for b.Loop() {
		f, err := w.agent.DialFlow(b.Context(), localapi.Dial{Name: "10.1.2.3", Port: echoPort})
		must(b, err)
		_, err = f.Write(buf)
		must(b, err)
		_, err = io.ReadFull(f, buf)
		must(b, err)
		must(b, f.Close())
	}
}
