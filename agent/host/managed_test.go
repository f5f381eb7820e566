package host_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/testwait"
)

// write puts the administrator's file in place, whole: a file that is being written must not be read.
func write(t *testing.T, file, text string) {
	t.Helper()
	must(t, errors.Join(os.WriteFile(file+".new", []byte(text), 0o600), os.Rename(file+".new", file)))
}

// locked reports whether a session may not disconnect.
func (r *running) locked(account string) (locked bool) {
	r.tb.Helper()
	r.with(account, "", func(a server.Agent) {
		_, err := a.Pause(r.tb.Context(), 0)
		locked = codeOf(err) == localapi.CodePermission
	})
	return locked
}

// TestManaged_ReachesAll: what the administrator sets is in force in every session, whoever says so or nobody.
func TestManaged_ReachesAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mdm.json")
	cfg := testConfig(t)
	cfg.Agent.ManagedFiles, cfg.ManagedLook = []string{file}, time.Hour
	h := start(t, cfg)
	all := func(when string, want bool, accounts ...string) {
		t.Helper()
		for _, account := range accounts {
			if h.locked(account) != want {
				t.Errorf("%s: user %s locked: %v", when, account, !want)
			}
		}
	}
	refresh := func() error {
		var err error
		h.with("1000", "", func(a server.Agent) { _, err = a.RefreshManaged(t.Context()) })
		return err
	}
	all("without a file", false, "1000", "1001")
	write(t, file, `{"switch_locked": true}`)
	must(t, refresh())
	all("after one session's refresh", true, "1000", "1001", "1002")

	write(t, file, `{"switch_locked": "perhaps"}`)
	if err := refresh(); err == nil {
		t.Error("a damaged file was taken")
	}
	all("with a damaged file", true, "1000", "1001")
	if _, _, err := h.Session(t.Context(), "1003", ""); err == nil {
		t.Error("a session was started with a damaged file")
	}

	h.stop()
	write(t, file, `{"switch_locked": true}`)
	h.cfg.ManagedLook = 5 * time.Millisecond
	h = h.restart()
	all("after a restart", true, "1000", "1001")
	must(t, os.Remove(file))
	for _, account := range []string{"1000", "1001"} {
		testwait.Until(t, "the file went, and nobody said so", func() bool { return !h.locked(account) })
	}
	write(t, file, `{"switch_locked": true}`)
	for _, account := range []string{"1000", "1001"} {
		testwait.Until(t, "the file came, and nobody said so", func() bool { return h.locked(account) })
	}
}

// TestManaged_Port: the managed port is the shared proxy's, by which every user reaches their own session.
func TestManaged_Port(t *testing.T) {
	acme := newOrg(t, "acme")
	o := &owners{}
	file := filepath.Join(t.TempDir(), "mdm.json")
	cfg := testConfig(t)
	cfg.Agent.ManagedFiles, cfg.TCPPeer = []string{file}, o.peer
	at := freePort(t)
	_, port, err := net.SplitHostPort(at)
	must(t, err)
	write(t, file, fmt.Sprintf(`{"proxy_port": %s}`, port))
	h := start(t, cfg)
	if h.ready.Proxy != at {
		t.Errorf("the shared proxy is at %s; want %s", h.ready.Proxy, at)
	}
	for _, uid := range []uint32{1000, 1001} {
		account := fmt.Sprint(uid)
		h.join(account, "", acme.enrolment("user-"+account+"@acme"))
		o.set(uid, nil)
		if got, err := ask(t, at); err != nil || got != "acme user-"+account+"@acme" {
			t.Errorf("user %s: %q, %v", account, got, err)
		}
		if got := h.statusOf(account, "").ProxyAddress; got != at {
			t.Errorf("user %s is shown %q", account, got)
		}
	}
	if err := h.set("1000", "", localapi.SettingProxyPort, "12345"); codeOf(err) != localapi.CodePermission {
		t.Errorf("the managed port can be changed: %v", err)
	}
	// Another one is for the next start: meanwhile the proxy stays where it is, for all.
	write(t, file, `{"proxy_port": 1}`)
	h.with("1001", "", func(a server.Agent) { _, err = a.RefreshManaged(t.Context()) })
	must(t, err)
	if got := h.shown("1000", "")[""]; got != at {
		t.Errorf("user 1000 is shown %q", got)
	}
}

// TestManaged_Enrols: a machine that is to be enrolled does so though nobody talks to its agent, for nobody else than the
// service's own account.
func TestManaged_Enrols(t *testing.T) {
	acme := newOrg(t, "acme")
	dir := t.TempDir()
	file, key := filepath.Join(dir, "mdm.json"), filepath.Join(dir, "enrolment")
	cfg := testConfig(t)
	cfg.Owner = nil // this process
	cfg.Agent.ManagedFiles, cfg.ManagedLook, cfg.IdleAfter = []string{file}, 5*time.Millisecond, 10*time.Millisecond
	h := start(t, cfg)
	own := fmt.Sprint(os.Geteuid())
	if got := h.state(own); got != "" {
		t.Errorf("a session runs without need: %q", got)
	}
	must(t, os.WriteFile(key, []byte(acme.enrolment("machine@acme")), 0o600))
	write(t, file, fmt.Sprintf(`{"enrolment_file": %q}`, key))
	testwait.Until(t, "the machine is enrolled and connected", func() bool { return h.state(own) == localapi.Connected })
	if os.Geteuid() == 0 {
		if st := h.statusOf("54321", ""); st.State != localapi.Unregistered {
			t.Errorf("another user: %+v", st)
		}
	}
	h = h.restart()
	testwait.Until(t, "it is connected after a restart", func() bool { return h.state(own) == localapi.Connected })
}
