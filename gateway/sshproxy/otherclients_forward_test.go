//go:build unix

package sshproxy_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

// PuTTY's and Dropbear's clients have ideas of their own about channels and listen addresses.
func TestForward_OtherClients(t *testing.T) {
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	to := "127.0.0.1:" + portOf(t, echo)
	for _, program := range []string{"plink", "dbclient"} {
		t.Run(program, func(t *testing.T) {
			needPrograms(t, program)
			fixed := freePort(t) // the listener of another login may live on for a moment
			o := forwardWorld(t, access.SSHRules{
				LocalForwarding:  &access.LocalForwarding{Destinations: []string{to}},
				RemoteForwarding: &access.RemoteForwarding{Listen: []string{"localhost:" + fixed}},
			})
			host, port, err := net.SplitHostPort(o.addr)
			if err != nil {
				t.Fatal(err)
			}
			who := currentUser() + "@" + host
			common := []string{"-y", "-p", port, "-N"}
			if program == "plink" {
				common = []string{"-batch", "-ssh", "-P", port, "-N", "-hostkey", ssh.FingerprintSHA256(o.proxyKey.PublicKey())}
			}
			for flag, local := range map[string]string{"-L": freePort(t), "-R": fixed} {
				t.Run(flag, func(t *testing.T) {
					o.publish()
					ctx, cancel := context.WithCancel(context.Background())
					cmd := exec.CommandContext(ctx, program, append(common, flag, local+":"+to, who)...)
					cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
					var out syncBuffer
					cmd.Stdout, cmd.Stderr = &out, &out
					in, err := cmd.StdinPipe()
					if err == nil {
						err = cmd.Start()
					}
					if err != nil {
						cancel()
						t.Fatal(err)
					}
					defer func() {
						cancel()
						_ = in.Close()
						_ = cmd.Wait() // killed
						if t.Failed() {
							t.Log(out.String())
						}
					}()
					echoes(t, "tcp", "127.0.0.1:"+local, nil, 0)
				})
			}
		})
	}
}
