//go:build unix

package sshproxy_test

import (
	"context"
	"net"
	"os/exec"
	"testing"

	"weft/access"
	"weft/gateway/sshproxy"
)

// asyncsshScript forwards in every direction that the library knows: to a port and a socket, from a port that the target chooses.
const asyncsshScript = `
import asyncio, asyncssh, sys
host, port, user, echo, sock = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]

async def ask(reader, writer):
    writer.write(b"hello")
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer.decode()

async def main():
    async with asyncssh.connect(host, port, username=user, password="x", known_hosts=None, client_keys=None, agent_path=None, config=None) as conn:
        print("port", await ask(*await conn.open_connection("127.0.0.1", echo)))
        print("socket", await ask(*await conn.open_unix_connection(sock)))
        listener = await conn.forward_remote_port("127.0.0.1", 0, "127.0.0.1", echo)
        print("remote", await ask(*await asyncio.open_connection("127.0.0.1", listener.get_port())))
        listener.close()
        await listener.wait_closed()
        try:
            await conn.open_connection("127.0.0.1", 1)
        except asyncssh.ChannelOpenError as e:
            print("refused", e.code)
        try:
            await conn.forward_remote_port("", 0, "127.0.0.1", echo)
        except asyncssh.ChannelListenError:
            print("refused")

asyncio.run(asyncio.wait_for(main(), 60))
`

func TestForward_AsyncSSH(t *testing.T) {
	const python = "/usr/bin/python3"
	needPrograms(t, python)
	if err := exec.CommandContext(t.Context(), python, "-W", "ignore", "-c", "import asyncssh").Run(); err != nil {
		t.Skip("asyncssh is not installed")
	}
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	socket := t.TempDir() + "/app.sock"
	echoServer(t, "unix", socket)
	o := forwardWorld(t, access.SSHRules{
		LocalForwarding:  &access.LocalForwarding{Destinations: []string{"127.0.0.1:" + portOf(t, echo), "unix:" + socket}},
		RemoteForwarding: &access.RemoteForwarding{Listen: []string{"127.0.0.1:0"}},
	})
	host, port, err := net.SplitHostPort(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	o.publish()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-W", "ignore", "-c", asyncsshScript, host, port, currentUser(), portOf(t, echo), socket).CombinedOutput()
	if want := "port HELLO\nsocket HELLO\nremote HELLO\nrefused 1\nrefused\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
	if got := o.details(sshproxy.EventRefused); len(got) != 2 {
		t.Errorf("refused: %v", got)
	}
}
