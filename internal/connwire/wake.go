package connwire

import (
	"bytes"

	"github.com/quic-go/quic-go/quicvarint"
)

// A restarted gateway has lost its sessions, and a connector would notice that only after MaxIdle. Two things make
// it a matter of milliseconds.
//
//   - Ping: a connector sends one every PingInterval. A gateway that does not know the connection answers with a
//     stateless reset (RFC 9000 section 10.3), which ends it at once. It has to be a datagram of some size: QUIC's own keep-alive
//     packets are too small to be answered so.
//   - Wake: a gateway that starts sends one to the address of every connector that it remembers. A connector that hears it
//     pings at once, or tries again at once if it is waiting. It proves nothing and needs no proof: all it can
//     do is have a connector do early what it would do anyway, and connectors bound how often.

// pingStream is the flow that a ping belongs to: none.
const pingStream = quicvarint.Max

// pingBytes makes the packet larger than the smallest that may be answered by a reset (43 bytes in quic-go).
const pingBytes = 48

// Ping is the payload of a QUIC datagram that belongs to no flow.
func Ping() []byte { return AppendDatagram(nil, pingStream, make([]byte, pingBytes)) }

// wake is no QUIC packet: its first byte lacks the fixed bit (RFC 9000 section 17).
var wake = []byte("\x00weft wake 1")

// Wake is the UDP payload by which a gateway says that it is back.
func Wake() []byte { return bytes.Clone(wake) }

// IsWake reports whether a packet that is not QUIC is a Wake.
func IsWake(b []byte) bool { return bytes.Equal(b, wake) }
