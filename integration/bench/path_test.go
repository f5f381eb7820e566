package main

import (
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"weft/agent"
	"weft/agent/localapi/client"
	"weft/dev"
	"weft/integration/lab"
)

// path is the whole way in one process, so that one profile shows it all: SOCKS5, agent, tunnel, gateway, connector, target.
func path(b *testing.B) way {
	b.Helper()
	t, err := newTarget()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.close() })
	dir := b.TempDir()
	d, err := dev.New(dev.Config{Dir: filepath.Join(dir, "dev"), Connectors: []dev.Connector{{
		Tunnel: "bench", Map: map[netip.AddrPort]netip.AddrPort{netip.MustParseAddrPort(targetAddr): netip.MustParseAddrPort(t.l.Addr().String())},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	runUntilEnd(b, d.Run)
	<-d.Ready()
	env, err := dev.Environment(b.Context(), filepath.Join(dir, "dev"), email)
	if err != nil {
		b.Fatal(err)
	}
	e := lab.Env{}
	for _, v := range env {
		e[v.Name] = v.Value
	}
	if err := createObjects(b.Context(), e); err != nil {
		b.Fatal(err)
	}
	ready := make(chan agent.Ready, 1)
	a, err := agent.New(agent.Config{
		StateDir: filepath.Join(dir, "agent"), Socket: filepath.Join(dir, "s"), ProxyListen: "127.0.0.1:0", ForceFile: true,
		OnReady: func(r agent.Ready) { ready <- r },
	})
	if err != nil {
		b.Fatal(err)
	}
	runUntilEnd(b, a.Run)
	r := <-ready
	c := client.New(r.Socket)
	if _, err := c.Register(b.Context(), e["WEFT_ENROLMENT"]); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Connect(b.Context(), 10*time.Second); err != nil {
		b.Fatal(err)
	}
	if _, err := c.SelectVNET(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	return way{"weft", r.Proxy}
}

// runUntilEnd runs f until the end of the benchmark.
func runUntilEnd(b *testing.B, f func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

func BenchmarkPath(b *testing.B) {
	w := path(b)
	for _, d := range []struct {
		name string
		kind byte
	}{{"Down", askDown}, {"Up", askUp}} {
		b.Run(d.name, func(b *testing.B) {
			c, err := w.dial(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Write([]byte{d.kind}); err != nil {
				b.Fatal(err)
			}
			const chunk = 1 << 20
			b.SetBytes(chunk)
			buf := make([]byte, chunk)
			for b.Loop() {
				if d.kind == askDown {
					_, err = io.ReadFull(c, buf)
				} else {
					_, err = c.Write(buf)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Exchange64B", func(b *testing.B) { exchange(b, w) })
	b.Run("Connect", func(b *testing.B) {
		for b.Loop() {
			if err := oneConnection(b.Context(), w); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func exchange(b *testing.B, w way) {
	b.Helper()
	c, err := w.dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte{askEcho}); err != nil {
		b.Fatal(err)
	}
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
