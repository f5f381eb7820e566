package gateway_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// freePort is a TCP port of loopback that nobody listens on.
func freePort(tb testing.TB) uint16 {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	return port
}

// expectSilence checks that nothing answers: WireGuard drops what is not the peer's.
func expectSilence(t *testing.T, w *world, source netip.Addr, dst netip.AddrPort) {
	t.Helper()
	before := len(w.auditEvents())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := w.client.DialTCP(ctx, source, dst); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial: %v, want no answer", err)
	}
	if after := len(w.auditEvents()); after != before {
		t.Errorf("%d audit events, want none: the packet must not arrive", after-before)
	}
}
