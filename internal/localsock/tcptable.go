package localsock

import (
	"encoding/binary"
	"net/netip"
)

// The layout of Windows' tables of TCP connections with their processes (Microsoft Learn: MIB_TCPROW_OWNER_PID,
// MIB_TCP6ROW_OWNER_PID): a count of rows, then the rows. Ports are in network order in the low half of a word.
type tcpTableLayout struct {
	rowBytes                                          int
	addrBytes                                         int
	localAddr, localPort, remoteAddr, remotePort, pid int
}

var (
	tcpTable4 = tcpTableLayout{rowBytes: 24, addrBytes: 4, localAddr: 4, localPort: 8, remoteAddr: 12, remotePort: 16, pid: 20}
	tcpTable6 = tcpTableLayout{rowBytes: 56, addrBytes: 16, localAddr: 0, localPort: 20, remoteAddr: 24, remotePort: 44, pid: 52}
)

// ownerIn returns the process that has the connection between local and remote, or false. A table that is shorter than
// it says has the rows that are there.
func (l tcpTableLayout) ownerIn(table []byte, local, remote netip.AddrPort) (pid uint32, ok bool) {
	if len(table) < 4 {
		return 0, false
	}
	rows := uint64(binary.LittleEndian.Uint32(table))
	for row := table[4:]; rows > 0 && len(row) >= l.rowBytes; rows, row = rows-1, row[l.rowBytes:] {
		if l.endpoint(row, l.localAddr, l.localPort) == local && l.endpoint(row, l.remoteAddr, l.remotePort) == remote {
			pid := binary.LittleEndian.Uint32(row[l.pid:])
			return pid, pid != 0 // 0: no process has it any more
		}
	}
	return 0, false
}

func (l tcpTableLayout) endpoint(row []byte, addr, port int) netip.AddrPort {
	a, ok := netip.AddrFromSlice(row[addr : addr+l.addrBytes])
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(row[port:]))
}
