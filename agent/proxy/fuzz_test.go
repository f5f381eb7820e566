package proxy_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"weft/agent/proxy"
)

// FuzzSOCKS: whatever is accepted means the same when it is written and read again.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte{5, 1, 0, 5, 1, 0, 1, 10, 1, 2, 3, 0, 22})
	f.Add([]byte{5, 2, 0, 2, 1, 1, 'a', 0, 5, 1, 0, 3, 2, 'd', 'b', 0, 22})
	f.Add([]byte{5, 1, 2, 1, 0, 0, 5, 3, 0, 4, 0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0})
	f.Add([]byte{5, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		user, name, port, err := proxy.HandshakeForTest(b)
		if err != nil {
			return
		}
		if name == "" || len(name) > 255 || len(user) > 255 {
			t.Fatalf("accepted user %q, name %q", user, name)
		}
		if port == 0 {
			return // of an association
		}
		if a, err := netip.ParseAddr(name); err == nil && (a.Is4In6() || a.Zone() != "") {
			return // a name that looks like an address that no request can hold
		}
		u2, n2, p2, err := proxy.HandshakeForTest(proxy.EncodeForTest(user, name, port))
		same := n2 == name
		if a, perr := netip.ParseAddr(name); perr == nil {
			same = n2 == a.String()
		}
		if err != nil || u2 != user || !same || p2 != port {
			t.Fatalf("%q, %q, %d became %q, %q, %d: %v", user, name, port, u2, n2, p2, err)
		}
	})
}

// FuzzDatagram: the header that an answer gets leads back to the same destination.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 10, 1, 2, 3, 0, 53, 'x'})
	f.Add([]byte{0, 0, 0, 3, 2, 'n', 's', 0, 53})
	f.Add([]byte{0, 0, 1, 1, 10, 1, 2, 3, 0, 53})
	f.Fuzz(func(t *testing.T, b []byte) {
		head, payload, err := proxy.DatagramForTest(b)
		if err != nil {
			return
		}
		again, p2, err := proxy.DatagramForTest(append(bytes.Clone(head), payload...))
		if err != nil || !bytes.Equal(again, head) || !bytes.Equal(p2, payload) {
			t.Fatalf("% x became % x, %v", head, again, err)
		}
	})
}

func FuzzCONNECT(f *testing.F) {
	f.Add([]byte("CONNECT h:22 HTTP/1.1\r\nHost: h:22\r\n\r\n"))
	f.Add([]byte("CONNECT [fd00::1]:22 HTTP/1.1\r\nProxy-Authorization: Basic YTpi\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, port, _, ok := proxy.ConnectForTest(b)
		if ok && (name == "" || port == 0 || strings.ContainsAny(name, "\r\n")) {
			t.Fatalf("accepted %q, port %d", name, port)
		}
	})
}
