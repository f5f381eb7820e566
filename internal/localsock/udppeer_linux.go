package localsock

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// UDPOwners names the accounts whose sockets may have sent from an address of this machine, by the kernel's table
// (proc_net(5)); none when there is no such socket. Several sockets can share a port: all of them are named. On systems
// that do not tell it fails with errors.ErrUnsupported.
func UDPOwners(from netip.AddrPort) ([]Caller, error) {
	var ids []Caller
	for _, path := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := udpOwnersIn(f, from)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	return ids, nil
}

func udpOwnersIn(table io.Reader, from netip.AddrPort) ([]Caller, error) {
	var ids []Caller
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) < 8 {
			continue
		}
		at := tableAddr(w[1])
		if !at.IsValid() || at.Port() != from.Port() || at.Addr() != from.Addr() && !at.Addr().IsUnspecified() {
			continue
		}
		uid, err := strconv.ParseUint(w[7], 10, 32)
		if err != nil {
			return nil, errors.New("the kernel's table names no account")
		}
		ids = append(ids, Caller{UID: uint32(uid), Privileged: uid == 0})
	}
	return ids, lines.Err()
}
