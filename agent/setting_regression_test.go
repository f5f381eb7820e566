package agent_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/agent"
	"weft/agent/localapi"
	"weft/internal/localsock"
)

// A service that runs as root and serves another user opened any port that the user named as the proxy's.
func TestSettings_NoLowPortForAnother_regression(t *testing.T) {
	cfg := testConfig(t)
	cfg.Hosted, cfg.Owner = true, &localsock.Caller{UID: 54321}
	a := startAgent(t, cfg)
	_, err := a.SetSetting(t.Context(), "proxy_port", "87")
	wantFault(t, err, localapi.CodePermission, "1024")
	if s := a.setting("proxy_port"); s.Origin == "user" {
		t.Errorf("setting %+v", s)
	}
	_, err = a.SetSetting(t.Context(), "proxy_port", freePort(t))
	must(t, err)
}

// switch_locked kept the user from disconnecting, but what was disconnected before stayed so after a restart, a new
// registration was not connected, and the registration could be deleted.
func TestManaged_LockHolds_regression(t *testing.T) {
	w := newWorld(t)
	cfg := w.agent.cfg
	file := filepath.Join(t.TempDir(), "mdm.json")
	_, err := w.agent.Pause(t.Context(), 0)
	must(t, err)
	w.agent.stop()
	cfg.ManagedFiles = []string{file}
	managed(t, file, `{"switch_locked": true}`)
	a := startAgent(t, cfg)
	a.waitState(localapi.Connected)
	wantFault(t, a.Unregister(t.Context()), localapi.CodePermission, "switch_locked")
	if _, err := a.Registration(); err != nil {
		t.Errorf("the registration is gone: %v", err)
	}

	managed(t, file, `{}`)
	_, err = a.RefreshManaged(t.Context())
	must(t, err)
	must(t, a.Unregister(t.Context()))
	managed(t, file, `{"switch_locked": true}`)
	_, err = a.RefreshManaged(t.Context())
	must(t, err)
	_, err = a.Register(t.Context(), w.control.enrolment("key-2", 1))
	must(t, err)
	w.gateway.admit(w.control.devicePublicKey())
	a.waitState(localapi.Connected)
}

// An agent among others was ended as idle in the middle of a pause, which then never ended.
func TestPause_IsNotIdle_regression(t *testing.T) {
	w := newWorld(t)
	_, err := w.agent.Pause(t.Context(), time.Hour)
	must(t, err)
	if w.agent.Idle() {
		t.Error("a paused agent counts as idle")
	}
	if dir := w.agent.cfg.StateDir; !agent.Resumes(dir) {
		t.Error("after a restart of the service nobody would end the pause")
	}
}

// Somebody who occupied the port that the administrator's file names kept all of the file from being in force.
func TestManaged_HoldsWithoutItsPort_regression(t *testing.T) {
	cfg := testConfig(t)
	file := filepath.Join(t.TempDir(), "mdm.json")
	cfg.ManagedFiles = []string{file}
	a := startAgent(t, cfg)
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = ln.Close() }()
	_, busy, err := net.SplitHostPort(ln.Addr().String())
	must(t, err)
	managed(t, file, `{"proxy_port": `+busy+`, "switch_locked": true}`)
	_, err = a.RefreshManaged(t.Context())
	must(t, err)
	_, err = a.Pause(t.Context(), 0)
	wantFault(t, err, localapi.CodePermission, "switch_locked")
	if at := a.Status().ProxyAddress; at != "" {
		t.Errorf("the proxy listens on %s, which is not where the administrator wants it", at)
	}
	must(t, ln.Close())
	_, err = a.RefreshManaged(t.Context())
	must(t, err)
	if at := a.Status().ProxyAddress; at != "127.0.0.1:"+busy {
		t.Errorf("the port is free, and the proxy listens on %q", at)
	}
}

// Settings that could not be read were those of somebody who had never set any, and a proxy that had been turned off
// listened again.
func TestSettings_DamagedLeavesNoProxy_regression(t *testing.T) {
	a := startAgent(t, testConfig(t))
	_, err := a.SetSetting(t.Context(), "operation_mode", localapi.ModeTunnelOnly)
	must(t, err)
	a.stop()
	must(t, os.WriteFile(filepath.Join(a.cfg.StateDir, "preferences.json"), []byte(`{"mode":`), 0o600))
	a = startAgent(t, a.cfg)
	if n, ok := a.notice("settings"); a.ready.Proxy != "" || !ok {
		t.Errorf("proxy %q, notice %+v", a.ready.Proxy, n)
	}
	_, err = a.SetSetting(t.Context(), "operation_mode", localapi.ModeProxy)
	must(t, err)
	if a.Status().ProxyAddress == "" {
		t.Error("the proxy cannot be turned on again")
	}
}
