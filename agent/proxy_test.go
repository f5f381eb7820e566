package agent_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/proxy"
)

// socksDial uses another implementation's client.
func socksDial(t *testing.T, via, vnet, addr string) (string, error) {
	t.Helper()
	var auth *proxy.Auth
	if vnet != "" {
		auth = &proxy.Auth{User: vnet, Password: "ignored"}
	}
	d, err := proxy.SOCKS5("tcp", via, auth, proxy.Direct)
	must(t, err)
	c, err := d.(proxy.ContextDialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	b, err := io.ReadAll(c)
	return strings.TrimSpace(string(b)), err
}

func TestProxy_SOCKS5(t *testing.T) {
	w := newWorld(t)
	via := w.agent.ready.Proxy
	at := func(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }
	for _, tt := range []struct{ name, vnet, addr, want, fails string }{
		{"address in the selected network", "", at("10.1.2.3", namePort), string(netA), ""},
		{"address in the network of the user name", "b1net", at("10.1.2.3", namePort), string(netB), ""},
		{"network by ID", string(netB), at("10.1.2.3", namePort), string(netB), ""},
		{"IPv6 address", "b1net", at("[fd00:1::3]", namePort), string(netB), ""},
		{"name", "", at("do-target", namePort), string(netA), ""},
		{"name in another network", "", at("az-target", namePort), string(netB), ""},
		{"unknown name", "", at("nowhere.example", namePort), "", "host unreachable"},
		{"unknown network", "c1net", at("10.1.2.3", namePort), "", "connection not allowed by ruleset"},
		{"refused", "", at("10.1.2.3", closedPort), "", "connection refused"},
		{"prohibited", "", at("10.1.2.3", secretPort), "", "connection not allowed by ruleset"},
		{"unreachable", "", at("10.1.2.3", noWayPort), "", "host unreachable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := socksDial(t, via, tt.vnet, tt.addr)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got %q, %v; want an error that says %q", got, err, tt.fails)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestProxy_CONNECT(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, target, user string
		status             int
		body               string
	}{
		{"address in the selected network", "10.1.2.3:17", "", 200, string(netA)},
		{"network of the user name", "10.1.2.3:17", "b1net", 200, string(netB)},
		{"name", "az-target:17", "", 200, string(netB)},
		{"IPv6", "[fd00:1::3]:17", "b1net", 200, string(netB)},
		{"unknown name", "nowhere:17", "", 404, "no target is called"},
		{"unknown network", "10.1.2.3:17", "c1net", 404, "no virtual network is called"},
		{"refused", "10.1.2.3:81", "", 502, "refused the connection on port 81"},
		{"prohibited", "do-target:82", "", 403, "policy does not allow you to reach do-target (10.1.2.3 in a1net) on port 82"},
		{"unreachable", "10.1.2.3:84", "", 502, "cannot be reached"},
		{"no port", "10.1.2.3", "", 400, "HOST:PORT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dialTCP(t, w.agent.ready.Proxy)
			head := "CONNECT " + tt.target + " HTTP/1.1\r\nHost: " + tt.target + "\r\n"
			if tt.user != "" {
				head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(tt.user+":x")) + "\r\n"
			}
			_, err := io.WriteString(c, head+"\r\n")
			must(t, err)
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
			must(t, err)
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(r)
			must(t, err)
			if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
				t.Errorf("status %d, body %q; want %d, %q", resp.StatusCode, body, tt.status, tt.body)
			}
		})
	}
}

func TestProxy_NotConnected(t *testing.T) {
	a := startAgent(t, testConfig(t))
	if _, err := socksDial(t, a.ready.Proxy, "", "10.1.2.3:22"); err == nil || !strings.Contains(err.Error(), "network unreachable") {
		t.Errorf("SOCKS on an unregistered agent: %v", err)
	}
}
