package procname

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// maxProcesses bounds how many processes a scan looks at.
const maxProcesses = 20_000

// program reads the name of a process (proc_pid_comm(5)). For warp-cli it names who started it: that is the ssh or
// rsync which the user knows.
func program(pid int) string {
	name := comm(pid)
	if name != "warp-cli" {
		return name
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return name
	}
	// The name stands in parentheses and may hold anything; the state and the parent follow the last one.
	rest := string(b)[strings.LastIndexByte(string(b), ')')+1:]
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return name
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil || parent <= 1 {
		return name
	}
	if by := comm(parent); by != "" {
		return by
	}
	return name
}

func comm(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// owner finds the process that holds the socket whose local end is client (proc_net(5), proc_pid_fd(5)). Of processes of
// other accounts only root learns.
func (t *Table) owner(client netip.AddrPort) int {
	inode := socketInode(client)
	if inode == 0 {
		return 0
	}
	if !t.scanned {
		t.scanned = true
		t.scan()
	}
	return t.sockets[inode]
}

func (t *Table) scan() {
	t.sockets = make(map[uint64]int)
	d, err := os.Open("/proc")
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(maxProcesses) // what could not be read is not named
	_ = d.Close()
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		fds, err := os.ReadDir("/proc/" + name + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			link, err := os.Readlink("/proc/" + name + "/fd/" + fd.Name())
			if err != nil {
				continue
			}
			if s, ok := strings.CutPrefix(link, "socket:["); ok {
				if inode, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 64); err == nil {
					t.sockets[inode] = pid
				}
			}
		}
	}
}

// socketInode looks a TCP socket up by its local end; 0: there is none.
func socketInode(local netip.AddrPort) uint64 {
	file := "/proc/net/tcp"
	if local.Addr().Is6() {
		file = "/proc/net/tcp6"
	}
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // opened for reading
	want := tableAddr(local)
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) > 9 && fields[1] == want {
			inode, err := strconv.ParseUint(fields[9], 10, 64)
			if err != nil {
				return 0
			}
			return inode
		}
	}
	return 0
}

// tableAddr writes an address as the kernel's table does: 32-bit words in the machine's order.
func tableAddr(ap netip.AddrPort) string {
	b := ap.Addr().AsSlice()
	for i := 0; i+4 <= len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	port := binary.BigEndian.AppendUint16(nil, ap.Port())
	return strings.ToUpper(hex.EncodeToString(b) + ":" + hex.EncodeToString(port))
}
