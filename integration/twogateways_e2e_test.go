//go:build e2e && linux

package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/integration/lab"
)

// quiet runs a program that must succeed and say nothing on standard error.
func (d *desk) quiet(t *testing.T, want string, args ...string) {
	t.Helper()
	out, stderr, err := d.run(t, "", args...)
	if err != nil || out != want || stderr != "" {
		t.Errorf("%s: %q, %v; stderr %q; want %q and nothing else", strings.Join(args, " "), out, err, stderr, want)
	}
}

// TestHostIdentity: OpenSSH, told to take no host key that it does not know, knows every target by the one line of the
// host CA: by names, by addresses, in both networks, after a rotation of the CA, and at a second gateway. This file's
// name makes it the last of the tests: the second gateway stays on record.
func TestHostIdentity(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	d := newDesk(t, w.agent)
	strict := []string{"-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=INFO"}
	everywhere := func(t *testing.T) {
		t.Helper()
		for _, tt := range []struct{ login, want string }{
			{"root@host-a.a", "host-a\n"}, {"root@host-a", "host-a\n"}, {"root@host-b.b", "host-b\n"},
		} {
			d.quiet(t, tt.want, append(append([]string{"ssh"}, strict...), tt.login, "hostname")...)
		}
		for _, to := range []string{hostIPs[0], "host-a"} {
			line := append([]string{w.bin.CLI, "--socket", w.agent.socket, "ssh"}, strict...)
			d.quiet(t, "host-a\n", append(line, "root@"+to, "--", "hostname")...)
		}
	}
	nothingLearned := func(t *testing.T) {
		t.Helper()
		for _, name := range []string{".ssh/known_hosts", ".ssh/weft/known_hosts"} {
			if b, err := os.ReadFile(filepath.Join(d.home, name)); err == nil && len(b) > 0 {
				t.Errorf("%s has become %q", name, b)
			}
		}
	}
	t.Run("with an empty known_hosts", func(t *testing.T) {
		everywhere(t)
		nothingLearned(t)
		authorities, err := os.ReadFile(filepath.Join(d.home, ".ssh", "weft", "authorities"))
		if err != nil || strings.Count(string(authorities), "@cert-authority ") != 1 || strings.Count(string(authorities), "\n") != 1 {
			t.Errorf("authorities %q, %v", authorities, err)
		}
	})
	t.Run("by address", func(t *testing.T) {
		install := []string{w.bin.CLI, "--socket", w.agent.socket, "ssh-config", "--install"}
		d.must(t, "", append(install, "--addresses")...)
		d.quiet(t, "host-a\n", append(append([]string{"ssh"}, strict...), "root@"+hostIPs[0], "hostname")...)
		w.agent.selectVNET(t, "b")
		d.quiet(t, "host-b\n", append(append([]string{"ssh"}, strict...), "root@"+hostIPs[0], "hostname")...)
		w.agent.selectVNET(t, "a")
		if out := d.must(t, "", "ssh", "-G", "192.0.2.1"); strings.Contains(out, "warp-cli nc") {
			t.Errorf("an address that is no target's is taken: %s", grepLines(out, "proxycommand"))
		}
		d.must(t, "", install...)
		nothingLearned(t)
	})
	t.Run("by both kinds of key", func(t *testing.T) {
		for _, algo := range []string{"ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256-cert-v01@openssh.com"} {
			d.quiet(t, "host-a\n", append(append([]string{"ssh"}, strict...), "-o", "HostKeyAlgorithms="+algo, "root@host-a.a", "hostname")...)
		}
	})
	t.Run("target connect", func(t *testing.T) {
		out, stderr, err := d.run(t, "hostname\n", w.bin.CLI, "--socket", w.agent.socket, "target", "connect", "--user", "root", "host-a:22")
		if err != nil || !strings.HasPrefix(out, "host-a\n") || strings.Contains(stderr, "authenticity") || strings.Contains(stderr, "Warning") {
			t.Errorf("%q, %v; stderr %q", out, err, stderr)
		}
	})
	t.Run("a client that does not know the authority", func(t *testing.T) {
		line := []string{"ssh", "-F", "none", "-o", "ProxyCommand=" + w.bin.CLI + " --socket " + w.agent.socket + " nc %h %p", "-o", "BatchMode=yes"}
		_, stderr, err := d.run(t, "", append(append(line[:len(line):len(line)], "-o", "StrictHostKeyChecking=yes"), "root@host-a.a", "hostname")...)
		if err == nil || !strings.Contains(stderr, "Host key verification failed") {
			t.Errorf("%v; stderr %q", err, stderr)
		}
		out := d.must(t, "", append(line, "-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=~/plain", "root@host-a.a", "hostname")...)
		if out != "host-a\n" {
			t.Errorf("by the plain key: %q", out)
		}
	})
	weft := func(t *testing.T, args ...string) string {
		t.Helper()
		out, err := w.run(t.Context(), w.net.server, append(append([]string{w.bin.Weft, "ssh-ca"}, args...),
			"--control", controlURL, "--token-file", w.path("api-token"), "--ca-file", w.caFile())...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	hostCAs := func(t *testing.T) (ids []string) {
		t.Helper()
		var list struct {
			Host []struct {
				ID string `json:"id"`
			} `json:"host"`
		}
		if err := json.Unmarshal([]byte(weft(t, "list", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Host {
			ids = append(ids, c.ID)
		}
		return ids
	}
	t.Run("through a rotation", func(t *testing.T) {
		old := hostCAs(t)
		if len(old) != 1 {
			t.Fatalf("authorities %v", old)
		}
		weft(t, "rotate", "--host")
		everywhere(t)
		eventually(t, 60*time.Second, "the old authority can go", func() bool {
			_, err := w.run(t.Context(), w.net.server, w.bin.Weft, "ssh-ca", "remove", old[0],
				"--control", controlURL, "--token-file", w.path("api-token"), "--ca-file", w.caFile())
			return err == nil
		})
		everywhere(t)
		nothingLearned(t)
		if now := hostCAs(t); len(now) != 1 || now[0] == old[0] {
			t.Errorf("authorities %v, before %v", now, old)
		}
	})
	t.Run("at a second gateway", func(t *testing.T) {
		w.startSecondGateway(t)
		if err := w.gateway.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 60*time.Second, "the agent goes to the second gateway", func() bool {
			out, _, err := d.run(t, "", append(append([]string{"ssh", "-o", "ConnectTimeout=3"}, strict...), "root@host-a.a", "hostname")...)
			return err == nil && out == "host-a\n"
		})
		everywhere(t)
		nothingLearned(t)
		if err := os.Remove(w.path("gateway-ready")); err != nil {
			t.Fatal(err)
		}
		if err := w.launchGateway(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.gateway.AwaitFile(t.Context(), w.path("gateway-ready")); err != nil {
			t.Error(err)
		}
	})
}

// startSecondGateway runs another gateway of the same group, with keys of its own.
func (w *world) startSecondGateway(t *testing.T) {
	t.Helper()
	token, err := w.run(t.Context(), w.net.server, w.bin.Weft, "gateway", "create", "--name", "gw-2", "--control", controlURL,
		"--token-file", w.path("api-token"), "--ca-file", w.caFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("gateway-2-token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := lab.Start(t.Context(), lab.Command{Name: "gateway-2", LogDir: w.dir, Netns: w.net.server, Args: []string{
		w.bin.Weft, "gateway", "--state-dir", w.path("gateway-2"), "--control", controlURL, "--token-file", w.path("gateway-2-token"),
		"--ca-file", w.caFile(), "--listen", serverIP + ":51821", "--connector-listen", serverIP + ":7845", "--advertise", serverIP,
		"--audit-file", w.path("audit-2.jsonl"), "--ready-file", w.path("gateway-2-ready"), "--log-level", "debug", "--drain-timeout", "0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.processes = append(w.processes, p)
	if err := p.AwaitFile(t.Context(), w.path("gateway-2-ready")); err != nil {
		t.Fatal(err)
	}
}
