package diag_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weft/agent/diag"
	"weft/agent/localapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is an environment that touches nothing outside.
func quiet() diag.Env {
	return diag.Env{
		Getenv:     func(string) string { return "" },
		LookupHost: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no network in this test") },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no network in this test")
		},
		Interfaces: func() ([]diag.Interface, error) { return nil, errors.New("not told") },
		Resolvers:  func() ([]netip.Addr, error) { return nil, errors.New("not told") },
		Files:      func() (uint64, uint64, error) { return 10, 1000, nil },
		FreeDisk:   func(string) (uint64, error) { return 1 << 40, nil },
		FreeMemory: func() (uint64, error) { return 1 << 40, nil },
	}
}

func subject() diag.Subject {
	return diag.Subject{
		ProxyOff: "it was switched off", Registered: true, ControlURL: "https://control.example.net", ReadKey: func(context.Context) error { return nil },
		WriteState: func() error { return nil }, Status: localapi.Status{State: localapi.Connecting},
	}
}

func byCode(list []localapi.DiagCheck) map[string]localapi.DiagCheck {
	m := map[string]localapi.DiagCheck{}
	for _, c := range list {
		m[c.Code] = c
	}
	return m
}

func TestChecks_WellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range diag.Checks() {
		if seen[c.Code] || c.Code == "" || c.Title == "" || c.Remedy == "" {
			t.Errorf("%+v is there twice or incomplete", c)
		}
		for _, n := range c.Needs {
			if !seen[n] {
				t.Errorf("%s needs %s, which does not come before it", c.Code, n)
			}
		}
		seen[c.Code] = true
		switch c.Severity {
		case localapi.SeverityError, localapi.SeverityWarning, localapi.SeverityInfo:
		default:
			t.Errorf("%s has the severity %q", c.Code, c.Severity)
		}
	}
	if len(seen) < 30 {
		t.Errorf("%d checks", len(seen))
	}
}

func TestRun_AChainIsToldByItsFirstLink(t *testing.T) {
	s := subject()
	s.Registered = false
	got := byCode(diag.Run(t.Context(), quiet(), s, nil))
	if got["not_registered"].State != localapi.CheckFailed || got["not_registered"].Remedy == "" {
		t.Errorf("%+v", got["not_registered"])
	}
	for _, code := range []string{"key_store", "control_dns", "control_answer", "no_gateway", "udp_blocked", "mtu_black_hole"} {
		if c := got[code]; c.State != localapi.CheckSkipped || c.Remedy != "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestRun_SelectsWhatIsNeeded(t *testing.T) {
	var codes []string
	for _, c := range diag.Run(t.Context(), quiet(), subject(), []string{"control_dns"}) {
		codes = append(codes, c.Code)
	}
	if got := strings.Join(codes, " "); got != "not_registered env_proxy control_dns" {
		t.Errorf("ran %s", got)
	}
	if list := diag.Run(t.Context(), quiet(), subject(), []string{"no such check"}); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestRun_NeverHangs: a system that never answers costs no more than the deadline, whatever it ignores.
func TestRun_NeverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		env, s := quiet(), subject()
		env.LookupHost = func(context.Context, string) ([]netip.Addr, error) { <-release; return nil, nil }
		env.Interfaces = func() ([]diag.Interface, error) { <-release; return nil, nil }
		env.Files = func() (uint64, uint64, error) { <-release; return 0, 0, nil }
		s.ReadKey = func(context.Context) error { <-release; return nil }
		s.WriteState = func() error { <-release; return nil }
		begin := time.Now()
		codes := []string{"file_descriptors", "state_dir_not_writable", "key_store", "no_network", "env_proxy", "memory_low"}
		got := byCode(diag.Run(t.Context(), env, s, codes))
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		for _, code := range codes[:5] {
			if got[code].State != localapi.CheckUnknown {
				t.Errorf("%+v", got[code])
			}
		}
		if got["memory_low"].State != localapi.CheckOK {
			t.Errorf("%+v", got["memory_low"])
		}
		close(release) // what was left to itself ends
		synctest.Wait()
	})
}

func TestJudge(t *testing.T) {
	c := func(code, state, severity string) localapi.DiagCheck {
		return localapi.DiagCheck{Code: code, State: state, Severity: severity}
	}
	for _, tt := range []struct {
		name, want string
		checks     []localapi.DiagCheck
	}{
		{"nothing", "", nil},
		{"all is well", "", []localapi.DiagCheck{c("a", "ok", "error"), c("b", "skipped", "error"), c("c", "unknown", "error")}},
		{"an error before a warning that comes first", "b", []localapi.DiagCheck{c("a", "failed", "warning"), c("b", "failed", "error"), c("c", "failed", "error")}},
		{"a warning before an info", "b", []localapi.DiagCheck{c("a", "failed", "info"), c("b", "failed", "warning")}},
		{"an info", "a", []localapi.DiagCheck{c("a", "failed", "info")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := localapi.DiagReport{Checks: tt.checks, Verdict: "old"}
			if r.Judge(); r.Verdict != tt.want {
				t.Errorf("verdict %q, want %q", r.Verdict, tt.want)
			}
		})
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch example.net\n")
	f.Add("nameserver\n\x00nameserver x")
	f.Fuzz(func(t *testing.T, text string) {
		if n := len(diag.ParseResolvConfForTest(text)); n > 16 {
			t.Errorf("%d name servers", n)
		}
	})
}
