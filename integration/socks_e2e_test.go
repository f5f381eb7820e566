//go:build e2e && linux

package integration_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"
)

// dialer is x/net/proxy's forwarder: it dials the SOCKS5 server inside a namespace.
type dialer struct{ ns string }

func (d dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialIn(ctx, d.ns, network, addr)
}

// socks opens a connection through the agent's SOCKS5 proxy; network "" means the selected one.
func (a *agent) socks(ctx context.Context, network, addr string) (net.Conn, error) {
	var auth *proxy.Auth
	if network != "" {
		auth = &proxy.Auth{User: network, Password: "x"}
	}
	d, err := proxy.SOCKS5("tcp", a.proxy, auth, dialer{a.w.net.client})
	if err != nil {
		return nil, err
	}
	return d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
}

// echoStream is a connection to the echo service of one host.
type echoStream struct {
	net.Conn
	in   *bufio.Reader
	host string // what the content must say
	n    int
}

func (a *agent) openEcho(ctx context.Context, network, addr, host string) (*echoStream, error) {
	c, err := a.socks(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &echoStream{Conn: c, in: bufio.NewReader(c), host: host}, nil
}

// exchange sends one line and checks the answer to the byte.
func (s *echoStream) exchange(within time.Duration) error {
	s.n++
	line := fmt.Sprintf("line %d of a stream to %s\n", s.n, s.host)
	if err := s.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := io.WriteString(s, line); err != nil {
		return err
	}
	got, err := s.in.ReadString('\n')
	if err != nil {
		return err
	}
	if got != s.host+" "+line {
		return fmt.Errorf("sent %q to %s, got %q", line, s.host, got)
	}
	return nil
}

// whichHost opens a connection and returns the name that the service says.
func (a *agent) whichHost(ctx context.Context, network, addr string) (string, error) {
	c, err := a.socks(ctx, network, addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "who\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	name, _, _ := strings.Cut(line, " ")
	return name, err
}

// datagram sends one datagram through UDP ASSOCIATE (RFC 1928 section 7) and returns the answer.
func (a *agent) datagram(t *testing.T, network string, to netip.AddrPort, payload string) (string, error) {
	t.Helper()
	control, err := dialIn(t.Context(), a.w.net.client, "tcp", a.proxy)
	if err != nil {
		return "", err
	}
	defer func() { _ = control.Close() }()
	relay, err := associate(control, network)
	if err != nil {
		return "", err
	}
	u, err := dialIn(t.Context(), a.w.net.client, "udp", relay.String())
	if err != nil {
		return "", err
	}
	defer func() { _ = u.Close() }()
	header := append([]byte{0, 0, 0, 1}, to.Addr().AsSlice()...)
	header = binary.BigEndian.AppendUint16(header, to.Port())
	buf := make([]byte, 2048)
	// A datagram may be lost: try a few times.
	for range 5 {
		if _, err := u.Write(append(header, payload...)); err != nil {
			return "", err
		}
		if err := u.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return "", err
		}
		n, err := u.Read(buf)
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			continue
		}
		if err != nil || n < len(header) {
			return "", fmt.Errorf("answer of %d bytes: %w", n, err)
		}
		return string(buf[len(header):n]), nil
	}
	return "", errors.New("no answer")
}

func associate(c net.Conn, network string) (netip.AddrPort, error) {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return netip.AddrPort{}, err
	}
	hello := []byte{5, 1, 2, 1, byte(len(network))}
	hello = append(append(hello, network...), 1, 'x')
	if _, err := c.Write(append(hello, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0)); err != nil {
		return netip.AddrPort{}, err
	}
	answer := make([]byte, 2+2+10)
	if _, err := io.ReadFull(c, answer); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the SOCKS5 answers: %w", err)
	}
	if answer[1] != 2 || answer[3] != 0 || answer[5] != 0 || answer[7] != 1 {
		return netip.AddrPort{}, fmt.Errorf("UDP ASSOCIATE was answered with % x", answer)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(answer[8:12])), binary.BigEndian.Uint16(answer[12:14])), nil
}
