//go:build e2e && linux

package integration_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/integration/lab"
)

const (
	plainPort   = 2222  // where sshds listen that have nothing to do with Weft
	forwardPort = 18022 // of an agent's forward
)

// plainSSHD starts an sshd in a namespace that takes the key of the desk's user, and makes the desk know its host key.
func (d *desk) plainSSHD(t *testing.T, name, ns, addr string) {
	t.Helper()
	dir := t.TempDir()
	host, err := hostKey()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(host)
	if err != nil {
		t.Fatal(err)
	}
	d.userKey(t)
	config := strings.Join([]string{
		"Port " + strconv.Itoa(plainPort), "ListenAddress " + addr, "HostKey " + filepath.Join(dir, "key"),
		"AuthorizedKeysFile " + filepath.Join(d.home, ".ssh", "id_ed25519.pub"),
		"PidFile none", "UsePAM no", "PermitRootLogin prohibit-password", "PasswordAuthentication no", "StrictModes no", "",
	}, "\n")
	for file, data := range map[string][]byte{filepath.Join(dir, "key"): host, filepath.Join(dir, "config"): []byte(config)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	known, err := os.OpenFile(filepath.Join(d.home, ".ssh", "known_hosts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(known, "[%s]:%d %s", addr, plainPort, ssh.MarshalAuthorizedKey(signer.PublicKey()))
	if cerr := known.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	p, err := lab.Start(t.Context(), lab.Command{
		Name: name, LogDir: dir, Netns: ns, Args: []string{"unshare", "--uts", "sh", "-c", "hostname " + name + " && exec " + sshdPath + " -D -e -f " + filepath.Join(dir, "config")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 30*time.Second, name+" answers", func() bool {
		c, err := dialIn(t.Context(), ns, "tcp", net.JoinHostPort(addr, strconv.Itoa(plainPort)))
		return err == nil && c.Close() == nil
	})
}

// userKey gives the desk's user a key, once.
func (d *desk) userKey(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(d.home, ".ssh", "id_ed25519")); err == nil {
		return
	}
	d.must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ".ssh/id_ed25519")
}

// TestJump: ssh -J over a target, to a machine beside it that Weft does not know, goes where the policy allows it and nowhere else;
// and over a machine on which an agent runs, to a target.
func TestJump(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	d := newStrictDesk(t, w.agent)
	d.configure(t, "Host 127.0.0.1 "+hostIPs[0]+"\n  IdentityFile ~/.ssh/id_ed25519\n")
	t.Run("over a target", func(t *testing.T) {
		d.plainSSHD(t, "inner", w.net.hostB, hostIPs[0])
		allowed := net.JoinHostPort(hostIPs[0], strconv.Itoa(plainPort))
		jumpTarget(t, w, "jump", hostIPs[1], allowed)
		line := []string{"ssh", "-J", "root@jump.b"}
		d.quiet(t, "inner\n", append(line[:3:3], "-p", strconv.Itoa(plainPort), "root@"+hostIPs[0], "hostname")...)
		eventually(t, 30*time.Second, "the jump is on record with its destination", func() bool {
			return w.auditHas(t, `"jump"`, `"type":"forward"`, allowed) && w.auditHas(t, `"jump"`, `"type":"forward_end"`, allowed, "bytes_up")
		})
		// The SSH port of the same machine is another destination.
		_, stderr, err := d.run(t, "", append(line[:3:3], "root@"+hostIPs[0], "hostname")...)
		if exitCodeOf(err) != 255 || !strings.Contains(stderr, "does not allow forwarding to "+hostIPs[0]+":22") {
			t.Errorf("to a destination that is not allowed: %v; stderr %q", err, stderr)
		}
		eventually(t, 30*time.Second, "the refusal is on record", func() bool {
			return w.auditHas(t, `"jump"`, "refused", hostIPs[0]+":22")
		})
	})
	t.Run("over the machine of the agent", func(t *testing.T) {
		d.plainSSHD(t, "desktop", w.net.client, "127.0.0.1")
		w.agent.mustCLI(t, "forward", "add", strconv.Itoa(forwardPort), "host-a.a:22", "--name", "jump")
		t.Cleanup(func() {
			if _, err := w.agent.cli(cleanupContext(t), "forward", "remove", "jump"); err != nil {
				t.Error(err)
			}
		})
		d.quiet(t, "host-a\n", "ssh", "-J", fmt.Sprintf("root@127.0.0.1:%d", plainPort), "-o", "HostKeyAlias=weft-gateway",
			"-o", "GlobalKnownHostsFile=~/.ssh/weft/authorities", "-p", strconv.Itoa(forwardPort), "root@127.0.0.1", "hostname")
	})
}

// jumpTarget makes a target at an address of host B, whose policy lets its logins reach the destinations.
func jumpTarget(t *testing.T, w *world, name, addr string, destinations ...string) {
	t.Helper()
	id, err := w.api.CreateTarget(t.Context(), name, netip.MustParseAddr(addr), w.networks["b"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.api.DeleteTarget(cleanupContext(t), id); err != nil {
			t.Error(err)
		}
	})
	app, err := w.api.CreateApplication(t.Context(), lab.Application{
		Name: name, Hostnames: []string{name}, Port: 22, Protocol: "SSH", Emails: []string{userEmail}, Usernames: []string{unixUser}, Forwards: destinations,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.api.DeleteApplication(cleanupContext(t), app); err != nil {
			t.Error(err)
		}
	})
	r, err := newCountingRelay(w.net.hostB, addr+":22", hostIPs[0]+":22")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	eventually(t, 30*time.Second, "the agent hears of "+name, func() bool {
		return strings.Contains(w.agent.mustCLI(t, "target", "list"), name)
	})
}
