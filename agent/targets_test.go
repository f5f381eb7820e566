package agent_test

import (
	"bufio"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/api"
	"weft/internal/testwait"
)

// TestTargets_ByHostnameAndAddress is the rest of the filters of TestTargetsAndResolve.
func TestTargets_ByHostnameAndAddress(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		q    queryT
		want int
		code string
	}{
		{"a pattern", queryT{Hostnames: []string{"AZ-*"}}, 1, ""},
		{"pattern or pattern", queryT{Hostnames: []string{"az-*", "d?-target"}}, 2, ""},
		{"no such hostname", queryT{Hostnames: []string{"az"}}, 0, ""},
		{"an address", queryT{IPs: []string{"10.1.2.3"}}, 2, ""},
		{"a prefix", queryT{IPs: []string{"fd00::/16"}}, 1, ""},
		{"another prefix", queryT{IPs: []string{"10.2.0.0/16"}}, 0, ""},
		{"and across", queryT{IPs: []string{"10.0.0.0/8"}, Hostnames: []string{"do-*"}, VNETs: []string{"b1net"}}, 0, ""},
		{"protocol and port as attributes", queryT{Attributes: []string{"protocol=ssh", "port=22"}}, 2, ""},
		{"another port as attribute", queryT{Attributes: []string{"port=23"}}, 0, ""},
		{"a malformed pattern", queryT{Hostnames: []string{"[a"}}, 0, "invalid"},
		{"a malformed address", queryT{IPs: []string{"10.1.2"}}, 0, "invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := w.agent.Targets(tt.q)
			if tt.code != "" {
				wantFault(t, err, tt.code, "")
				return
			}
			if err != nil || len(l.Targets) != tt.want {
				t.Errorf("%d targets, %v; want %d", len(l.Targets), err, tt.want)
			}
		})
	}
}

// The list outlives the control plane, the tunnel and the agent itself, says that it is old, and how old; it never grows.
func TestTargets_WithoutControlOrTunnel(t *testing.T) {
	w := newWorld(t)
	list := func(a *running) localapi.TargetList {
		t.Helper()
		l, err := a.Targets(noFilter)
		must(t, err)
		if len(l.Targets) != 2 || l.Revision != 1 {
			t.Fatalf("list %+v", l)
		}
		return l
	}
	if l := list(w.agent); l.Stale {
		t.Error("stale while control is heard")
	}
	w.control.stop()
	testwait.Until(t, "a stale list", func() bool { return list(w.agent).Stale })

	w.gateway.stop()
	testwait.Until(t, "the tunnel is down", func() bool { return w.agent.Status().State != localapi.Connected })
	if !list(w.agent).Stale {
		t.Error("not stale without control and tunnel")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := w.agent.DialFlow(ctx, localapi.Dial{Name: "do-target", Port: 22}); err == nil {
		t.Error("a dial without a tunnel succeeds")
	}

	before := list(w.agent).AgeSeconds
	again := w.agent.restart()
	l := list(again)
	if !l.Stale || l.AgeSeconds < before || l.AgeSeconds > before+120 {
		t.Errorf("after a restart offline: stale %v, %.1f s old; it was %.1f s old before", l.Stale, l.AgeSeconds, before)
	}
	sub, err := again.Subscribe()
	must(t, err)
	defer sub.Close()
	for _, ev := range sub.Take() {
		if ev.Targets != nil && (!ev.Targets.Stale || len(ev.Targets.Targets) != 2) {
			t.Errorf("the event says %+v", ev.Targets)
		}
	}
}

// The real command follows the real agent: a change at control is a line of the watcher, also across the agent's restart.
func TestTargets_WatchedByCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("builds warp-cli")
	}
	warp := build(t, filepath.Join(t.TempDir(), "warp-cli"), "../cmd/warp-cli")
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, warp, "--socket", w.agent.cfg.Socket, "target", "list", "--watch", "--port", "22")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}()
	lines := bufio.NewScanner(stdout)
	next := func(want ...string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the watcher ended: %v", lines.Err())
		}
		for _, s := range want {
			if !strings.Contains(lines.Text(), s) {
				t.Errorf("line %s lacks %s", lines.Text(), s)
			}
		}
	}
	next(`{"type":"snapshot","schema_version":1,"revision":1,`, `"stale":false`, `"do-target"`, `"az-target"`)
	state := w.gateway.state()
	e := state.Entries["t-a/22/SSH"]
	e.Usernames = []string{"alice", "carol"}
	state.Entries["t-a/22/SSH"] = e
	e.Port = 23
	state.Entries["t-a/23/SSH"] = e // not watched
	delete(state.Entries, "t-b/22/SSH")
	w.control.set(state)
	next(`{"type":"changed","schema_version":1,"revision":2,`, `"usernames":["alice","carol"]`)
	next(`{"type":"removed","schema_version":1,"revision":2,`, `"az-target"`)
	again := w.agent.restart()
	w.control.set(w.gateway.state())
	next(`{"type":"changed",`, `"usernames":["alice"]`)
	next(`{"type":"added",`, `"az-target"`)
	again.stop()
}

// The real command tries targets through the real tunnel: what it says is what the gateway and the target did.
func TestTargets_ReachableByCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("builds warp-cli")
	}
	warp := build(t, filepath.Join(t.TempDir(), "warp-cli"), "../cmd/warp-cli")
	w := newWorld(t)
	state := w.gateway.state()
	e := state.Entries["t-b/22/SSH"]
	state.Entries = map[string]api.AgentEntry{}
	for _, port := range []uint16{echoPort, closedPort, secretPort, noWayPort} {
		e.Port, e.Protocol, e.IPv6 = port, "TCP", nil
		state.Entries[strconv.Itoa(int(port))] = e
	}
	w.control.set(state)
	testwait.Until(t, "the new list", func() bool {
		l, err := w.agent.Targets(noFilter)
		return err == nil && len(l.Targets) == 4
	})
	run := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), warp, append([]string{"--socket", w.agent.cfg.Socket, "target", "list"}, args...)...)
		out, err := cmd.Output()
		if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	const want = "7 true \n81 false refused\n82 false prohibited\n84 false unreachable\n"
	if out, code := run("--reachable=all", "-o", "template={{.port}} {{.reachability.reachable}} {{.reachability.code}}"); out != want || code != 0 {
		t.Errorf("exit code %d, got %q; want %q", code, out, want)
	}
	if out, code := run("--reachable", "-o", "template={{.port}}"); out != "7\n" || code != 0 {
		t.Errorf("exit code %d, got %q", code, out)
	}
	_, err := w.agent.Disconnect(t.Context())
	must(t, err)
	if out, code := run("--reachable"); out != "" || code != 6 {
		t.Errorf("disconnected: exit code %d, got %q", code, out)
	}
}
