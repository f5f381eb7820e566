package tunnel

import (
	"encoding/binary"
	"hash/maphash"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	ipv4HeaderLen = header.IPv4MinimumSize
	ipv6HeaderLen = header.IPv6MinimumSize
	tcpHeaderLen  = header.TCPMinimumSize
	udpHeaderLen  = header.UDPMinimumSize

	protoTCP    = uint8(header.TCPProtocolNumber)
	protoUDP    = uint8(header.UDPProtocolNumber)
	protoICMPv4 = uint8(header.ICMPv4ProtocolNumber)
	protoICMPv6 = uint8(header.ICMPv6ProtocolNumber)
)

// ipInfo is what the data path needs of an IP header (RFC 791, RFC 8200).
type ipInfo struct {
	version   int
	proto     uint8 // transport protocol, 0 for an IPv6 extension header chain that is not followed
	headerLen int   // where the transport header begins
	fragment  bool  // part of a datagram, so transport ports may be absent
}

// parseIP reads the header of one IP packet; ok is false for anything that is
// not a complete IPv4 or IPv6 header. It follows no IPv6 extension header but
// the fragment header, which is the only one that our netstack writes.
func parseIP(b []byte) (info ipInfo, ok bool) {
	if len(b) == 0 {
		return info, false
	}
	switch b[0] >> 4 {
	case 4:
		n := int(b[0]&0xf) * 4
		if n < ipv4HeaderLen || len(b) < n {
			return info, false
		}
		frag := binary.BigEndian.Uint16(b[6:8])&0x3fff != 0 // more fragments, or an offset
		return ipInfo{version: 4, proto: b[9], headerLen: n, fragment: frag}, true
	case 6:
		if len(b) < ipv6HeaderLen {
			return info, false
		}
		info = ipInfo{version: 6, proto: b[6], headerLen: ipv6HeaderLen}
		if b[6] == header.IPv6FragmentHeader {
			if len(b) < ipv6HeaderLen+header.IPv6FragmentHeaderSize {
				return info, false
			}
			info.proto = b[ipv6HeaderLen]
			info.headerLen += header.IPv6FragmentHeaderSize
			info.fragment = true
		}
		return info, true
	default:
		return info, false
	}
}

// flowHash names the queue of a packet whose first bytes (IP header and
// ports) are b. Packets of one flow have one hash; fragments hash by address.
func flowHash(seed maphash.Seed, b []byte) uint64 {
	info, ok := parseIP(b)
	if !ok {
		return 0
	}
	var key [37]byte // two IPv6 addresses, protocol, two ports
	n := 0
	if info.version == 4 {
		n = copy(key[:], b[12:20])
	} else {
		n = copy(key[:], b[8:40])
	}
	key[n] = info.proto
	n++
	if !info.fragment && (info.proto == protoTCP || info.proto == protoUDP) && len(b) >= info.headerLen+4 {
		n += copy(key[n:], b[info.headerLen:info.headerLen+4])
	}
	return maphash.Bytes(seed, key[:n])
}
