package forward

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"weft/internal/localsock"
)

// udpOwners names the accounts whose sockets may have sent from an address of this machine, by the kernel's table
// (proc_net(5)). Several sockets can share a port: all of them are named.
func udpOwners(from netip.AddrPort) ([]localsock.Caller, error) {
	var ids []localsock.Caller
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

func udpOwnersIn(table io.Reader, from netip.AddrPort) ([]localsock.Caller, error) {
	var ids []localsock.Caller
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) < 8 {
			continue
		}
		at, ok := tableAddr(w[1])
		if !ok || at.Port() != from.Port() || at.Addr() != from.Addr() && !at.Addr().IsUnspecified() {
			continue
		}
		uid, err := strconv.ParseUint(w[7], 10, 32)
		if err != nil {
			return nil, errors.New("the kernel's table names no account")
		}
		ids = append(ids, localsock.Caller{UID: uint32(uid), Privileged: uid == 0})
	}
	return ids, lines.Err()
}

// tableAddr reads "0100007F:A9B1": 32-bit words in the order of the machine's bytes.
func tableAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for w := b; len(w) > 0; w = w[4:] {
		binary.BigEndian.PutUint32(w, binary.NativeEndian.Uint32(w))
	}
	a, _ := netip.AddrFromSlice(b) // 4 and 16 bytes are always an address
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}
