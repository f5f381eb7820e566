package localsock

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// NamesTCPPeers says whether TCPPeer works on this system.
const NamesTCPPeers = true

// TCPPeer names the account behind the other side of a TCP connection within this host, or fails with ErrUnknownPeer.
// On systems that do not tell it fails with errors.ErrUnsupported.
//
// The kernel is asked for the one socket with the connection's addresses turned around (sock_diag(7)), and where it
// has no such diagnosis its table of sockets is read (proc_net(5)). A socket that no process holds any more is nobody's:
// for those the kernel says uid 0.
func TCPPeer(c net.Conn) (Caller, error) {
	ours, ok := c.LocalAddr().(*net.TCPAddr)
	theirs, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return Caller{}, fmt.Errorf("name the peer of a %T: %w", c, ErrUnknownPeer)
	}
	from, to := unmapped(theirs), unmapped(ours)
	s, err := askKernel(from, to)
	if err != nil {
		if s, err = readTable(from, to); err != nil {
			return Caller{}, fmt.Errorf("name the peer %s: %w", from, errors.Join(ErrUnknownPeer, err))
		}
	}
	if !connected(c) { // then the addresses may be those of another connection by now, of another account
		return Caller{}, fmt.Errorf("name the peer %s: the connection is over: %w", from, ErrUnknownPeer)
	}
	if s.inode == 0 {
		return Caller{}, fmt.Errorf("name the peer %s: it is gone: %w", from, ErrUnknownPeer)
	}
	return Caller{UID: s.uid, Privileged: s.uid == 0}, nil
}

// connected reports whether our side of c is still that of a connection. It is not when the other side has reset it, and
// what came before can be read all the same.
func connected(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true // nothing to ask
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var info *unix.TCPInfo
	var ierr error
	err = raw.Control(func(fd uintptr) { info, ierr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return err == nil && ierr == nil && info.State != tcpClose
}

// tcpClose is TCP_CLOSE of the kernel's include/net/tcp_states.h.
const tcpClose = 7

// socketOwner is what the kernel says of a socket; inode 0 means that no process holds it.
type socketOwner struct{ uid, inode uint32 }

func unmapped(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// The layout of struct inet_diag_req_v2 and struct inet_diag_msg (linux/inet_diag.h) behind a netlink header of 16 bytes.
const (
	sockDiagByFamily = 20
	netlinkHeader    = 16
	diagRequestBytes = netlinkHeader + 56
	diagAnswerBytes  = netlinkHeader + 72
	diagUID          = netlinkHeader + 64
	diagInode        = netlinkHeader + 68
)

func askKernel(from, to netip.AddrPort) (s socketOwner, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	// The answer comes at once or not at all; a second is for a kernel that is broken.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return s, err
	}
	if err := unix.Sendto(fd, diagRequest(from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return s, err
	}
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return s, err
	}
	if n < diagAnswerBytes || binary.NativeEndian.Uint16(b[4:]) != sockDiagByFamily {
		return s, errors.New("the kernel knows no such socket")
	}
	return socketOwner{uid: binary.NativeEndian.Uint32(b[diagUID:]), inode: binary.NativeEndian.Uint32(b[diagInode:])}, nil
}

func diagRequest(from, to netip.AddrPort) []byte {
	b := make([]byte, diagRequestBytes)
	binary.NativeEndian.PutUint32(b[0:], diagRequestBytes)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[netlinkHeader:]
	r[0], r[1] = unix.AF_INET, unix.IPPROTO_TCP
	if from.Addr().Is6() {
		r[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(r[8:], from.Port())
	binary.BigEndian.PutUint16(r[10:], to.Port())
	copy(r[12:28], from.Addr().AsSlice())
	copy(r[28:44], to.Addr().AsSlice())
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // no cookie
	return b
}

// readTable looks the connection up where every socket of the network namespace stands.
func readTable(from, to netip.AddrPort) (socketOwner, error) {
	for _, path := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return socketOwner{}, err
		}
		s, ok := findInTable(bufio.NewScanner(f), from, to)
		if err := f.Close(); err != nil {
			return socketOwner{}, err
		}
		if ok {
			return s, nil
		}
	}
	return socketOwner{}, errors.New("the kernel's table has no such socket")
}

func findInTable(lines *bufio.Scanner, from, to netip.AddrPort) (socketOwner, bool) {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || tableAddr(f[1]) != from || tableAddr(f[2]) != to {
			continue
		}
		uid, err := strconv.ParseUint(f[7], 10, 32)
		inode, err2 := strconv.ParseUint(f[9], 10, 32)
		return socketOwner{uid: uint32(uid), inode: uint32(inode)}, err == nil && err2 == nil
	}
	return socketOwner{}, false
}

// tableAddr reads "0100007F:A9B1": 32-bit words in the order of the machine's bytes.
func tableAddr(s string) netip.AddrPort {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	for w := b; len(w) > 0; w = w[4:] {
		binary.BigEndian.PutUint32(w, binary.NativeEndian.Uint32(w))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p))
}
