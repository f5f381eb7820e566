package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/agent/relay"
)

// Constants of RFC 1928 and RFC 1929.
const (
	socksVersion      = 5
	passwordVersion   = 1
	methodNone        = 0x00
	methodPassword    = 0x02
	methodUnsupported = 0xff

	commandConnect   = 1
	commandAssociate = 3

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4
)

// Replies of RFC 1928 section 6.
const (
	replySucceeded          = 0x00
	replyGeneralFailure     = 0x01
	replyNotAllowed         = 0x02
	replyNetworkUnreachable = 0x03
	replyHostUnreachable    = 0x04
	replyRefused            = 0x05
	replyTTLExpired         = 0x06
	replyCommandUnsupported = 0x07
	replyAddressUnsupported = 0x08
)

// socksReply maps a code to a reply: the only table of its kind.
func socksReply(code string) byte {
	switch code {
	case localapi.CodeProhibited, localapi.CodePermission, "denied", "unauthenticated", localapi.CodeRevoked,
		localapi.CodeUnknownVNET, localapi.CodeAmbiguous:
		return replyNotAllowed
	case localapi.CodeNotRegistered, localapi.CodeNotConnected, "unavailable":
		return replyNetworkUnreachable
	case localapi.CodeUnknownTarget, "not_found", localapi.CodeUnreachable:
		return replyHostUnreachable
	case localapi.CodeRefused:
		return replyRefused
	case localapi.CodeTimeout:
		return replyTTLExpired
	default:
		return replyGeneralFailure
	}
}

// errSOCKS is a handshake that is not SOCKS5 as the RFCs have it.
var errSOCKS = errors.New("malformed SOCKS5 handshake")

// request is a parsed SOCKS5 request.
type request struct {
	command byte
	name    string // a name, or an address in its text form
	port    uint16
}

// socks serves one SOCKS5 handshake up to the relay.
func (s *Server) socks(ctx context.Context, c *conn) (relay.Flow, error) {
	user, err := negotiate(c.r, c)
	if err != nil {
		s.malformed.Add(1)
		return nil, err
	}
	req, code, err := readRequest(c.r)
	if err != nil {
		s.malformed.Add(1)
		if code != replySucceeded {
			err = errors.Join(err, writeReply(c, code, netip.AddrPort{}))
		}
		return nil, err
	}
	if err := s.authorize(ctx, c); err != nil { // only now SOCKS has an answer for it
		return nil, errors.Join(err, writeReply(c, replyNotAllowed, netip.AddrPort{}))
	}
	switch {
	case req.command == commandConnect:
		return s.socksConnect(ctx, c, user, req)
	case req.command == commandAssociate && s.cfg.PacketDialer != nil:
		return nil, s.associate(ctx, c, user, req)
	default:
		s.refused.Add(1)
		return nil, errors.Join(fmt.Errorf("SOCKS5 command %d is not offered", req.command),
			writeReply(c, replyCommandUnsupported, netip.AddrPort{}))
	}
}

func (s *Server) socksConnect(ctx context.Context, c *conn, user string, req request) (relay.Flow, error) {
	flow, ferr := s.dial(ctx, c, origin.SOCKS, localapi.Dial{Name: req.name, Port: req.port, VNET: user})
	if ferr != nil {
		return nil, errors.Join(ferr, writeReply(c, socksReply(ferr.Code), netip.AddrPort{}))
	}
	if err := writeReply(c, replySucceeded, netip.AddrPort{}); err != nil {
		flow.Abort()
		return nil, err
	}
	return flow, nil
}

// negotiate chooses the method and returns the user name, which may be empty. A
// client that offers a password gets to give it: that is how it names a VNET.
func negotiate(r io.Reader, w io.Writer) (user string, err error) {
	var b [2 + 255]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return "", fmt.Errorf("%w: %w", errSOCKS, err)
	}
	if b[0] != socksVersion || b[1] == 0 {
		return "", fmt.Errorf("%w: version %d with %d methods", errSOCKS, b[0], b[1])
	}
	methods := b[2 : 2+int(b[1])]
	if _, err := io.ReadFull(r, methods); err != nil {
		return "", fmt.Errorf("%w: %w", errSOCKS, err)
	}
	method := byte(methodUnsupported)
	for _, m := range methods {
		if m == methodPassword {
			method = m
			break
		}
		if m == methodNone {
			method = m
		}
	}
	b[0], b[1] = socksVersion, method
	if _, err := w.Write(b[:2]); err != nil {
		return "", err
	}
	switch method {
	case methodPassword:
		return readPassword(r, w)
	case methodNone:
		return "", nil
	default:
		return "", fmt.Errorf("%w: no method in common", errSOCKS)
	}
}

// readPassword reads the message of RFC 1929 section 2 and accepts it.
func readPassword(r io.Reader, w io.Writer) (user string, err error) {
	var b [256]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return "", fmt.Errorf("%w: %w", errSOCKS, err)
	}
	if b[0] != passwordVersion {
		return "", fmt.Errorf("%w: password message of version %d", errSOCKS, b[0])
	}
	name := b[:b[1]]
	if _, err := io.ReadFull(r, name); err != nil {
		return "", fmt.Errorf("%w: %w", errSOCKS, err)
	}
	user = string(name)
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return "", fmt.Errorf("%w: %w", errSOCKS, err)
	}
	if _, err := io.ReadFull(r, b[:b[0]]); err != nil {
		return "", fmt.Errorf("%w: %w", errSOCKS, err)
	}
	b[0], b[1] = passwordVersion, 0
	if _, err := w.Write(b[:2]); err != nil {
		return "", err
	}
	return user, nil
}

// readRequest reads the message of RFC 1928 section 4. With an error comes the
// reply to give; replySucceeded means none.
func readRequest(r io.Reader) (request, byte, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return request{}, replySucceeded, fmt.Errorf("%w: %w", errSOCKS, err)
	}
	if b[0] != socksVersion || b[2] != 0 {
		return request{}, replyGeneralFailure, fmt.Errorf("%w: request % x", errSOCKS, b)
	}
	name, code, err := readAddress(r, b[3])
	if err != nil {
		return request{}, code, err
	}
	var p [2]byte
	if _, err := io.ReadFull(r, p[:]); err != nil {
		return request{}, replySucceeded, fmt.Errorf("%w: %w", errSOCKS, err)
	}
	req := request{command: b[1], name: name, port: binary.BigEndian.Uint16(p[:])}
	if req.command == commandConnect && req.port == 0 {
		return request{}, replyGeneralFailure, fmt.Errorf("%w: port 0", errSOCKS)
	}
	return req, replySucceeded, nil
}

// readAddress reads an address of RFC 1928 section 5.
func readAddress(r io.Reader, kind byte) (string, byte, error) {
	var b [256]byte
	n := 0
	switch kind {
	case addressIPv4:
		n = 4
	case addressIPv6:
		n = 16
	case addressName:
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return "", replySucceeded, fmt.Errorf("%w: %w", errSOCKS, err)
		}
		if n = int(b[0]); n == 0 {
			return "", replyGeneralFailure, fmt.Errorf("%w: empty name", errSOCKS)
		}
	default:
		return "", replyAddressUnsupported, fmt.Errorf("%w: address type %d", errSOCKS, kind)
	}
	if _, err := io.ReadFull(r, b[:n]); err != nil {
		return "", replySucceeded, fmt.Errorf("%w: %w", errSOCKS, err)
	}
	if kind == addressName {
		return string(b[:n]), replySucceeded, nil
	}
	a, _ := netip.AddrFromSlice(b[:n]) // 4 and 16 bytes are always an address
	return a.Unmap().String(), replySucceeded, nil
}

// writeReply writes the message of RFC 1928 section 6.
func writeReply(w io.Writer, code byte, bound netip.AddrPort) error {
	b := make([]byte, 0, 22)
	b = append(b, socksVersion, code, 0)
	b = appendAddress(b, bound)
	_, err := w.Write(b)
	return err
}

// appendAddress appends type, address and port; the zero value is 0.0.0.0:0.
func appendAddress(b []byte, ap netip.AddrPort) []byte {
	a := ap.Addr()
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	if a.Is4() {
		b = append(b, addressIPv4)
	} else {
		b = append(b, addressIPv6)
	}
	b = append(b, a.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, ap.Port())
}
