// Package connwire is the protocol between a gateway and the connectors that dial it.
//
// A connector opens one QUIC connection (RFC 9000, ALPN "weft-connector/1") to each gateway and pins the gateway's
// certificate. On the first stream, which it opens itself, it sends a Hello: who it is, with a proof over the
// connection's exported keying material (RFC 8446 section 7.5), so that the proof is worth nothing elsewhere. The
// gateway answers with a Verdict; until then nothing else is served. The first stream stays open for the life of
// the session.
//
// From then on the gateway opens one bidirectional stream per flow and sends a Request: transport, VNET, address, and how
// long the dial may take. The connector checks that the address is covered by a route of its own in that VNET, dials,
// and answers with one Status byte.
//
//   - TCP: after StatusOK (and the connector's address, see ALPNSource) the stream carries the bytes. FIN is half-close in each direction; a reset of either side is
//     an abort of both.
//   - UDP: a datagram travels as a QUIC datagram (RFC 9221): the flow's stream ID as a variable-length integer, then
//     the payload. One that does not fit in a QUIC datagram travels on the flow's stream as a 16-bit length and the
//     payload. Boundaries are kept either way; order between the two ways is not, as for UDP itself. The end of the
//     stream is the end of the flow.
//
// All integers are big-endian. Every parser here reads outside bytes: each has bounds and a fuzz test.
package connwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// ALPN is the protocol's name in TLS (RFC 7301); a new major version gets a new name.
const ALPN = "weft-connector/1"

// Version is the first byte of Hello and Request.
const Version = 1

// ProofBytes is the length of a connector's proof (HMAC-SHA-256).
const ProofBytes = 32

// maxNameBytes bounds each name in Hello and Request: UUIDs have 36.
const maxNameBytes = 64

// maxMessageBytes bounds the text of a Verdict.
const maxMessageBytes = 255

// MaxDialTimeout bounds what a Request may ask for.
const MaxDialTimeout = 60 * time.Second

// ErrMalformed is what every parser wraps.
var ErrMalformed = errors.New("malformed message")

// Hello is what a connector says first.
type Hello struct {
	TunnelID    string
	ConnectorID string
	Software    string // version, for people
	Proof       [ProofBytes]byte
}

// Append encodes h.
func (h Hello) Append(b []byte) ([]byte, error) {
	b = append(b, Version)
	for _, s := range []string{h.TunnelID, h.ConnectorID, h.Software} {
		var err error
		if b, err = appendName(b, s); err != nil {
			return nil, err
		}
	}
	return append(b, h.Proof[:]...), nil
}

// ReadHello decodes a Hello.
func ReadHello(r io.Reader) (Hello, error) {
	var h Hello
	if err := readVersion(r); err != nil {
		return h, err
	}
	for _, s := range []*string{&h.TunnelID, &h.ConnectorID, &h.Software} {
		var err error
		if *s, err = readName(r); err != nil {
			return Hello{}, err
		}
	}
	if _, err := io.ReadFull(r, h.Proof[:]); err != nil {
		return Hello{}, fmt.Errorf("read proof: %w", err)
	}
	return h, nil
}

// Verdict is the gateway's answer to a Hello.
type Verdict struct {
	OK      bool
	Message string // why not
}

// Append encodes v; a long message is cut.
func (v Verdict) Append(b []byte) []byte {
	code := byte(1)
	if v.OK {
		code = 0
	}
	m := v.Message
	if len(m) > maxMessageBytes {
		m = m[:maxMessageBytes]
	}
	b = append(b, code, byte(len(m)))
	return append(b, m...)
}

// ReadVerdict decodes a Verdict.
func ReadVerdict(r io.Reader) (Verdict, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Verdict{}, fmt.Errorf("read verdict: %w", err)
	}
	if head[0] > 1 {
		return Verdict{}, fmt.Errorf("%w: verdict code %d", ErrMalformed, head[0])
	}
	m := make([]byte, head[1])
	if _, err := io.ReadFull(r, m); err != nil {
		return Verdict{}, fmt.Errorf("read verdict: %w", err)
	}
	return Verdict{OK: head[0] == 0, Message: string(m)}, nil
}

// Transport is the IP protocol number of a flow.
type Transport byte

// The transports (IANA protocol numbers).
const (
	TCP Transport = 6
	UDP Transport = 17
)

// String names the network as package net does.
func (t Transport) String() string {
	switch t {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	default:
		return fmt.Sprintf("transport(%d)", byte(t))
	}
}

// Request asks a connector for one flow.
type Request struct {
	Transport   Transport
	Timeout     time.Duration // for the dial; in milliseconds on the wire
	VNET        string
	Destination netip.AddrPort
}

// validate holds for what is sent and for what is read.
func (q Request) validate() error {
	switch {
	case q.Transport != TCP && q.Transport != UDP:
		return fmt.Errorf("%w: %v", ErrMalformed, q.Transport)
	case q.Timeout < time.Millisecond || q.Timeout > MaxDialTimeout:
		return fmt.Errorf("%w: timeout %v", ErrMalformed, q.Timeout)
	case q.VNET == "":
		return fmt.Errorf("%w: no VNET", ErrMalformed)
	}
	a := q.Destination.Addr()
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" || q.Destination.Port() == 0 {
		return fmt.Errorf("%w: destination %v", ErrMalformed, q.Destination)
	}
	return nil
}

// Append encodes q.
func (q Request) Append(b []byte) ([]byte, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	b = append(b, Version, byte(q.Transport))
	b = binary.BigEndian.AppendUint32(b, uint32(q.Timeout/time.Millisecond))
	b, err := appendName(b, q.VNET)
	if err != nil {
		return nil, err
	}
	a := q.Destination.Addr().AsSlice()
	b = append(b, byte(len(a)))
	b = append(b, a...)
	return binary.BigEndian.AppendUint16(b, q.Destination.Port()), nil
}

// ReadRequest decodes a Request.
func ReadRequest(r io.Reader) (Request, error) {
	if err := readVersion(r); err != nil {
		return Request{}, err
	}
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	q := Request{
		Transport: Transport(head[0]),
		Timeout:   time.Duration(binary.BigEndian.Uint32(head[1:])) * time.Millisecond,
	}
	var err error
	if q.VNET, err = readName(r); err != nil {
		return Request{}, err
	}
	if q.Destination, err = readAddrPort(r); err != nil {
		return Request{}, err
	}
	return q, q.validate()
}

func readAddrPort(r io.Reader) (netip.AddrPort, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read address: %w", err)
	}
	if n[0] != 4 && n[0] != 16 {
		return netip.AddrPort{}, fmt.Errorf("%w: address of %d bytes", ErrMalformed, n[0])
	}
	b := make([]byte, int(n[0])+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read address: %w", err)
	}
	a, _ := netip.AddrFromSlice(b[:n[0]]) // 4 or 16 bytes: cannot fail
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[n[0]:])), nil
}

func readVersion(r io.Reader) error {
	var v [1]byte
	if _, err := io.ReadFull(r, v[:]); err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	if v[0] != Version {
		return fmt.Errorf("%w: version %d, want %d", ErrMalformed, v[0], Version)
	}
	return nil
}

// appendName writes a short printable ASCII string with its length.
func appendName(b []byte, s string) ([]byte, error) {
	if err := checkName(s); err != nil {
		return nil, err
	}
	b = append(b, byte(len(s)))
	return append(b, s...), nil
}

func readName(r io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", fmt.Errorf("read name: %w", err)
	}
	if n[0] > maxNameBytes {
		return "", fmt.Errorf("%w: name of %d bytes", ErrMalformed, n[0])
	}
	b := make([]byte, n[0])
	if _, err := io.ReadFull(r, b); err != nil {
		return "", fmt.Errorf("read name: %w", err)
	}
	return string(b), checkName(string(b))
}

func checkName(s string) error {
	if len(s) > maxNameBytes {
		return fmt.Errorf("%w: name of %d bytes", ErrMalformed, len(s))
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return fmt.Errorf("%w: name holds byte %#x", ErrMalformed, s[i])
		}
	}
	return nil
}
