package server_test

import (
	"context"
	"net"
	"testing"
	"time"

	"weft/agent/localapi/server"
)

// serveTCP serves s on a listener whose connections name no caller, until the test ends.
func serveTCP(tb testing.TB, s *server.Server) string {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return ln.Addr().String()
}

func dialAddr(tb testing.TB, addr string) net.Conn {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", addr)
	must(tb, err)
	must(tb, c.SetDeadline(time.Now().Add(10*time.Second)))
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
