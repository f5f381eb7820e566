package tunnel

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Control messages of the socket: udp(7), ip(7), ipv6(7) and RFC 3542.

// localSource is one of our addresses, as the sender of what we answer.
type localSource struct {
	addr  netip.Addr
	ifidx uint32 // for a link-local address, which means nothing without it
}

// wantSource has the system say which of our addresses a datagram came to.
func wantSource(fd int, is4 bool) error {
	if is4 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// parseControl reads the size of the datagrams that the system joined, 0 if
// there was one, and the address that it came to, if the system says so.
func parseControl(oob []byte) (segment int, src localSource) {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return segment, src
		}
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			segment = int(binary.NativeEndian.Uint16(data))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, local address, destination
			src.addr = netip.AddrFrom4([4]byte(data[4:8]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			// struct in6_pktinfo: address, interface
			src.addr = netip.AddrFrom16([16]byte(data[:16]))
			if src.addr.IsLinkLocalUnicast() {
				src.ifidx = binary.NativeEndian.Uint32(data[16:20])
			}
		}
		oob = rest
	}
	return segment, src
}

// segmentControl has the system cut a message into datagrams of size bytes.
func segmentControl(size uint16) []byte {
	b := controlMessage(nil, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], size)
	return b
}

// appendControl has the system send from the address.
func (s *localSource) appendControl(b []byte) []byte {
	at := len(b) + unix.CmsgLen(0)
	if s.addr.Is4() {
		b = controlMessage(b, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		a := s.addr.As4()
		copy(b[at+4:], a[:])
		return b
	}
	b = controlMessage(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	a := s.addr.As16()
	copy(b[at:], a[:])
	binary.NativeEndian.PutUint32(b[at+16:], s.ifidx)
	return b
}

// controlMessage appends an empty control message to b.
func controlMessage(b []byte, level, kind, size int) []byte {
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(size))...)
	// struct cmsghdr: length (of the word size), level, type
	length := uint64(unix.CmsgLen(size))
	if unix.SizeofCmsghdr == 16 {
		binary.NativeEndian.PutUint64(b[at:], length)
	} else {
		binary.NativeEndian.PutUint32(b[at:], uint32(length))
	}
	tail := b[at+unix.SizeofCmsghdr-8:]
	binary.NativeEndian.PutUint32(tail, uint32(level))
	binary.NativeEndian.PutUint32(tail[4:], uint32(kind))
	return b
}
