package localsock

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func pair(t *testing.T, host string) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no listener on %s: %v", host, err)
	}
	defer func() { _ = ln.Close() }()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestTCPPeer(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		client, server := pair(t, host)
		id, err := TCPPeer(server)
		if err != nil || id.UID != uint32(os.Geteuid()) {
			t.Errorf("%s: %v, %v; want uid %d", host, id, err, os.Geteuid())
		}
		from, to := unmapped(client.LocalAddr().(*net.TCPAddr)), unmapped(client.RemoteAddr().(*net.TCPAddr))
		one, err := askKernel(from, to)
		two, err2 := readTable(from, to)
		if err != nil || err2 != nil || one != two || one.inode == 0 {
			t.Errorf("%s: the kernel says %+v (%v), its table %+v (%v)", host, one, err, two, err2)
		}
	}
}

// The kernel says uid 0 of a socket that no process holds: whoever hangs up must not pass for root.
func TestTCPPeer_WhoHasGoneIsNobody_regression(t *testing.T) {
	client, server := pair(t, "127.0.0.1")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if id, err := TCPPeer(server); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("%v, %v; want ErrUnknownPeer", id, err)
	}
}

func TestTCPPeer_AnotherAccount(t *testing.T) {
	nc, err := exec.LookPath("bash")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and bash, to be somebody else")
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	port := strings.TrimPrefix(ln.Addr().String(), "127.0.0.1:")
	cmd := exec.CommandContext(t.Context(), nc, "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+"; read -u 3")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	id, err := TCPPeer(c)
	if err != nil || id.UID != 12345 || id.Privileged {
		t.Errorf("%+v, %v; want uid 12345", id, err)
	}
	_ = c.Close()
	_ = cmd.Wait() // read fails: that is its end
}

func FuzzFindInTable(f *testing.F) {
	f.Add("  0: 0100007F:A9B1 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 845031 1 0")
	f.Add("  1: 00000000000000000000000001000000:0016 00000000000000000000000001000000:0017 01 0:0 0:0 0 0 0 5")
	f.Add("sl local_address\n\x00:::")
	from, to := netip.MustParseAddrPort("127.0.0.1:43441"), netip.MustParseAddrPort("127.0.0.1:8080")
	f.Fuzz(func(t *testing.T, table string) {
		if s, ok := findInTable(bufio.NewScanner(strings.NewReader(table)), from, to); ok && !strings.Contains(strings.ToUpper(table), "0100007F") {
			t.Errorf("%+v is the owner of a socket that is not there", s)
		}
	})
}
