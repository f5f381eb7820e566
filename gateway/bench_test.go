//go:build unix

package gateway_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft/tunnel"
)

// withLoopback runs WireGuard over loopback sockets instead of memory.
func withLoopback() option {
	return func(w *world) {
		w.loopback = true
		w.cfg.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	}
}

// benchBytes is what one operation of a bulk benchmark carries.
const benchBytes = 16 << 20

func benchWorld(b *testing.B, serve func(*net.TCPConn)) *world {
	b.Helper()
	w := newWorld(b, withLoopback())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): listen(b, serve)})
	return w
}

// perGiB reports the processor time of a bulk benchmark: client, gateway, connector and target together.
func perGiB(b *testing.B) func() {
	b.Helper()
	b.SetBytes(benchBytes)
	before := processorTime(b)
	return func() {
		b.ReportMetric((processorTime(b)-before).Seconds()/(float64(b.N)*benchBytes/(1<<30)), "cpu-s/GiB")
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDownload carries bytes from a target to a client through WireGuard, gateway, QUIC and connector.
func BenchmarkDownload(b *testing.B) {
	w := benchWorld(b, func(c *net.TCPConn) {
		buf := make([]byte, 256<<10)
		for {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	c := w.mustDial(slotA, portTCP)
	defer perGiB(b)()
	for b.Loop() {
		if _, err := io.CopyN(io.Discard, c, benchBytes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpload is the other direction.
func BenchmarkUpload(b *testing.B) {
	received := make(chan struct{}, 1024)
	w := benchWorld(b, func(c *net.TCPConn) {
		for {
			if _, err := io.CopyN(io.Discard, c, benchBytes); err != nil {
				return
			}
			received <- struct{}{}
		}
	})
	c := w.mustDial(slotA, portTCP)
	buf := make([]byte, 256<<10)
	defer perGiB(b)()
	for b.Loop() {
		for range benchBytes / len(buf) {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		<-received
	}
}

// BenchmarkExchange is a request and a response of 64 bytes.
func BenchmarkExchange(b *testing.B) {
	w := benchWorld(b, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	c := w.mustDial(slotA, portTCP)
	buf := make([]byte, 64)
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnect opens a flow, exchanges one byte and closes it, 16 at a time: decided, recorded, dialled.
func BenchmarkConnect(b *testing.B) {
	w := benchWorld(b, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := connectOnce(b.Context(), w.client, w.source(slotA)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conn/s")
}

func connectOnce(ctx context.Context, client *tunnel.Tunnel, source netip.Addr) error {
	c, err := client.DialTCP(ctx, source, at(portTCP))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}
