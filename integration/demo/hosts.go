package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/internal/sshhost"
)

// host is a small SSH server of ours that plays a machine.
type host struct{ addr string }

// sshd is a real OpenSSH server, run as this user, so that only this user can log in.
type sshd struct{ addr, user string }

// startHosts starts what the connectors will reach. The SSH authority comes first: a host that trusts it needs no accounts of
// ours and no keys of users.
func (d *demo) startHosts(ctx context.Context) (string, error) {
	var err error
	if d.caKey, err = d.api.CreateSSHCA(ctx); err != nil {
		return "", err
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(d.caKey))
	if err != nil {
		return "", fmt.Errorf("read the SSH authority's key: %w", err)
	}
	hostCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // they outlive the step
	d.stopHosts = cancel
	for _, name := range []string{"host-a", "host-b"} {
		if err := d.startHost(hostCtx, name, ca); err != nil {
			return "", err
		}
	}
	reason, err := d.startSSHD(ctx)
	if err != nil {
		return "", err
	}
	if reason != "" {
		return "without a real sshd: " + reason, nil
	}
	return "", nil
}

func (d *demo) startHost(ctx context.Context, name string, ca ssh.PublicKey) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return fmt.Errorf("make a host key: %w", err)
	}
	h, err := sshhost.New(sshhost.Config{HostKey: signer, UserCA: ca, Users: []string{login, wrongLogin}, Name: name})
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return fmt.Errorf("listen for %s: %w", name, err)
	}
	d.hosts[name] = &host{addr: l.Addr().String()}
	d.hostsDone.Go(func() {
		if err := h.Serve(ctx, l); err != nil && !errors.Is(err, net.ErrClosed) {
			say(d.out, "\n%s: %v\n", name, err)
		}
	})
	return nil
}

// startSSHD starts OpenSSH's server when it is installed and this user can run it; reason says why not.
func (d *demo) startSSHD(ctx context.Context) (reason string, err error) {
	path, err := findSSHD()
	if err != nil {
		return "it is not installed", nil
	}
	me, err := user.Current()
	if err != nil {
		return "this user has no name here", nil
	}
	addr, err := freeTCP()
	if err != nil {
		return "", err
	}
	config, err := d.writeSSHDConfig(addr)
	if err != nil {
		return "", err
	}
	// -t checks the configuration and what sshd needs of the system (as root, for example, its folder in /run).
	if out, err := exec.CommandContext(ctx, path, "-t", "-f", config).CombinedOutput(); err != nil {
		return "it cannot run here: " + strings.TrimSpace(string(out)), nil
	}
	p, err := d.start(ctx, "sshd", path, "-D", "-e", "-f", config)
	if err != nil {
		return "", err
	}
	for !answers(ctx, addr) {
		select {
		case <-p.Done():
			d.processes = d.processes[:len(d.processes)-1]
			return "it ended at once: " + p.Tail(3), nil
		case <-ctx.Done():
			return "", fmt.Errorf("sshd does not answer: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	d.sshd = &sshd{addr: addr, user: me.Username}
	return "", nil
}

func findSSHD() (string, error) {
	for _, p := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"} {
		if info, err := os.Stat(p); err == nil && info.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return exec.LookPath("sshd")
}

func (d *demo) writeSSHDConfig(addr string) (string, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", fmt.Errorf("encode the host key: %w", err)
	}
	hostKey, ca, config := filepath.Join(d.dir, "sshd-key"), filepath.Join(d.dir, "sshd-ca.pub"), filepath.Join(d.dir, "sshd-config")
	listen, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	text := strings.Join([]string{
		"Port " + port, "ListenAddress " + listen, "HostKey " + hostKey, "TrustedUserCAKeys " + ca,
		"PidFile none", "UsePAM no", "StrictModes no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"AuthorizedKeysFile none", "Subsystem sftp internal-sftp", "LogLevel VERBOSE", "",
	}, "\n")
	return config, errors.Join(
		os.WriteFile(hostKey, pem.EncodeToMemory(block), 0o600),
		os.WriteFile(ca, []byte(strings.TrimSpace(d.caKey)+"\n"), 0o600),
		os.WriteFile(config, []byte(text), 0o600),
	)
}

// answers reports whether something accepts connections at addr.
func answers(ctx context.Context, addr string) bool {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
