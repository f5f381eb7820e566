package agent_test

import (
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
