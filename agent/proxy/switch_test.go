package proxy_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"weft/agent/proxy"
)

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestSwitch(t *testing.T) {
	s := proxy.NewSwitch(nil)
	got := make(chan net.Conn)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				ended <- err
				return
			}
			got <- c
		}
	}()
	if s.Addr() != nil {
		t.Error("it listens without a listener")
	}
	connect := func(ln net.Listener) net.Conn {
		t.Helper()
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		select {
		case a := <-got:
			t.Cleanup(func() { _ = a.Close() })
			return a
		case <-time.After(5 * time.Second):
			t.Fatal("not accepted within 5 s")
			return nil
		}
	}
	for range 3 {
		ln := listenTCP(t)
		if err := s.Set(ln); err != nil {
			t.Fatal(err)
		}
		if s.Addr().String() != ln.Addr().String() {
			t.Errorf("it listens on %s, want %s", s.Addr(), ln.Addr())
		}
		before := connect(ln)
		if err := s.Set(nil); err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the old listener is still open: %v", err)
		}
		if _, err := before.Write([]byte("x")); err != nil {
			t.Errorf("a connection of the old listener: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	late := listenTCP(t)
	if err := errors.Join(s.Set(late), s.Set(nil), s.Close()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("use after Close: %v", err)
	}
	if err := late.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error("a listener given after Close is left open")
	}
}
