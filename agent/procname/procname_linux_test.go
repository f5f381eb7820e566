package procname_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"weft/agent/procname"
)

func TestTable_Of(t *testing.T) {
	var lc net.ListenConfig
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := lc.Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Skipf("listen on %s: %v", at, err)
		}
		defer ln.Close()
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		table := procname.New()
		pid, name := table.Of(0, c.LocalAddr().(*net.TCPAddr).AddrPort())
		if pid != os.Getpid() || name == "" {
			t.Errorf("%s: process %d %q, want %d and a name", at, pid, name, os.Getpid())
		}
		if pid, name := table.Of(0, ln.Addr().(*net.TCPAddr).AddrPort()); pid != os.Getpid() || name == "" {
			t.Errorf("%s: the listener's process is %d %q", at, pid, name)
		}
	}
	if pid, name := procname.New().Of(1<<30, procnameNone); pid != 1<<30 || name != "" {
		t.Errorf("a process that is not there: %d %q", pid, name)
	}
	if pid, name := procname.New().Of(0, procnameNone); pid != 0 || name != "" {
		t.Errorf("nobody: %d %q", pid, name)
	}
}

var procnameNone netip.AddrPort
