package localsock_test

import (
	"net"
	"testing"

	"weft/internal/localsock"
)

// TestTCPPeer_Self: a connection of this process is that of its account.
func TestTCPPeer_Self(t *testing.T) {
	me, err := localsock.Self()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	id, err := localsock.TCPPeer(server)
	if err != nil || !id.SameUser(me) || id.PID != me.PID {
		t.Errorf("%+v, %v; want %+v", id, err, me)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if id, err := localsock.TCPPeer(server); err == nil {
		t.Errorf("a closed connection is that of %+v", id)
	}
}
