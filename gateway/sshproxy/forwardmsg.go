package sshproxy

import (
	"errors"
	"net"
	"strconv"
)

// The payloads of forwarding: RFC 4254 sections 6.3 and 7, and OpenSSH's PROTOCOL sections 2.2 and 2.4 for those of sockets.

// tcpChannel opens direct-tcpip (Host is where to) and forwarded-tcpip (where the target listened).
type tcpChannel struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// directSocket opens direct-streamlocal@openssh.com.
type directSocket struct {
	Path      string
	Reserved  string
	Reserved2 uint32
}

// forwardedSocket opens forwarded-streamlocal@openssh.com.
type forwardedSocket struct{ Path, Reserved string }

// tcpListen is tcpip-forward and cancel-tcpip-forward.
type tcpListen struct {
	Host string
	Port uint32
}

// socketListen is streamlocal-forward@openssh.com and its cancel.
type socketListen struct{ Path string }

// x11Request is x11-req. The cookie goes on no record.
type x11Request struct {
	Single   bool
	Protocol string
	Cookie   string
	Screen   uint32
}

// x11Channel opens x11.
type x11Channel struct {
	OriginHost string
	OriginPort uint32
}

var errForwardMessage = errors.New("the request is malformed")

// Texts in a forwarding are this long at most: twice what any host name, address, path or cookie is.
const maxForwardText = 1 << 10

func parseForward[T any](payload []byte, texts func(*T) []string) (T, error) {
	m, err := unmarshal[T](payload)
	if err != nil {
		return m, errForwardMessage
	}
	for _, s := range texts(&m) {
		if len(s) > maxForwardText {
			return m, errForwardMessage
		}
	}
	return m, nil
}

func parseTCPChannel(payload []byte) (tcpChannel, error) {
	return parseForward(payload, func(m *tcpChannel) []string { return []string{m.Host, m.OriginHost} })
}

func parseDirectSocket(payload []byte) (directSocket, error) {
	return parseForward(payload, func(m *directSocket) []string { return []string{m.Path, m.Reserved} })
}

func parseForwardedSocket(payload []byte) (forwardedSocket, error) {
	return parseForward(payload, func(m *forwardedSocket) []string { return []string{m.Path, m.Reserved} })
}

func parseTCPListen(payload []byte) (tcpListen, error) {
	return parseForward(payload, func(m *tcpListen) []string { return []string{m.Host} })
}

func parseSocketListen(payload []byte) (socketListen, error) {
	return parseForward(payload, func(m *socketListen) []string { return []string{m.Path} })
}

func parseX11Request(payload []byte) (x11Request, error) {
	return parseForward(payload, func(m *x11Request) []string { return []string{m.Protocol, m.Cookie} })
}

func parseX11Channel(payload []byte) (x11Channel, error) {
	return parseForward(payload, func(m *x11Channel) []string { return []string{m.OriginHost} })
}

// parseAllocated reads the answer to a tcpip-forward of port 0.
func parseAllocated(payload []byte) (uint32, error) {
	m, err := unmarshal[struct{ Port uint32 }](payload)
	if err != nil || m.Port < 1 || m.Port > 65535 {
		return 0, errForwardMessage
	}
	return m.Port, nil
}

// origin is where a connection came from, for the record and for the other side's log: an address as it is, and anything
// else made harmless.
func origin(host string, port uint32) string {
	return net.JoinHostPort(originHost(host), strconv.FormatUint(uint64(port), 10))
}

func originHost(host string) string {
	if host = clean(short(host)); host == "" {
		return "unknown"
	}
	return host
}

// listenText is how a listen address is written in policies and on record.
func listenText(host string, port uint32) string {
	if host == "" {
		host = "*"
	}
	return hostPort(host, port)
}

func socketText(path string) string { return "unix:" + short(path) }
