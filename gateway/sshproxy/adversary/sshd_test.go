//go:build unix

package adversary_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func startSSHD(t *testing.T, w *world) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	w.login = u.Username
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Skipf("sshd as root needs /run/sshd: %v", err)
		}
	}
	dir := t.TempDir()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Join([]string{
		"HostKey " + filepath.Join(dir, "key"), "TrustedUserCAKeys " + filepath.Join(dir, "ca.pub"), "PidFile none", "UsePAM no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "AuthorizedKeysFile none", "StrictModes no", "PermitRootLogin yes",
		"Subsystem sftp internal-sftp", "MaxSessions 200", "AcceptEnv *", "AllowTcpForwarding yes", "PermitTunnel yes", "GatewayPorts yes", "",
	}, "\n")
	for name, data := range map[string][]byte{
		"key": pem.EncodeToMemory(block), "ca.pub": ssh.MarshalAuthorizedKey(w.ca.PublicKey()), "config": []byte(config),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return inetd(t, filepath.Join(dir, "config"))
}

// inetd runs one sshd for each connection, so that no port has to be guessed.
func inetd(t *testing.T, config string) string {
	t.Helper()
	check := exec.CommandContext(t.Context(), sshdPath, "-t", "-f", config)
	if out, err := check.CombinedOutput(); err != nil {
		t.Skipf("sshd does not run here: %v: %s", err, out)
	}
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(done)
		var running []*exec.Cmd
		for {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			cmd := exec.CommandContext(ctx, sshdPath, "-i", "-e", "-f", config)
			cmd.WaitDelay = 5 * time.Second
			f, err := c.(*net.TCPConn).File()
			if err == nil {
				cmd.Stdin, cmd.Stdout = f, f
				err = cmd.Start()
				err = errors.Join(err, f.Close(), c.Close())
			}
			if err != nil {
				log.WriteString(err.Error())
				continue
			}
			running = append(running, cmd)
		}
		for _, cmd := range running {
			_ = cmd.Wait() // killed, or ended with its connection
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		<-done
		if log.Len() > 0 {
			t.Errorf("start sshd: %s", log.String())
		}
	})
	return ln.Addr().String()
}
