//go:build e2e && linux

package integration_test

import (
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestReach_Proxies has programs of other people name the network of each connection by the proxy's user name.
func TestReach_Proxies(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	proxyHost, proxyPort, _ := strings.Cut(w.agent.proxy, ":")
	web := ":" + strconv.Itoa(webPort) + "/name"
	t.Run("curl", func(t *testing.T) {
		need(t, "curl")
		need(t, "nc")
		curl := func(proxy, host string, more ...string) (string, error) {
			return w.run(t.Context(), w.net.client, append([]string{"curl", "-sS", "--max-time", "10", "-x", proxy, "http://" + host + web}, more...)...)
		}
		for _, tt := range []struct{ name, scheme, user, host, want string }{
			{"SOCKS5, a name and its network by user name", "socks5h", "b", "host-b", "host-b"},
			{"SOCKS5, an address in the selected network", "socks5h", "", hostIPs[0], "host-a"},
			{"SOCKS5, the same address in the other", "socks5h", "b", hostIPs[0], "host-b"},
			{"SOCKS5, a network by ID", "socks5h", w.networks["b"], hostIPs[0], "host-b"},
			{"SOCKS5, a password is ignored", "socks5h", "b:secret", hostIPs[0], "host-b"},
			{"SOCKS5, HOSTNAME.VNET", "socks5h", "", "host-b.b", "host-b"},
			{"SOCKS5 with the client's own resolver, an address", "socks5", "b", hostIPs[0], "host-b"},
			{"CONNECT, the network by user name", "http", "b", hostIPs[0], "host-b"},
			{"CONNECT, HOSTNAME.VNET", "http", "", "host-b.b", "host-b"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				u := url.URL{Scheme: tt.scheme, Host: w.agent.proxy}
				if user, password, ok := strings.Cut(tt.user, ":"); ok {
					u.User = url.UserPassword(user, password)
				} else if user != "" {
					u.User = url.UserPassword(user, "")
				}
				if out, err := curl(u.String(), tt.host, "--proxytunnel"); err != nil || out != tt.want {
					t.Errorf("got %q, %v; want %q", out, err, tt.want)
				}
			})
		}
		t.Run("SOCKS5 refuses an unknown network", func(t *testing.T) {
			// Reply 2 of RFC 1928: not allowed by ruleset.
			if out, err := curl("socks5h://c:@"+w.agent.proxy, hostIPs[0]); err == nil || !strings.Contains(err.Error(), "(2)") {
				t.Errorf("got %q, %v", out, err)
			}
		})
		t.Run("CONNECT refuses an unknown network and says which there are", func(t *testing.T) {
			out, err := w.run(t.Context(), w.net.client, "sh", "-c", `printf 'CONNECT `+hostIPs[0]+`:8080 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic Yzo=\r\n\r\n' | nc -N `+proxyHost+" "+proxyPort)
			if err != nil || !strings.HasPrefix(out, "HTTP/1.1 404") || !strings.Contains(out, `no virtual network is called "c"`) || !strings.Contains(out, `"b"`) {
				t.Errorf("got %q, %v", out, err)
			}
		})
	})
	t.Run("ssh through nc -X", func(t *testing.T) {
		need(t, "nc")
		for _, proto := range []string{"5", "connect"} {
			// OpenBSD's nc gives no user name to a SOCKS proxy, so the name of the target names the network.
			for host, want := range map[string]string{"host-a": "host-a", "host-b.b": "host-b", hostIPs[0]: "host-a"} {
				out, err := w.run(t.Context(), w.net.client, "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
					"-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "kh"), "-o", "LogLevel=ERROR",
					"-o", "ProxyCommand=nc -X "+proto+" -x "+w.agent.proxy+" %h %p", unixUser+"@"+host, "hostname")
				if err != nil || out != want {
					t.Errorf("nc -X %s to %s: %q, %v", proto, host, out, err)
				}
			}
		}
	})
	t.Run("python", func(t *testing.T) {
		need(t, "/usr/bin/python3")
		for _, tt := range []struct{ vnet, host, want string }{
			{"", hostIPs[0], "host-a"}, {"b", hostIPs[0], "host-b"}, {"", "host-b.b", "host-b"}, {"c", hostIPs[0], "refused 2"},
		} {
			out, err := w.run(t.Context(), w.net.client, "/usr/bin/python3", "-c", pythonSOCKS, proxyHost, proxyPort, tt.vnet, tt.host, strconv.Itoa(echoPort))
			if err != nil || out != tt.want {
				t.Errorf("user %q to %s: %q, %v; want %q", tt.vnet, tt.host, out, err, tt.want)
			}
		}
		// The standard library's own client of HTTP CONNECT.
		out, err := w.run(t.Context(), w.net.client, "/usr/bin/python3", "-c", `
import base64, http.client, sys
c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
c.set_tunnel(sys.argv[3], int(sys.argv[4]), {"Proxy-Authorization": "Basic " + base64.b64encode(b"b:").decode()})
c.request("GET", "/name")
print(c.getresponse().read().decode())`, proxyHost, proxyPort, hostIPs[0], strconv.Itoa(webPort))
		if err != nil || out != "host-b" {
			t.Errorf("CONNECT: %q, %v", out, err)
		}
	})
	t.Run("as warp-cli proxy env sets it", func(t *testing.T) {
		need(t, "curl")
		script := `eval "$("$0" --socket "$1" proxy env --vnet b)" && curl -sS --max-time 10 http://` + hostIPs[0] + web
		out, err := w.run(t.Context(), w.net.client, "sh", "-c", script, w.bin.CLI, w.agent.socket)
		if err != nil || out != "host-b" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

// pythonSOCKS is a client of RFC 1928 and RFC 1929 that nobody here shares code with.
const pythonSOCKS = `
import socket, struct, sys
host, port, user, name, to = sys.argv[1:]
s = socket.create_connection((host, int(port)), timeout=10)
if user:
    s.sendall(bytes([5, 1, 2])); assert s.recv(2) == b"\x05\x02"
    s.sendall(bytes([1, len(user)]) + user.encode() + b"\x01x"); assert s.recv(2) == b"\x01\x00"
else:
    s.sendall(bytes([5, 1, 0])); assert s.recv(2) == b"\x05\x00"
s.sendall(bytes([5, 1, 0, 3, len(name)]) + name.encode() + struct.pack(">H", int(to)))
r = s.recv(10)
if r[1]:
    print("refused", r[1]); sys.exit(0)
s.sendall(b"who\n")
print(s.makefile().readline().split()[0])`
