//go:build e2e && linux

package integration_test

import (
	"net"
	"strings"
	"testing"

	"weft/gateway/sshproxy/adversary"
)

// TestAdversary runs the table of attacks on the SSH proxy of the real gateway, with an agent's tunnel before it and a
// connector and a real sshd behind it. The audit log is the record.
func TestAdversary(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	arena := &adversary.Arena{
		Login: unixUser,
		Dial: func(tb testing.TB) net.Conn {
			tb.Helper()
			c, err := w.agent.socks(tb.Context(), "", "host-a.a:22")
			if err != nil {
				tb.Fatal(err)
			}
			return c
		},
		Recorded: func(_ testing.TB, words ...string) bool {
			quoted := []string{"host-a"}
			for _, word := range words {
				quoted = append(quoted, adversary.InRecord(word))
			}
			return w.auditHas(t, quoted...)
		},
	}
	for _, k := range adversary.Attacks() {
		if k.Local() {
			continue
		}
		t.Run(k.Area+"/"+k.Name, func(t *testing.T) {
			k.Run(t, arena)
			arena.Honest(t)
		})
	}
	select {
	case <-w.gateway.Done():
		t.Fatalf("the gateway has ended: %s", w.gateway.Tail(20))
	default:
	}
	if log := w.gateway.Tail(10_000); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Errorf("the gateway's log has a panic")
	}
}
