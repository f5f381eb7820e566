package connwire

import (
	"time"

	"github.com/quic-go/quic-go"
)

// Timings of a session.
const (
	// PingInterval bounds how long a restarted gateway goes unnoticed; see Ping.
	PingInterval = time.Second
	// keepAlive keeps a connection alive whose pings are lost.
	keepAlive = 3 * time.Second
	// MaxIdle is after how long without a packet the other end counts as dead.
	MaxIdle = 10 * time.Second
	// HandshakeTimeout bounds the QUIC handshake and, again, Hello and Verdict.
	HandshakeTimeout = 5 * time.Second
)

// Application error codes of a connection and of a stream.
const (
	CodeClosed   quic.ApplicationErrorCode = 0 // an orderly end
	CodeRefused  quic.ApplicationErrorCode = 1 // Hello refused, or the protocol broken
	CodeReplaced quic.ApplicationErrorCode = 2 // the same connector dialled again
	CodeRevoked  quic.ApplicationErrorCode = 3 // the tunnel is gone, or its key changed

	StreamDone  quic.StreamErrorCode = 0 // the reader wants no more
	StreamAbort quic.StreamErrorCode = 1 // the flow was aborted
)

// The windows (RFC 9000 section 4). A flow whose reader has stopped keeps its window full, and what it keeps is missing
// from the connection's window, which all flows of a connector share: so a flow starts small and grows as its
// reader keeps up, to what the tunnel's own netstack allows, and the connection's window has room for
// hundreds of stalled flows from the start. It also bounds what a connection can make us buffer.
const (
	windowInitial     = 512 << 10
	windowMax         = 8 << 20
	connWindowInitial = 256 << 20
	connWindowMax     = 512 << 20
)

// QUICConfig is the configuration of either end. incomingStreams is how many
// streams the other end may have open.
func QUICConfig(incomingStreams int64) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           HandshakeTimeout,
		MaxIdleTimeout:                 MaxIdle,
		KeepAlivePeriod:                keepAlive,
		InitialStreamReceiveWindow:     windowInitial,
		MaxStreamReceiveWindow:         windowMax,
		InitialConnectionReceiveWindow: connWindowInitial,
		MaxConnectionReceiveWindow:     connWindowMax,
		MaxIncomingStreams:             incomingStreams,
		MaxIncomingUniStreams:          -1,
		EnableDatagrams:                true,
	}
}
