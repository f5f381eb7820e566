package tunnel

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	icmpHeaderLen = 8
	// icmpPerSecond and icmpBurst bound the ICMP errors of one end (RFC 1812
	// section 4.3.2.8, RFC 4443 section 2.4 f).
	icmpPerSecond = 2000
	icmpBurst     = 500
	hopLimit      = 64
)

// sendUnreachable tells the client by ICMP that the flow's packet was refused.
// head is the beginning of its transport segment, length the whole segment's.
func (t *Tunnel) sendUnreachable(f Flow, proto uint8, length int, head [8]byte, how Rejection) {
	if !t.icmpLimit.Allow() {
		t.drops.add(dropICMPRateLimit)
		return
	}
	var b []byte
	if f.Source.Addr().Is4() {
		b = unreachable4(f, proto, length, head, how)
	} else {
		b = unreachable6(f, proto, length, head, how)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	t.queue.push(pkt, false)
	pkt.DecRef()
}

func unreachable4(f Flow, proto uint8, length int, head [8]byte, how Rejection) []byte {
	code := byte(icmp4Host)
	if how == RejectProhibited {
		code = icmp4Prohibited
	}
	b := make([]byte, ipv4HeaderLen+icmpHeaderLen+ipv4HeaderLen+len(head))
	putIPv4(b, f.Destination.Addr().As4(), f.Source.Addr().As4(), protoICMPv4, len(b))
	m := b[ipv4HeaderLen:]
	m[0], m[1] = byte(header.ICMPv4DstUnreachable), code
	inner := m[icmpHeaderLen:]
	putIPv4(inner, f.Source.Addr().As4(), f.Destination.Addr().As4(), proto, ipv4HeaderLen+length)
	copy(inner[ipv4HeaderLen:], head[:])
	binary.BigEndian.PutUint16(m[2:], ^checksum.Checksum(m, 0))
	return b
}

func unreachable6(f Flow, proto uint8, length int, head [8]byte, how Rejection) []byte {
	code := byte(icmp6Host)
	if how == RejectProhibited {
		code = icmp6Prohibited
	}
	b := make([]byte, ipv6HeaderLen+icmpHeaderLen+ipv6HeaderLen+len(head))
	putIPv6(b, f.Destination.Addr().As16(), f.Source.Addr().As16(), protoICMPv6, len(b)-ipv6HeaderLen)
	m := b[ipv6HeaderLen:]
	m[0], m[1] = byte(header.ICMPv6DstUnreachable), code
	inner := m[icmpHeaderLen:]
	putIPv6(inner, f.Source.Addr().As16(), f.Destination.Addr().As16(), proto, length)
	copy(inner[ipv6HeaderLen:], head[:])
	binary.BigEndian.PutUint16(m[2:], ^checksum.Checksum(m, pseudoSum(b, 6, protoICMPv6, len(m))))
	return b
}

func putIPv4(b []byte, src, dst [4]byte, proto uint8, total int) {
	b[0] = 4<<4 | ipv4HeaderLen/4
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	b[8], b[9] = hopLimit, proto
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^checksum.Checksum(b[:ipv4HeaderLen], 0))
}

func putIPv6(b []byte, src, dst [16]byte, next uint8, payload int) {
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	b[6], b[7] = next, hopLimit
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
}
