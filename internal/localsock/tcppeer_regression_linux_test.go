package localsock_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"weft/internal/localsock"
	"weft/internal/testwait"
)

// A client that resets its connection gives its port up at once. The next program to connect from there, of whatever
// account, was named as the owner of the first connection, of which all that had come could still be read.
func TestTCPPeer_PortUsedAgain_regression(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	dial := func(from net.Addr) *net.TCPConn {
		t.Helper()
		var c net.Conn
		testwait.Until(t, "the port is free", func() bool { // the kernel, or another program, may hold it for a moment
			var err error
			c, err = (&net.Dialer{LocalAddr: from}).DialContext(t.Context(), "tcp", ln.Addr().String())
			if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
			return err == nil
		})
		return c.(*net.TCPConn)
	}
	first := dial(nil)
	at := first.LocalAddr()
	if _, err := io.WriteString(first, "do it"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.SetLinger(0), first.Close()); err != nil {
		t.Fatal(err)
	}
	second := dial(at)
	defer func() { _ = second.Close() }()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	if id, err := localsock.TCPPeer(got); !errors.Is(err, localsock.ErrUnknownPeer) {
		t.Errorf("the connection of somebody who has gone is %v's, %v", id, err)
	}
	if got, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	if _, err := localsock.TCPPeer(got); err != nil {
		t.Errorf("the connection that is there: %v", err)
	}
}
