package localsock_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"weft/internal/localsock"
)

// row4 and row6 write rows as Windows does.
func row4(local, remote netip.AddrPort, pid uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 5) // established
	for _, a := range []netip.AddrPort{local, remote} {
		b = append(b, a.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, a.Port())
		b = append(b, 0xaa, 0xbb) // the high half is whatever it is
	}
	return binary.LittleEndian.AppendUint32(b, pid)
}

func row6(local, remote netip.AddrPort, pid uint32) []byte {
	var b []byte
	for _, a := range []netip.AddrPort{local, remote} {
		b = append(b, a.Addr().AsSlice()...)
		b = append(b, 0, 0, 0, 0) // scope
		b = binary.BigEndian.AppendUint16(b, a.Port())
		b = append(b, 0, 0)
	}
	b = binary.LittleEndian.AppendUint32(b, 5)
	return binary.LittleEndian.AppendUint32(b, pid)
}

func table(claimed uint32, rows ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, claimed)
	for _, r := range rows {
		b = append(b, r...)
	}
	return b
}

func TestTCPTable(t *testing.T) {
	at := netip.MustParseAddrPort
	client, server := at("127.0.0.1:50000"), at("127.0.0.1:40000")
	client6, server6 := at("[::1]:50000"), at("[::1]:40000")
	other := at("127.0.0.1:50001")
	for _, tt := range []struct {
		name          string
		v6            bool
		table         []byte
		local, remote netip.AddrPort
		pid           uint32
		ok            bool
	}{
		{"both ends of one connection", false, table(2, row4(server, client, 1), row4(client, server, 2)), client, server, 2, true},
		{"the server's end is not the client's", false, table(1, row4(server, client, 1)), client, server, 0, false},
		{"another connection", false, table(1, row4(other, server, 3)), client, server, 0, false},
		{"nobody's any more", false, table(1, row4(client, server, 0)), client, server, 0, false},
		{"IPv6", true, table(2, row6(server6, client6, 1), row6(client6, server6, 2)), client6, server6, 2, true},
		{"more rows claimed than there are", false, table(1<<31, row4(client, server, 2)), client, server, 2, true},
		{"fewer rows claimed than there are", false, table(0, row4(client, server, 2)), client, server, 0, false},
		{"half a row", false, table(1, row4(client, server, 2)[:20]), client, server, 0, false},
		{"nothing", false, nil, client, server, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if pid, ok := localsock.OwnerInTableForTest(tt.v6, tt.table, tt.local, tt.remote); pid != tt.pid || ok != tt.ok {
				t.Errorf("got %d, %v", pid, ok)
			}
		})
	}
}

func FuzzTCPTable(f *testing.F) {
	client, server := netip.MustParseAddrPort("127.0.0.1:50000"), netip.MustParseAddrPort("127.0.0.1:40000")
	f.Add(table(1, row4(client, server, 2)))
	f.Add(table(1<<32-1, row4(client, server, 2)[:23]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v6 := range []bool{false, true} {
			if pid, ok := localsock.OwnerInTableForTest(v6, b, client, server); ok && pid == 0 {
				t.Error("a connection of nobody")
			}
		}
	})
}
