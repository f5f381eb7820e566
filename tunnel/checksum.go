package tunnel

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// pseudoSum is the sum over the pseudo header of RFC 9293 section 3.1 (IPv4)
// and RFC 8200 section 8.1 (IPv6) for a transport segment of length bytes.
// pkt must hold a whole IP header of that version.
func pseudoSum(pkt []byte, version int, proto uint8, length int) uint16 {
	var tail [4]byte
	binary.BigEndian.PutUint16(tail[0:2], uint16(length))
	tail[3] = proto
	sum := checksum.Checksum(tail[:], 0)
	if version == 4 {
		return checksum.Checksum(pkt[12:20], sum)
	}
	return checksum.Checksum(pkt[8:40], sum)
}

// completeChecksum computes the transport checksum of a whole packet in
// place. It leaves fragments alone, whose checksum covers bytes that are not
// here: netstack sends those of IPv4 with the zero that means "none".
func completeChecksum(pkt []byte, info ipInfo) {
	if info.fragment {
		return
	}
	seg := pkt[info.headerLen:]
	switch {
	case info.proto == protoTCP && len(seg) >= tcpHeaderLen:
		tcp := header.TCP(seg)
		tcp.SetChecksum(0)
		tcp.SetChecksum(^checksum.Checksum(seg, pseudoSum(pkt, info.version, protoTCP, len(seg))))
	case info.proto == protoUDP && len(seg) >= udpHeaderLen:
		udp := header.UDP(seg)
		udp.SetChecksum(0)
		sum := ^checksum.Checksum(seg, pseudoSum(pkt, info.version, protoUDP, len(seg)))
		if sum == 0 {
			sum = 0xffff // RFC 768: zero means that there is none
		}
		udp.SetChecksum(sum)
	}
}
