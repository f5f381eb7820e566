//go:build unix

package sshproxy_test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"runtime"
	"testing"
)

// floodScript sends many packets that end a connection, before or after authentication, without waiting for answers.
const floodScript = `
import sys, paramiko, time
when, host, port = sys.argv[1:4]
t = paramiko.Transport((host, int(port)))
t.start_client(timeout=20)
if when == "after":
    t.auth_password("root", "x")
for i in range(200):
    m = paramiko.Message()
    m.add_byte(b"\x5e")
    m.add_int(77)
    m.add_string(b"x" * 10)
    try:
        t.packetizer.send_message(m)
    except Exception:
        break
time.sleep(0.3)
t.close()
`

// Packets that come after the one that ends a connection must not leave anything behind.
func TestServe_FloodLeavesNothing(t *testing.T) {
	const python = "/usr/bin/python3"
	needPrograms(t, python)
	if err := exec.CommandContext(t.Context(), python, "-c", "import paramiko").Run(); err != nil {
		t.Skip("paramiko is not installed")
	}
	for _, when := range []string{"before", "after"} {
		t.Run(when+" authentication", func(t *testing.T) {
			w := hostWorld(t)
			host, port, err := net.SplitHostPort(w.addr)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, python, "-W", "ignore", "-c", floodScript, when, host, port).CombinedOutput()
			if err != nil {
				t.Logf("%v: %s", err, out)
			}
			w.result()
			eventually(t, "the library's goroutines have ended", func() bool {
				stacks := make([]byte, 1<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				return !bytes.Contains(stacks, []byte("handshakeTransport).readLoop"))
			})
		})
	}
}
