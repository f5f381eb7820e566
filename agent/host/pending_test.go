package host_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/testwait"
)

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// state is that of a session as an administrator sees it, who does not use it; empty: it does not run.
func (r *running) state(account string) localapi.State {
	for _, s := range r.Sessions().Sessions {
		if s.UserID == account {
			return s.State
		}
	}
	return ""
}

// pause disconnects a session, for good or for a time.
func (r *running) pause(account string, d time.Duration) {
	r.tb.Helper()
	r.with(account, "", func(a server.Agent) {
		_, err := a.Pause(r.tb.Context(), d)
		must(r.tb, err)
	})
}

// TestSession_PauseEndsByItself: nobody has to talk to a session for its pause to end, nor to a service that was started
// meanwhile.
func TestSession_PauseEndsByItself(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	cfg.IdleAfter = 10 * time.Millisecond
	h := start(t, cfg)
	for _, account := range []string{"1000", "1001"} {
		h.join(account, "", acme.enrolment("user-"+account+"@acme"))
	}
	h.pause("1000", time.Second)
	h.pause("1001", 0)
	testwait.Until(t, "the session without an end of its pause is dropped", func() bool { return h.state("1001") == "" })
	testwait.Until(t, "the pause is over", func() bool { return h.state("1000") == localapi.Connected })
	h.pause("1000", time.Second)
	h = h.restart()
	testwait.Until(t, "the pause is over in another service", func() bool { return h.state("1000") == localapi.Connected })
}

// TestSession_ForwardsStay: a session that keeps forwards is not dropped, and runs with the service.
func TestSession_ForwardsStay(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	cfg.IdleAfter = 10 * time.Millisecond
	h := start(t, cfg)
	h.join("54321", "", acme.enrolment("alice@acme"))
	h.join("54322", "", acme.enrolment("bob@acme"))
	h.with("54321", "", func(a server.Agent) {
		for _, listen := range []string{"unix:" + cfg.Agent.Socket + "-forward", "127.0.0.1:80"} {
			if _, err := a.AddForward(t.Context(), localapi.NewForward{Listen: listen, Target: "web-1", Port: 22}); codeOf(err) != localapi.CodePermission {
				t.Errorf("a forward at %s for another user than the service's: %v", listen, err)
			}
		}
		_, err := a.AddForward(t.Context(), localapi.NewForward{Name: "f", Listen: "127.0.0.1:0", Target: "web-1", Port: 22})
		must(t, err)
	})
	h.pause("54321", 0)
	h.pause("54322", 0)
	testwait.Until(t, "the session without a forward is dropped", func() bool { return h.state("54322") == "" })
	if got := h.state("54321"); got != localapi.Disconnected {
		t.Errorf("the session with a forward: %q", got)
	}
	h = h.restart()
	if got := h.state("54321"); got != localapi.Disconnected {
		t.Errorf("the session with a forward after a restart: %q", got)
	}
	h.with("54321", "", func(a server.Agent) { must(t, a.RemoveForward(t.Context(), "f")) })
	testwait.Until(t, "the last forward went", func() bool { return h.state("54321") == "" })
}

// TestSession_LogIsItsOwn: what a user reads of the log is about that user.
func TestSession_LogIsItsOwn(t *testing.T) {
	acme := newOrg(t, "acme")
	h := start(t, testConfig(t))
	for _, account := range []string{"1000", "1001"} {
		h.join(account, "", acme.enrolment("user-"+account+"@acme"))
	}
	for account, other := range map[string]string{"1000": "1001", "1001": "1000"} {
		h.with(account, "", func(a server.Agent) {
			lines, _, _ := a.Log().After(0)
			own := 0
			for _, l := range lines {
				if strings.Contains(l.String(), other) {
					t.Errorf("user %s reads %s", account, l.String())
				}
				own += strings.Count(l.String(), "user-"+account)
			}
			if own == 0 {
				t.Errorf("user %s reads nothing of their own in %v", account, lines)
			}
		})
	}
}

// TestSession_DiagOfProxy: where the service's proxy leads is no fault of a profile, and to look does not make a session
// of the service's own account.
func TestSession_DiagOfProxy(t *testing.T) {
	h := start(t, testConfig(t))
	_, err := h.AddProfile(t.Context(), "1000", "second")
	must(t, err)
	check := func(profile, want string) {
		t.Helper()
		h.with("1000", profile, func(a server.Agent) {
			r, err := a.Diag(t.Context(), localapi.DiagRequest{Checks: []string{"proxy_not_listening"}})
			must(t, err)
			i := slices.IndexFunc(r.Checks, func(c localapi.DiagCheck) bool { return c.Code == "proxy_not_listening" })
			if i < 0 || r.Checks[i].State != want {
				t.Errorf("profile %q: %+v; want %s", profile, r.Checks, want)
			}
			for _, c := range a.Connectivity(t.Context()).Checks {
				if c.Name == "proxy" && !c.OK {
					t.Errorf("profile %q: %+v", profile, c)
				}
			}
		})
	}
	check("", localapi.CheckOK)
	check("second", localapi.CheckSkipped)
	must(t, h.set("1000", "", localapi.SettingMode, localapi.ModeTunnelOnly))
	check("", localapi.CheckSkipped)
	if got := h.state("0"); got != "" {
		t.Errorf("to look made a session of the service's own account: %q", got)
	}
}
