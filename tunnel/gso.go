package tunnel

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// gsoMaxBytes bounds the TCP packets that netstack may hand over for us to
// cut into segments.
const gsoMaxBytes = 32 << 10

// maxHeaderLen is room for an IP header and a TCP header with their options.
const maxHeaderLen = 60 + 60

// segmenter cuts one packet of the netstack into packets for WireGuard. It
// keeps its place between calls, so one large packet may span several batches.
type segmenter struct {
	pkt  *stack.PacketBuffer // nil: nothing to send
	view *buffer.View        // where the payload goes on
	off  int                 // inside view
	left int                 // payload bytes not yet sent

	hdr      [maxHeaderLen]byte
	hdrLen   int
	info     ipInfo
	mss      int // payload per segment; 0: the packet goes as it is
	seq      uint32
	id       uint16
	flags    header.TCPFlags
	complete bool // checksum is ours to fill in
}

// start takes over a packet, with the reference that the caller holds. It
// reports false, and keeps nothing, for a packet that cannot be split.
func (s *segmenter) start(pkt *stack.PacketBuffer, fillChecksum bool) bool {
	views, off := pkt.AsViewList()
	v := views.Front()
	for v != nil && off >= v.Size() {
		off -= v.Size()
		v = v.Next()
	}
	*s = segmenter{pkt: pkt, view: v, off: off, left: pkt.Size(), complete: fillChecksum}
	if pkt.GSOOptions.Type == stack.GSONone {
		return true
	}
	s.complete = s.complete || pkt.GSOOptions.NeedsCsum
	if s.left <= int(pkt.GSOOptions.L3HdrLen)+tcpHeaderLen+int(pkt.GSOOptions.MSS) || pkt.GSOOptions.MSS == 0 {
		// One segment, with options or without: nothing to cut unless its
		// options push it over, which the netstack accounts for in the MSS.
		return true
	}
	n := min(s.left, len(s.hdr))
	s.peek(s.hdr[:n])
	if !s.parse(s.hdr[:n], int(pkt.GSOOptions.MSS)) {
		*s = segmenter{}
		return false
	}
	s.skip(s.hdrLen)
	return true
}

// parse reads the headers of a TCP packet that is to be split.
func (s *segmenter) parse(b []byte, mss int) bool {
	info, ok := parseIP(b)
	if !ok || info.proto != protoTCP || info.fragment || len(b) < info.headerLen+tcpHeaderLen {
		return false
	}
	tcp := header.TCP(b[info.headerLen:])
	off := int(tcp.DataOffset())
	if off < tcpHeaderLen || len(b) < info.headerLen+off {
		return false
	}
	s.info, s.hdrLen, s.mss = info, info.headerLen+off, mss
	s.seq, s.flags = tcp.SequenceNumber(), tcp.Flags()
	if info.version == 4 {
		s.id = binary.BigEndian.Uint16(b[4:6])
	}
	return true
}

// active reports whether something is left to send.
func (s *segmenter) active() bool { return s.pkt != nil }

// next writes one packet to dst and returns its length; it releases the
// netstack's packet after the last. A packet longer than dst yields 0.
func (s *segmenter) next(dst []byte) int {
	n := 0
	if s.mss == 0 {
		n = s.whole(dst)
	} else {
		n = s.segment(dst)
	}
	if s.left == 0 {
		s.release()
	}
	return n
}

func (s *segmenter) release() {
	if s.pkt != nil {
		s.pkt.DecRef()
	}
	s.pkt, s.view, s.left = nil, nil, 0
}

func (s *segmenter) whole(dst []byte) int {
	n := s.left
	if n > len(dst) {
		s.left = 0
		return 0
	}
	s.read(dst[:n])
	if s.complete {
		if info, ok := parseIP(dst[:n]); ok {
			completeChecksum(dst[:n], info)
		}
	}
	return n
}

func (s *segmenter) segment(dst []byte) int {
	payload := min(s.mss, s.left)
	total := s.hdrLen + payload
	if total > len(dst) {
		s.left = 0
		return 0
	}
	first, last := s.seq == header.TCP(s.hdr[s.info.headerLen:]).SequenceNumber(), payload == s.left
	pkt := dst[:total]
	copy(pkt, s.hdr[:s.hdrLen])
	s.read(pkt[s.hdrLen:])

	if s.info.version == 4 {
		ip := header.IPv4(pkt)
		ip.SetTotalLength(uint16(total))
		ip.SetID(s.id)
		ip.SetChecksum(0)
		ip.SetChecksum(^checksum.Checksum(pkt[:s.info.headerLen], 0))
		s.id++
	} else {
		header.IPv6(pkt).SetPayloadLength(uint16(total - ipv6HeaderLen))
	}
	tcp := header.TCP(pkt[s.info.headerLen:])
	tcp.SetSequenceNumber(s.seq)
	tcp.SetFlags(uint8(splitFlags(s.flags, first, last)))
	tcp.SetChecksum(0)
	tcp.SetChecksum(^checksum.Checksum(tcp, pseudoSum(pkt, s.info.version, protoTCP, len(tcp))))
	s.seq += uint32(payload)
	return total
}

// splitFlags are the flags of one segment: FIN and PSH concern the end of the
// data, CWR (RFC 3168 section 6.1.2) its beginning.
func splitFlags(f header.TCPFlags, first, last bool) header.TCPFlags {
	const cwr = header.TCPFlags(0x80)
	if !last {
		f &^= header.TCPFlagFin | header.TCPFlagPsh
	}
	if !first {
		f &^= cwr
	}
	return f
}

// peek copies the first bytes without consuming them.
func (s *segmenter) peek(dst []byte) {
	v, off := s.view, s.off
	for n := 0; n < len(dst) && v != nil; v, off = v.Next(), 0 {
		n += copy(dst[n:], v.AsSlice()[off:])
	}
}

// skip consumes n bytes.
func (s *segmenter) skip(n int) {
	s.left -= n
	for n > 0 && s.view != nil {
		step := min(n, s.view.Size()-s.off)
		s.advance(step)
		n -= step
	}
}

// read consumes exactly len(dst) bytes.
func (s *segmenter) read(dst []byte) {
	s.left -= len(dst)
	for len(dst) > 0 && s.view != nil {
		n := copy(dst, s.view.AsSlice()[s.off:])
		dst = dst[n:]
		s.advance(n)
	}
}

func (s *segmenter) advance(n int) {
	s.off += n
	if s.off >= s.view.Size() {
		s.view, s.off = s.view.Next(), 0
	}
}
