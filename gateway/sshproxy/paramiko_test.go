//go:build unix

package sshproxy_test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"testing"
)

// paramikoScript logs in the way that its first argument says, without trying "none" first, runs `hostname; exit 3`,
// and prints what it got.
const paramikoScript = `
import sys, paramiko
how, host, port, user = sys.argv[1:5]
t = paramiko.Transport((host, int(port)))
t.start_client(timeout=20)
try:
    if how == "password":
        t.auth_password(user, "anything")
    elif how == "key":
        t.auth_publickey(user, paramiko.ECDSAKey.generate())
    elif how == "interactive":
        t.auth_interactive(user, lambda title, instructions, fields: ["" for f in fields])
except paramiko.AuthenticationException as e:
    print("refused", type(e).__name__, t.get_banner().decode().strip())
    sys.exit()
c = t.open_session()
c.exec_command("hostname; err complaint; exit 3")
print(c.makefile().read().decode().strip(), c.makefile_stderr().read().decode().strip(), c.recv_exit_status())
if how == "key":
    s = t.open_session()
    s.get_pty()
    s.invoke_shell()
    s.send("exit 4\n")
    while s.recv(100): pass
    print(s.recv_exit_status())
t.close()
`

// Another implementation, which does not ask for "none" first and knows neither AES-GCM nor ChaCha20 in older versions.
func TestParamiko(t *testing.T) {
	const python = "/usr/bin/python3"
	needPrograms(t, python)
	if err := exec.CommandContext(t.Context(), python, "-c", "import paramiko").Run(); err != nil {
		t.Skip("paramiko is not installed")
	}
	tests := []struct{ name, how, user, want string }{
		{"password", "password", "root", "host-a complaint 3\n"},
		{"public key", "key", "root", "host-a complaint 3\n4\n"},
		{"keyboard-interactive", "interactive", "root", "host-a complaint 3\n"},
		{
			"refused", "password", "mallory",
			`refused AuthenticationException weft: login to host-a (10.0.0.1, prod) as "mallory" refused: ` +
				"A policy includes you, but you may not log in to the target as this UNIX user. " +
				"Your target list shows the UNIX users that you may use, if any.\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := hostWorld(t)
			host, port, err := net.SplitHostPort(w.addr)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, python, "-W", "ignore", "-c", paramikoScript, tt.how, host, port, tt.user)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			if err := cmd.Run(); err != nil || out.String() != tt.want {
				t.Errorf("%v: %q, want %q; %s", err, out.String(), tt.want, errOut.String())
			}
			w.result()
		})
	}
}
