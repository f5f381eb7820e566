package tunnel

import (
	"bytes"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Split cuts a packet as Read does; nil means that it cannot be cut. It takes
// over the packet's reference.
func Split(pkt *stack.PacketBuffer, fillChecksum bool) [][]byte {
	var s segmenter
	if !s.start(pkt, fillChecksum) {
		pkt.DecRef()
		return nil
	}
	var out [][]byte
	b := make([]byte, 65535)
	for s.active() {
		n := s.next(b)
		out = append(out, bytes.Clone(b[:n]))
	}
	return out
}

// ParseUnreachable and ParseIP are for fuzzing.
func ParseUnreachable(b []byte) error {
	_, err := parseUnreachable(b)
	return err
}

// ParseIP reports whether b has a whole IP header, and where it ends.
func ParseIP(b []byte) (headerLen int, ok bool) {
	info, ok := parseIP(b)
	return info.headerLen, ok
}
