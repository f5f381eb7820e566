package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/netip"
)

// HandshakeForTest parses a whole SOCKS5 handshake.
func HandshakeForTest(b []byte) (user, name string, port uint16, err error) {
	r := bytes.NewReader(b)
	if user, err = negotiate(r, io.Discard); err != nil {
		return "", "", 0, err
	}
	req, _, err := readRequest(r)
	return user, req.name, req.port, err
}

// EncodeForTest writes the handshake that HandshakeForTest reads.
func EncodeForTest(user, name string, port uint16) []byte {
	b := []byte{socksVersion, 1, methodPassword, passwordVersion, byte(len(user))}
	b = append(append(b, user...), 0, socksVersion, commandConnect, 0)
	if a, err := netip.ParseAddr(name); err == nil && a.Zone() == "" {
		return appendAddress(b, netip.AddrPortFrom(a, port))
	}
	b = append(b, addressName, byte(len(name)))
	b = append(b, name...)
	return append(b, byte(port>>8), byte(port))
}

// DatagramForTest parses a UDP datagram and encodes its header again.
func DatagramForTest(b []byte) (again, payload []byte, err error) {
	to, payload, err := parseDatagram(b)
	if err != nil {
		return nil, nil, err
	}
	return datagramHeader(to), payload, nil
}

// ConnectForTest parses an HTTP request.
func ConnectForTest(b []byte) (name string, port uint16, user string, ok bool) {
	req, err := http.ReadRequest(bufio.NewReader(&io.LimitedReader{R: bytes.NewReader(b), N: maxHeaderBytes}))
	if err != nil {
		return "", 0, "", false
	}
	d, ferr := parseConnect(req)
	return d.Name, d.Port, d.VNET, ferr == nil
}
