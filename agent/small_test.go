package agent_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/agent"
	"weft/agent/localapi"
)

func TestDefaultStateDir(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		name, goos string
		privileged bool
		env        func(string) string
		want       string
	}{
		{"root", "linux", true, env("HOME", "/root", "XDG_STATE_HOME", "/x"), "/var/lib/weft"},
		{"user", "linux", false, env("HOME", "/home/a"), "/home/a/.local/state/weft"},
		{"user with XDG", "linux", false, env("HOME", "/home/a", "XDG_STATE_HOME", "/x"), "/x/weft"},
		{"user without a home", "linux", false, env(), ""},
		{"macOS root", "darwin", true, env("HOME", "/var/root"), "/Library/Application Support/weft"},
		{"macOS user", "darwin", false, env("HOME", "/Users/a"), "/Users/a/Library/Application Support/weft"},
		{"Windows service", "windows", true, env("ProgramData", "/pd"), "/pd/weft"},
		{"Windows user", "windows", false, env("LocalAppData", "/lad"), "/lad/weft"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := agent.StateDirForTest(tt.goos, tt.privileged, tt.env)
			if filepath.ToSlash(got) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestQuietLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := agent.QuietForTest(slog.New(slog.NewTextHandler(&b, nil)))
		for range 100 {
			l.WarnContext(t.Context(), "wireguard", "text", "network is unreachable")
		}
		l.WarnContext(t.Context(), "wireguard", "text", "something else")
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("%d lines of two kinds", n)
		}
		<-time.After(61 * time.Second)
		l.WarnContext(t.Context(), "wireguard", "text", "network is unreachable")
		if n := strings.Count(b.String(), "\n"); n != 3 {
			t.Errorf("%d lines after a minute", n)
		}
	})
}

func TestStats(t *testing.T) {
	w := newWorld(t)
	openEcho(t, w.agent)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	f, err := w.agent.DialFlow(ctx, localapi.Dial{Name: "az-target", Port: echoPort})
	must(t, err)
	if s := w.agent.Stats(); s.FlowsOpen != 2 || s.FlowsByVNET[netA] != 1 || s.FlowsByVNET[netB] != 1 || s.Tunnel.FlowsOpen < 2 {
		t.Errorf("stats %+v", s)
	}
	must(t, f.Close())
	if s := w.agent.Stats(); s.FlowsOpen != 1 {
		t.Errorf("stats after a close %+v", s)
	}
	if _, err := socksDial(t, w.agent.ready.Proxy, "", "10.1.2.3:81"); err == nil {
		t.Error("a closed port answers")
	}
	if s := w.agent.Stats(); s.Proxy.Accepted != 1 || s.Proxy.Refused != 1 {
		t.Errorf("proxy stats %+v", s.Proxy)
	}
}
