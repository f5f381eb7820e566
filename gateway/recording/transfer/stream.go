package transfer

import "encoding/binary"

// stream cuts one direction into packets. Packets without file content are collected and given to packet; of the others
// only the part before the content is collected, and the content is given to content as it comes, not copied.
type stream struct {
	packet  func(typ byte, b []byte)
	content func(head, piece []byte)
	// split says how long the part before the content is, given what is there of it; false: this type has no content.
	split func(typ byte, b []byte) (int, bool)

	reading *openFile // whose content the packet that goes by holds

	buf     []byte // length, type and what is collected
	left    int64  // of the packet that goes by, beyond what is collected
	mode    mode
	headLen int // collected bytes after the type when mode is modeContent
}

type mode uint8

const (
	modeCollect mode = iota // the length and type, then a packet or its head
	modeContent
	modeSkip
)

const prefixLen = 5 // length and type

// write returns a problem when the direction cannot be followed.
func (s *stream) write(b []byte) string {
	for len(b) > 0 {
		if s.packet == nil { // given up by a callback
			return ""
		}
		switch s.mode {
		case modeContent, modeSkip:
			n := int(min(s.left, int64(len(b))))
			if s.mode == modeContent && n > 0 {
				s.content(s.buf[prefixLen:prefixLen+s.headLen], b[:n])
			}
			s.left -= int64(n)
			b = b[n:]
			if s.left == 0 {
				s.reset()
			}
		case modeCollect:
			need := s.need()
			n := min(need-len(s.buf), len(b))
			s.buf = append(s.buf, b[:n]...)
			b = b[n:]
			if len(s.buf) < s.need() {
				continue
			}
			if problem := s.collected(); problem != "" {
				return problem
			}
		}
	}
	return ""
}

func (s *stream) reset() {
	s.mode, s.left, s.headLen = modeCollect, 0, 0
	if cap(s.buf) > 1<<10 { // an idle channel keeps nothing big
		s.buf = nil
	}
	s.buf = s.buf[:0]
}

func (s *stream) length() int64 { return int64(binary.BigEndian.Uint32(s.buf)) }

// need is how many bytes are to be collected before the next step.
func (s *stream) need() int {
	if len(s.buf) < prefixLen {
		return prefixLen
	}
	if s.length() > maxLength { // not a packet: nothing to wait for
		return prefixLen
	}
	body := s.length() - 1
	if n, ok := s.split(s.buf[4], s.buf[prefixLen:]); ok {
		return prefixLen + int(min(int64(n), max(body, 0)))
	}
	return prefixLen + int(min(max(body, 0), maxPacket))
}

// collected acts on what is there.
func (s *stream) collected() string {
	length := s.length()
	if length < 1 || length > maxLength {
		return "a packet of " + itoa(length) + " bytes"
	}
	typ, body := s.buf[4], s.buf[prefixLen:]
	left := length - 1 - int64(len(body))
	if n, ok := s.split(typ, body); ok {
		if len(body) < n { // the packet is shorter than its head
			return "a packet is too short"
		}
		s.mode, s.left, s.headLen = modeContent, left, len(body)
		s.content(body, nil)
		if s.packet != nil && left == 0 {
			s.reset()
		}
		return ""
	}
	// A server acts on a request and passes over what stands behind it, so a long one is looked at too.
	s.packet(typ, body)
	switch {
	case s.packet == nil:
	case left > 0:
		s.mode, s.left = modeSkip, left
	default:
		s.reset()
	}
	return ""
}
