//go:build e2e && linux

package integration_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/integration/lab"
)

// sshConfig writes a client configuration: plain names and addresses go through warp-cli nc, names that begin with
// "socks-" through the SOCKS5 proxy, both without anything of this machine's own configuration.
func (a *agent) sshConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh_config")
	text := fmt.Sprintf(`
Host socks-name
  HostName host-a
Host socks-ip
  HostName %[1]s
Host socks-*
  ProxyCommand nc -X 5 -x %[2]s %%h %%p
Host *
  ProxyCommand %[3]s --socket %[4]s nc %%h %%p
  User %[5]s
  UserKnownHostsFile %[6]s
  GlobalKnownHostsFile none
  StrictHostKeyChecking accept-new
  BatchMode yes
  IdentityFile none
  IdentityAgent none
  LogLevel INFO
`, hostIPs[0], a.proxy, a.w.bin.CLI, a.socket, unixUser, filepath.Join(filepath.Dir(path), "known_hosts"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inClient runs a program in the client's namespace; it must succeed.
func (w *world) inClient(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := lab.Command{Netns: w.net.client, Args: args}.Exec(t.Context())
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// ways are the four ways to name host A.
var ways = []struct{ name, host string }{
	{"by name through warp-cli nc", "host-a"},
	{"by address through warp-cli nc", hostIPs[0]},
	{"by name through SOCKS5", "socks-name"},
	{"by address through SOCKS5", "socks-ip"},
}

func TestSSH(t *testing.T) {
	w := theWorld(t)
	need(t, "nc")
	config := w.agent.sshConfig(t)
	w.agent.selectVNET(t, "a")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			out := w.inClient(t, []byte("from stdin"), "ssh", "-F", config, way.host, "hostname; cat; exit 0")
			if out != "host-a\nfrom stdin" {
				t.Errorf("got %q", out)
			}
		})
	}
	t.Run("the remote exit status is ssh's", func(t *testing.T) {
		_, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, "host-a", "exit 37")
		if err == nil || !strings.Contains(err.Error(), "exit status 37") {
			t.Errorf("got %v; want exit status 37", err)
		}
	})
	t.Run("a terminal", func(t *testing.T) {
		out := w.inClient(t, nil, "ssh", "-F", config, "-tt", "host-a", "test -t 0 && test -t 1 && echo a terminal of $(hostname)")
		if !strings.Contains(out, "a terminal of host-a") {
			t.Errorf("got %q", out)
		}
	})
	t.Run("by warp-cli ssh", func(t *testing.T) {
		out := w.inClient(t, nil, w.bin.CLI, "--socket", w.agent.socket, "ssh", "-F", "none", "-o", "BatchMode=yes",
			"-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "kh"), "-o", "StrictHostKeyChecking=accept-new", unixUser+"@host-b", "--", "hostname")
		if out != "host-b\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("a megabyte each way", func(t *testing.T) {
		data := make([]byte, 1<<20)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		if out := w.inClient(t, data, "ssh", "-F", config, "host-a", "cat"); out != string(data) {
			t.Errorf("%d bytes came back as %d other ones", len(data), len(out))
		}
	})
}

func TestFileTransfer(t *testing.T) {
	w := theWorld(t)
	need(t, "nc")
	config := w.agent.sshConfig(t)
	w.agent.selectVNET(t, "a")
	home := w.path("home-a")
	tests := []struct {
		name string
		tool string
		// put and get are command lines; LOCAL, HOST and REMOTE are filled in.
		put, get []string
		stdin    string
	}{
		{name: "scp", tool: "scp", put: []string{"scp", "-F", config, "LOCAL", "HOST:REMOTE"}, get: []string{"scp", "-F", config, "HOST:REMOTE", "LOCAL"}},
		{name: "scp -O", tool: "scp", put: []string{"scp", "-O", "-F", config, "LOCAL", "HOST:REMOTE"}, get: []string{"scp", "-O", "-F", config, "HOST:REMOTE", "LOCAL"}},
		{name: "sftp", tool: "sftp", put: []string{"sftp", "-F", config, "-b", "-", "HOST"}, get: []string{"sftp", "-F", config, "-b", "-", "HOST"}},
		{
			name: "rsync", tool: "rsync",
			put: []string{"rsync", "-e", "ssh -F " + config, "LOCAL", "HOST:REMOTE"},
			get: []string{"rsync", "-e", "ssh -F " + config, "HOST:REMOTE", "LOCAL"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			need(t, tt.tool)
			for i, way := range ways {
				t.Run(way.name, func(t *testing.T) {
					data := make([]byte, 300_000)
					if _, err := rand.Read(data); err != nil {
						t.Fatal(err)
					}
					sent, back := filepath.Join(t.TempDir(), "sent"), filepath.Join(t.TempDir(), "back")
					if err := os.WriteFile(sent, data, 0o600); err != nil {
						t.Fatal(err)
					}
					// A name of its own: rsync leaves a file alone that has the same size and second.
					remote := fmt.Sprintf("file-%s-%d", strings.ReplaceAll(tt.name, " ", ""), i)
					fill := func(args []string, local string) []string {
						r := strings.NewReplacer("LOCAL", local, "HOST", way.host, "REMOTE", remote)
						out := make([]string, len(args))
						for i, a := range args {
							out[i] = r.Replace(a)
						}
						return out
					}
					w.inClient(t, []byte("put "+sent+" "+remote+"\n"), fill(tt.put, sent)...)
					there, err := os.ReadFile(filepath.Join(home, remote))
					if err != nil || !bytes.Equal(there, data) {
						t.Fatalf("the file on host A is not the one that was sent: %d bytes, %v", len(there), err)
					}
					w.inClient(t, []byte("get "+remote+" "+back+"\n"), fill(tt.get, back)...)
					got, err := os.ReadFile(back)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("the file that came back is not the one that was sent: %d bytes, %v", len(got), err)
					}
				})
			}
		})
	}
}

func TestSameAddressTwoNetworks(t *testing.T) {
	w := theWorld(t)
	config := w.agent.sshConfig(t)
	for _, network := range []string{"a", "b", "a"} {
		w.agent.selectVNET(t, network)
		if out := w.inClient(t, nil, "ssh", "-F", config, hostIPs[0], "hostname"); out != "host-"+network+"\n" {
			t.Errorf("with network %s selected, %s is %q", network, hostIPs[0], out)
		}
		addr := hostIPs[0] + ":7000"
		for named, want := range map[string]string{"": "host-" + network, "a": "host-a", "b": "host-b"} {
			got, err := w.agent.whichHost(t.Context(), named, addr)
			if err != nil || got != want {
				t.Errorf("with %s selected, through SOCKS5 user %q: %q, %v; want %q", network, named, got, err, want)
			}
		}
	}
	w.agent.selectVNET(t, "a")
}
