package connwire

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/quic-go/quic-go/quicvarint"
)

// MaxDatagramBytes is the largest UDP payload that a flow carries.
const MaxDatagramBytes = 65535

// AppendDatagram encodes a UDP payload of the flow on stream as a QUIC datagram.
func AppendDatagram(b []byte, stream uint64, payload []byte) []byte {
	b = quicvarint.Append(b, stream)
	return append(b, payload...)
}

// ParseDatagram is the inverse of AppendDatagram; payload aliases b.
func ParseDatagram(b []byte) (stream uint64, payload []byte, err error) {
	stream, n, err := quicvarint.Parse(b)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: datagram: %w", ErrMalformed, err)
	}
	return stream, b[n:], nil
}

// AppendFrame encodes a UDP payload for the flow's stream.
func AppendFrame(b, payload []byte) ([]byte, error) {
	if len(payload) > MaxDatagramBytes {
		return nil, fmt.Errorf("%w: datagram of %d bytes", ErrMalformed, len(payload))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...), nil
}

// ReadFrame reads one frame into buf, growing it as needed, so that it is as
// large as the largest frame seen and no larger. io.EOF means that the stream ended between frames.
func ReadFrame(r io.Reader, buf []byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return buf[:0], err
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return buf[:0], fmt.Errorf("read frame: %w", noEOF(err))
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	buf = slices.Grow(buf[:0], n)[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return buf[:0], fmt.Errorf("read frame: %w", noEOF(err))
	}
	return buf, nil
}

func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // io.ReadFull returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
