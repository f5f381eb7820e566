package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/testwait"
)

// The administrator's file is the machine's: read anew for one session, it left the others of the service as they were,
// so that their users could disconnect, or remove the profile, until the next restart.
func TestHost_ManagedForAll_regression(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	file := filepath.Join(t.TempDir(), "mdm.json")
	cfg.Agent.ManagedFiles = []string{file}
	h := start(t, cfg)
	ctx := t.Context()
	h.join("1000", "", acme.enrolment("anna@acme"))
	h.join("1001", "", acme.enrolment("bert@acme"))
	h.with("1001", "", func(a server.Agent) {
		_, err := a.Pause(ctx, 0)
		must(t, err)
	})
	must(t, errors.Join(os.WriteFile(file, []byte(`{"switch_locked": true}`), 0o600), os.Chmod(file, 0o600)))
	h.with("0", "", func(a server.Agent) {
		_, err := a.RefreshManaged(ctx)
		must(t, err)
	})
	for _, account := range []string{"1000", "1001"} {
		h.with(account, "", func(a server.Agent) {
			if _, err := a.Pause(ctx, 0); code(err) != localapi.CodePermission {
				t.Errorf("user %s disconnects: %v", account, err)
			}
		})
		if _, err := h.RemoveProfile(ctx, account, "default", true); code(err) != localapi.CodePermission {
			t.Errorf("user %s removes the profile: %v", account, err)
		}
	}
	testwait.Until(t, "the paused session is up", func() bool { return h.statusOf("1001", "").State == localapi.Connected })

	// A session that was down before a restart is up after it.
	must(t, os.Remove(file))
	h.with("0", "", func(a server.Agent) {
		_, err := a.RefreshManaged(ctx)
		must(t, err)
	})
	h.with("1001", "", func(a server.Agent) {
		_, err := a.Pause(ctx, 0)
		must(t, err)
	})
	h.stop()
	must(t, errors.Join(os.WriteFile(file, []byte(`{"switch_locked": true}`), 0o600), os.Chmod(file, 0o600)))
	h = start(t, h.cfg)
	if n := h.Stats().Sessions; n != 2 {
		t.Errorf("%d sessions run after a restart; want 2", n)
	}
}

// One user with a few profiles took every session of the machine.
func TestHost_OneUserLeavesRoom_regression(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxSessions = 4
	h := start(t, cfg)
	ctx := t.Context()
	var releases []func()
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	for i, profile := range []string{"default", "b", "c", "d"} {
		if i > 0 {
			_, err := h.AddProfile(ctx, "1000", profile)
			must(t, err)
		}
		_, release, err := h.Session(ctx, "1000", profile)
		if full := i >= 2; full != (code(err) == "limit") {
			t.Errorf("session %d of one user: %v", i+1, err)
		}
		if err == nil {
			releases = append(releases, release)
		}
	}
	_, release, err := h.Session(ctx, "1001", "")
	must(t, err)
	releases = append(releases, release)
	// One that is idle makes place for another of the same user.
	releases[0]()
	releases = releases[1:]
	_, release, err = h.Session(ctx, "1000", "d")
	must(t, err)
	releases = append(releases, release)
}
