package host_test

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

// set changes a setting of a session; an empty value forgets the user's choice.
func (r *running) set(account, profile, name, value string) error {
	r.tb.Helper()
	var err error
	r.with(account, profile, func(a server.Agent) {
		if value == "" {
			_, err = a.ResetSettings(r.tb.Context(), []string{name})
			return
		}
		_, err = a.SetSetting(r.tb.Context(), name, value)
	})
	return err
}

// shown are the addresses at which two profiles of a user find the proxy.
func (r *running) shown(account string, profiles ...string) map[string]string {
	r.tb.Helper()
	out := map[string]string{}
	for _, p := range profiles {
		out[p] = r.statusOf(account, p).ProxyAddress
	}
	return out
}

// TestSession_OwnPort: a session leaves the shared port for one of its own, which is its user's alone, and comes back.
func TestSession_OwnPort(t *testing.T) {
	acme, globex := newOrg(t, "acme"), newOrg(t, "globex")
	o := &owners{}
	o.set(1000, nil)
	cfg := testConfig(t)
	cfg.TCPPeer = o.peer
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	_, err := h.AddProfile(t.Context(), "1000", "globex")
	must(t, err)
	h.join("1000", "globex", globex.enrolment("alice@globex"))
	shows := func(when, first, second string) {
		t.Helper()
		want := map[string]string{"default": first, "globex": second}
		if diff := cmp.Diff(want, h.shown("1000", "default", "globex")); diff != "" {
			t.Errorf("%s, the status shows:\n%s", when, diff)
		}
	}
	leads := func(uid uint32, via, want string) {
		t.Helper()
		o.set(uid, nil)
		if got, err := ask(t, via); got != want || (err == nil) != (want != "") {
			t.Errorf("uid %d at %s: %q, %v; want %q", uid, via, got, err, want)
		}
	}
	shared, own, other := h.ready.Proxy, freePort(t), freePort(t)
	portOf := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		must(t, err)
		return port
	}
	shows("at first", shared, "")

	must(t, h.set("1000", "default", localapi.SettingProxyPort, portOf(own)))
	shows("with a port of its own", own, "")
	leads(1000, own, "acme alice@acme")
	leads(1001, own, "")
	leads(1000, shared, "")
	o.set(1000, localsock.ErrUnknownPeer)
	if got, err := ask(t, own); err == nil {
		t.Errorf("somebody whom the kernel does not name got %q", got)
	}

	must(t, h.set("1000", "globex", localapi.SettingProxyPort, portOf(other)))
	shows("with a port for each profile", own, other)
	leads(1000, other, "globex alice@globex")
	if err := h.set("1000", "globex", localapi.SettingProxyPort, portOf(own)); err == nil {
		t.Error("two profiles have one port")
	}
	must(t, h.set("1000", "globex", localapi.SettingProxyPort, ""))
	shows("one of them has come back", own, "")
	_, err = h.UseProfile(t.Context(), "1000", "globex")
	must(t, err)
	shows("after a change of profile", own, shared)
	leads(1000, shared, "globex alice@globex")
	leads(1000, own, "acme alice@acme")

	h = h.restart()
	shared = h.ready.Proxy
	for _, profile := range []string{"default", "globex"} {
		testwait.Until(t, profile+" is connected again", func() bool { return h.statusOf("1000", profile).State == localapi.Connected })
	}
	shows("after a restart", own, shared)
	leads(1000, own, "acme alice@acme")
	must(t, h.set("1000", "default", localapi.SettingProxyPort, ""))
	_, err = h.UseProfile(t.Context(), "1000", "default")
	must(t, err)
	shows("back at the shared port", shared, "")
	leads(1000, shared, "acme alice@acme")
	leads(1000, own, "")

	must(t, h.set("1000", "default", localapi.SettingMode, localapi.ModeTunnelOnly))
	shows("without a proxy", "", "")
	leads(1000, shared, "")
	must(t, h.set("1000", "default", localapi.SettingMode, localapi.ModeProxy))
	shows("with the proxy again", shared, "")
	leads(1000, shared, "acme alice@acme")
}

// TestSession_LowPort_regression: a service of root's must not take a port for a user which that user could not take.
func TestSession_LowPort_regression(t *testing.T) {
	h := start(t, testConfig(t))
	err := h.set("54321", "", localapi.SettingProxyPort, "80")
	if code := codeOf(err); code != localapi.CodePermission {
		t.Errorf("%q, %v", code, err)
	}
	h.with("54321", "", func(a server.Agent) {
		for _, s := range a.Settings().Settings {
			if s.Name == localapi.SettingProxyPort && s.Value == "80" {
				t.Error("what was refused is kept")
			}
		}
	})
}
