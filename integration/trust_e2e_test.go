//go:build e2e && linux

package integration_test

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weft/integration/lab"
)

// sshTarget makes a target at an address of host B whose port 22 is the relay r, which the caller may turn elsewhere.
func sshTarget(t *testing.T, w *world, name, addr string) *relay {
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
		Name: name, Hostnames: []string{name}, Port: 22, Protocol: "SSH", Emails: []string{userEmail}, Usernames: []string{unixUser},
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
	return r
}

// TestHostKeyChanged: the first key of a target is pinned, another one is refused with an alarm.
func TestHostKeyChanged(t *testing.T) {
	w := theWorld(t)
	r := sshTarget(t, w, "changeling", hostIPs[3])
	config := w.agent.sshConfig(t)
	if out := w.inClient(t, nil, "ssh", "-F", config, "changeling", "hostname"); out != "host-b\n" {
		t.Fatalf("got %q", out)
	}
	r.turn(w.net.hostA, hostIPs[0]+":22")
	_, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, "changeling", "hostname")
	if err == nil {
		t.Fatal("a machine with another host key was accepted")
	}
	if !strings.Contains(err.Error(), "host key") || !strings.Contains(err.Error(), "changed") {
		t.Errorf("the user does not read why: %v", err)
	}
	eventually(t, 30*time.Second, "the alarm stands in the audit log", func() bool {
		return w.auditHas(t, "changeling", "host_key_changed", userEmail)
	})
}

// TestAudit: what a granted session leaves behind: who, from which device, where, as whom, by which rule, how much, from when to when.
func TestAudit(t *testing.T) {
	w := theWorld(t)
	sshTarget(t, w, "audited", hostIPs[1])
	w.inClient(t, []byte("0123456789"), "ssh", "-F", w.agent.sshConfig(t), "audited", "cat; echo a command for the record")
	device := w.agent.registration(t).DeviceID
	var last map[string]any
	eventually(t, 30*time.Second, "the end of the session stands in the audit log", func() bool {
		last = w.auditLast(t, "audited")
		return last["event"] == "flow_close"
	})
	for key, want := range map[string]any{
		"email": userEmail, "device_id": device, "hostname": "audited", "vnet_name": "b", "protocol": "SSH", "login": unixUser,
		"destination": hostIPs[1] + ":22", "target_id": nil, "session_id": nil, "policy_id": nil, "policy_name": nil, "bytes_up": nil,
		"bytes_down": nil, "duration_ms": nil, "time": nil,
	} {
		got, ok := last[key]
		if !ok || (want != nil && got != want) {
			t.Errorf("%s is %v, want %v: %v", key, got, want, last)
		}
	}
	if up, ok := last["bytes_up"].(float64); !ok || up < 10 {
		t.Errorf("bytes_up is %v", last["bytes_up"])
	}
	if !w.auditHas(t, "audited", "ssh_login", `"login":"`+unixUser+`"`) || !w.auditHas(t, "audited", "a command for the record") {
		t.Error("the login or the command is not on record")
	}
}

// auditLast is the last audit event about a target.
func (w *world) auditLast(t *testing.T, hostname string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(w.path("audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var last map[string]any
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e map[string]any
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("a line of the audit log is not JSON: %v: %s", err, lines.Text())
		}
		if e["hostname"] == hostname {
			last = e
		}
	}
	return last
}

// TestForwardingRefused: an SSH session is no way around the policy of other ports.
func TestForwardingRefused(t *testing.T) {
	w := theWorld(t)
	config := w.agent.sshConfig(t)
	w.agent.selectVNET(t, "a")
	accepted := w.hosts["a"].accepted.Load()
	if out, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, "-W", hostIPs[0]+":7100", "host-a"); err == nil {
		t.Errorf("ssh -W was served: %q", out)
	}
	if out, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, "-o", "ExitOnForwardFailure=yes", "-R", "7200:127.0.0.1:22", "host-a", "true"); err == nil {
		t.Errorf("ssh -R was served: %q", out)
	}
	// An agent that is offered must not arrive.
	if out := w.inClient(t, nil, "ssh", "-F", config, "-A", "host-a", "echo [$SSH_AUTH_SOCK]"); out != "[]\n" {
		t.Errorf("ssh -A was served: %q", out)
	}
	if now := w.hosts["a"].accepted.Load(); now != accepted {
		t.Errorf("%d connections reached services of host A", now-accepted)
	}
}
