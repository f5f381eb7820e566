package agent_test

import (
	"context"
	"testing"
	"time"

	"weft/agent/localapi"
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
	eventually(t, 30*time.Second, "a stale list", func() bool { return list(w.agent).Stale })

	w.gateway.stop()
	eventually(t, 60*time.Second, "the tunnel is down", func() bool { return w.agent.Status().State != localapi.Connected })
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
