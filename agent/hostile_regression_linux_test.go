//go:build linux

package agent_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/agent"
)

// The socket of the local API asks who is calling and lets only the agent's own account dial; the proxy beside it let
// every account of the machine use the device's access.
func TestProxy_IsForThoseWhoMayDial_regression(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and bash, to be somebody else")
	}
	for _, tt := range []struct {
		name     string
		allUsers bool
		uid      uint32
		want     string
		reply    string // of SOCKS5
	}{
		{"the agent's own account", false, uint32(os.Geteuid()), "HTTP/1.1 409 ", "\x03"}, // not registered: it was asked
		{"another account", false, 12345, "HTTP/1.1 403 ", "\x02"},
		{"another account where all are let in", true, 12345, "HTTP/1.1 409 ", "\x03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			ready := make(chan agent.Ready, 1)
			a, err := agent.New(agent.Config{
				StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "s"), ProxyListen: "127.0.0.1:0", ForceFile: true,
				ProxyAllUsers: tt.allUsers, OnReady: func(r agent.Ready) { ready <- r },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			var r agent.Ready
			select {
			case r = <-ready:
			case err := <-done:
				done <- err
				t.Fatal(err)
			case <-time.After(10 * time.Second):
				t.Fatal("the agent is not ready")
			}
			host, port, _ := strings.Cut(r.Proxy, ":")
			for request, want := range map[string]string{
				`CONNECT web-1:80 HTTP/1.1\r\nHost: web-1:80\r\n\r\n`: tt.want,
				`\x05\x01\x00\x05\x01\x00\x03\x05web-1\x00\x50`:       "\x05\x00\x05" + tt.reply,
			} {
				cmd := exec.CommandContext(t.Context(), bash, "-c", `exec 3<>/dev/tcp/`+host+`/`+port+`; printf '`+request+`' >&3; cat <&3`)
				cmd.Dir = "/"
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid}}
				out, err := cmd.Output()
				if err != nil || !strings.HasPrefix(string(out), want) {
					t.Errorf("%q, %v; want %q", out, err, want)
				}
			}
		})
	}
}
