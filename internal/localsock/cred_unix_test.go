//go:build linux || darwin

package localsock_test

import (
	"net"
	"testing"

	"weft/internal/localsock"
)

// TestPeerCredentials_FailClosed: what has no credentials has no caller, rather than uid 0 or (uid_t)-1.
func TestPeerCredentials_FailClosed(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	raw, err := c.(*net.TCPConn).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		if id, err := localsock.PeerCredentialsForTest(int(fd)); err == nil {
			t.Errorf("a TCP connection has the caller %+v", id)
		}
	}))
	if id, err := localsock.PeerCredentialsForTest(-1); err == nil {
		t.Errorf("a descriptor that is none has the caller %+v", id)
	}
}
