package tunnel_test

import (
	"bytes"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"weft/tunnel"
)

// largePacket is a TCP packet as the netstack hands it over: header views of
// their own, a payload of several views, a checksum that is not there yet.
func largePacket(from, to netip.AddrPort, options, payload []byte, flags header.TCPFlags, mss int) *stack.PacketBuffer {
	segment := make([]byte, header.TCPMinimumSize+len(options))
	header.TCP(segment).Encode(&header.TCPFields{
		SrcPort: from.Port(), DstPort: to.Port(), SeqNum: 0xfffffff0, AckNum: 5,
		DataOffset: uint8(len(segment)), Flags: flags, WindowSize: 77, Checksum: 0xdead,
	})
	copy(segment[header.TCPMinimumSize:], options)
	packet := ipPacket(from.Addr(), to.Addr(), header.TCPProtocolNumber, append(segment, payload...))
	headers := len(packet) - len(payload)

	var data buffer.Buffer
	for rest, n := packet[headers:], 1; len(rest) > 0; n *= 3 {
		n = min(n, len(rest))
		if err := data.Append(buffer.NewViewWithData(rest[:n])); err != nil {
			panic(err)
		}
		rest = rest[n:]
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: headers, Payload: data})
	copy(pkt.TransportHeader().Push(len(segment)), packet[headers-len(segment):headers])
	copy(pkt.NetworkHeader().Push(headers-len(segment)), packet[:headers-len(segment)])
	pkt.GSOOptions = stack.GSO{
		Type: stack.GSOTCPv4, NeedsCsum: true, MSS: uint16(mss), L3HdrLen: uint16(headers - len(segment)), MaxSize: 32 << 10,
	}
	return pkt
}

func TestSplit(t *testing.T) {
	const all = header.TCPFlagAck | header.TCPFlagPsh | header.TCPFlagFin | 0x80 // CWR
	timestamps := []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	ends := map[string][2]netip.AddrPort{
		"IPv4": {netip.AddrPortFrom(client4, 1234), target4},
		"IPv6": {netip.AddrPortFrom(client6, 1234), target6},
	}
	tests := []struct {
		name    string
		options []byte
		size    int
		mss     int
		want    int
	}{
		{name: "no payload", size: 0, mss: 1000, want: 1},
		{name: "one byte", size: 1, mss: 1000, want: 1},
		{name: "one segment", size: 1000, mss: 1000, want: 1},
		{name: "one segment with options", options: timestamps, size: 1000, mss: 1000, want: 1},
		{name: "one byte more", size: 1001, mss: 1000, want: 2},
		{name: "one byte more with options", options: timestamps, size: 1001, mss: 1000, want: 2},
		{name: "two segments", size: 2000, mss: 1000, want: 2},
		{name: "odd segments", options: timestamps, size: 9999, mss: 333, want: 31},
		{name: "32 KiB", options: timestamps, size: 32 << 10, mss: 1228, want: 27},
	}
	for version, end := range ends {
		for _, tt := range tests {
			t.Run(version+" "+tt.name, func(t *testing.T) {
				payload := make([]byte, tt.size)
				for i := range payload {
					payload[i] = byte(i * 31)
				}
				packets := tunnel.Split(largePacket(end[0], end[1], tt.options, payload, all, tt.mss), false)
				if len(packets) != tt.want {
					t.Fatalf("%d packets, want %d", len(packets), tt.want)
				}
				checkSegments(t, packets, payload, tt.options, all)
			})
		}
	}
}

// checkSegments verifies that packets are valid and add up to one packet.
func checkSegments(t *testing.T, packets [][]byte, payload, options []byte, flags header.TCPFlags) {
	t.Helper()
	var got []byte
	seq, id := uint32(0xfffffff0), -1
	for i, b := range packets {
		checkPacket(t, b)
		var tcp header.TCP
		if b[0]>>4 == 4 {
			ip := header.IPv4(b)
			if id >= 0 && int(ip.ID()) != id+1 {
				t.Errorf("packet %d has ID %d after %d", i, ip.ID(), id)
			}
			id = int(ip.ID())
			tcp = ip.Payload()
		} else {
			tcp = header.IPv6(b).Payload()
		}
		want := flags
		if i < len(packets)-1 {
			want &^= header.TCPFlagFin | header.TCPFlagPsh
		}
		if i > 0 {
			want &^= 0x80
		}
		if tcp.Flags() != want {
			t.Errorf("packet %d of %d has flags %v, want %v", i, len(packets), tcp.Flags(), want)
		}
		if tcp.SequenceNumber() != seq {
			t.Errorf("packet %d begins at %d, want %d", i, tcp.SequenceNumber(), seq)
		}
		if !bytes.Equal(tcp.Options(), options) || tcp.AckNumber() != 5 || tcp.WindowSize() != 77 {
			t.Errorf("packet %d has another header", i)
		}
		seq += uint32(len(tcp.Payload()))
		got = append(got, tcp.Payload()...)
	}
	if !bytes.Equal(got, payload) {
		t.Errorf("payload of %d bytes became %d bytes, or other ones", len(payload), len(got))
	}
}

// FuzzSplit gives the splitter any bytes as a packet: whatever it makes of
// them, it must keep the payload together and never read beyond it.
func FuzzSplit(f *testing.F) {
	whole := synPacket(netip.AddrPortFrom(client4, 1), target4)
	f.Add(append(whole, make([]byte, 3000)...), uint16(1000), 40)
	f.Add(append(synPacket(netip.AddrPortFrom(client6, 1), target6), make([]byte, 3000)...), uint16(100), 60)
	f.Add([]byte{0x45}, uint16(1), 1)
	f.Add([]byte{}, uint16(0), 0)
	f.Fuzz(func(t *testing.T, b []byte, mss uint16, headers int) {
		if len(b) > 64<<10 || headers < 0 || headers > len(b) {
			t.Skip()
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
			ReserveHeaderBytes: headers, Payload: buffer.MakeWithData(b[headers:]),
		})
		copy(pkt.NetworkHeader().Push(headers), b[:headers])
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, MSS: mss, L3HdrLen: 20}
		packets := tunnel.Split(pkt, true)
		if len(packets) == 0 {
			return
		}
		headerLen := 0
		if len(packets) > 1 {
			n, ok := tunnel.ParseIP(b)
			if !ok {
				t.Fatal("split a packet without an IP header")
			}
			headerLen = n + int(b[n+12]>>4)*4
		}
		total := 0
		for _, p := range packets {
			total += len(p) - headerLen
		}
		if total+headerLen != len(b) {
			t.Errorf("%d bytes became %d packets with %d bytes of payload", len(b), len(packets), total)
		}
	})
}

// FuzzParseUnreachable gives the ICMP reader any bytes.
func FuzzParseUnreachable(f *testing.F) {
	f.Add(pingPacket(client4, target4.Addr()))
	f.Add(pingPacket(client6, target6.Addr()))
	inner := synPacket(netip.AddrPortFrom(client4, 1), target4)
	f.Add(ipPacket(target4.Addr(), client4, header.ICMPv4ProtocolNumber, append([]byte{3, 13, 0, 0, 0, 0, 0, 0}, inner...)))
	f.Add(ipPacket(target6.Addr(), client6, header.ICMPv6ProtocolNumber, append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, inner...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := tunnel.ParseIP(b)
		if ok && n > len(b) {
			t.Errorf("header of %d bytes in a packet of %d", n, len(b))
		}
		if err := tunnel.ParseUnreachable(b); err != nil && !ok {
			t.Errorf("no IP packet, and yet %v", err)
		}
	})
}
