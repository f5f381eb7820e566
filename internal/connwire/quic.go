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

// windowInitial and windowMax bound what one stream may have under way. Large
// from the start: a flow comes and goes faster than auto-tuning, and 8 MiB is what
// the tunnel's own netstack allows.
const (
	windowInitial     = 8 << 20
	windowMax         = 16 << 20
	connWindowInitial = 16 << 20
	connWindowMax     = 64 << 20
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
