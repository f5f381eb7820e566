package localsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// NamesTCPPeers says whether TCPPeer works on this system.
const NamesTCPPeers = true

var procGetExtendedTCPTable = windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")

const (
	tableOfOwners   = 5 // TCP_TABLE_OWNER_PID_ALL
	maxTCPTable     = 16 << 20
	tcpTableGuesses = 8
)

// TCPPeer names the account behind the other side of a TCP connection within this host, or fails with ErrUnknownPeer.
// On systems that do not tell it fails with errors.ErrUnsupported.
//
// The system knows the process. Its number could be another's by the time that it is looked at; so the process is
// opened, which keeps its number from being used again, and then asked for once more: a connection that still belongs to
// that number belongs to the process that was opened. A process that may not be opened, such as one with more rights
// than this one, is unknown.
func TCPPeer(c net.Conn) (Caller, error) {
	ours, ok := c.LocalAddr().(*net.TCPAddr)
	theirs, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return Caller{}, fmt.Errorf("name the peer of a %T: %w", c, ErrUnknownPeer)
	}
	from, to := plainAddr(theirs), plainAddr(ours)
	id, err := connectionOwner(from, to)
	if err != nil {
		return Caller{}, fmt.Errorf("name the peer %s: %w", from, errors.Join(ErrUnknownPeer, err))
	}
	return id, nil
}

func plainAddr(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func connectionOwner(from, to netip.AddrPort) (id Caller, err error) {
	pid, err := connectionProcess(from, to)
	if err != nil {
		return id, err
	}
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return id, fmt.Errorf("open process: %w", err)
	}
	defer func() { _ = windows.CloseHandle(h) }() // nothing was written
	if again, err := connectionProcess(from, to); err != nil || again != pid {
		return id, errors.Join(errors.New("the connection changed hands"), err)
	}
	var t windows.Token
	if err := windows.OpenProcessToken(h, windows.TOKEN_QUERY, &t); err != nil {
		return id, fmt.Errorf("open process token: %w", err)
	}
	defer func() { _ = t.Close() }() // a read-only handle
	if id, err = tokenIdentity(t); err != nil {
		return Caller{}, err
	}
	id.PID = int(pid)
	return id, nil
}

// connectionProcess looks a connection up from its other side.
func connectionProcess(from, to netip.AddrPort) (uint32, error) {
	layout, family := tcpTable4, uintptr(windows.AF_INET)
	if from.Addr().Is6() {
		layout, family = tcpTable6, windows.AF_INET6
	}
	table, err := tcpTable(family)
	if err != nil {
		return 0, err
	}
	pid, ok := layout.ownerIn(table, from, to)
	if !ok {
		return 0, errors.New("the system's table has no such connection")
	}
	return pid, nil
}

// tcpTable reads the system's connections. Their number changes between the question for it and the answer.
func tcpTable(family uintptr) ([]byte, error) {
	size := uint32(16 << 10)
	for range tcpTableGuesses {
		b := make([]byte, size)
		r, _, _ := procGetExtendedTCPTable.Call(uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0, family, tableOfOwners, 0)
		switch err := windows.Errno(r); {
		case r == 0:
			return b[:min(int(size), len(b))], nil
		case !errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER):
			return nil, fmt.Errorf("read the table of connections: %w", err)
		case size > maxTCPTable:
			return nil, fmt.Errorf("the table of connections has more than %d bytes", maxTCPTable)
		}
		size += size / 4 // some more may come
	}
	return nil, errors.New("the table of connections changes too fast")
}
