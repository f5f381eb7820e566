package control_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"weft/control"
)

// idle is a control plane that is not run.
func idle(tb testing.TB) *control.Control {
	tb.Helper()
	c, err := control.New(control.Config{Dir: tb.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func TestRouter(t *testing.T) {
	c := idle(t)
	for _, tc := range []struct {
		name, method, path string
		found              bool
		param, value       string
		allow              string
	}{
		{"a parameter", "GET", "/client/v4/accounts/a/infrastructure/targets/t", true, "id", "t", ""},
		{"an encoded slash is no separator", "DELETE", "/client/v4/accounts/a/teamnet/routes/network/10.0.0.0%2F24", true, "network", "10.0.0.0/24", ""},
		{"a plain slash is one", "DELETE", "/client/v4/accounts/a/teamnet/routes/network/10.0.0.0/24", false, "", "", ""},
		{"encoded points are no way up", "GET", "/client/v4/accounts/a/infrastructure/targets/%2e%2e", true, "id", "..", ""},
		{"an empty segment", "GET", "/client/v4/accounts//infrastructure/targets", false, "", "", ""},
		{"two slashes", "GET", "//client/v4/user/tokens/verify", false, "", "", ""},
		{"a literal before a parameter", "POST", "/client/v4/accounts/a/devices/revoke", true, "account", "a", ""},
		{"another method", "POST", "/client/v4/accounts/a/infrastructure/targets/t", false, "", "", "DELETE GET PUT"},
		{"nothing", "GET", "/", false, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := url.Parse("https://control" + tc.path)
			if err != nil {
				t.Fatal(err)
			}
			found, params, allow := c.FindForTest(tc.method, u)
			if found != tc.found || params[tc.param] != tc.value || strings.Join(allow, " ") != tc.allow {
				t.Errorf("found %v, parameters %v, allow %v", found, params, allow)
			}
		})
	}
}

func FuzzRouter(f *testing.F) {
	c := idle(f)
	f.Add("GET", "/client/v4/accounts/a/infrastructure/targets")
	f.Add("DELETE", "/client/v4/accounts/a/teamnet/routes/network/10.0.0.0%2F24")
	f.Add("GET", "/%zz//../\x00")
	f.Fuzz(func(t *testing.T, method, path string) {
		u := &url.URL{Scheme: "https", Host: "control", Path: path}
		if parsed, err := url.Parse(path); err == nil {
			u = parsed
		}
		found, params, allow := c.FindForTest(method, u)
		if found && len(allow) > 0 {
			t.Errorf("%s %q is found, and refused for %v", method, path, allow)
		}
		for name, v := range params {
			if v == "" {
				t.Errorf("%s %q has an empty parameter %s", method, path, name)
			}
		}
	})
}

func TestRates(t *testing.T) {
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	r := control.NewRatesForTest(3, 5)
	one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
	sibling := netip.MustParseAddr("2001:db8::2") // of the same /64
	for i, step := range []struct {
		a    netip.Addr
		good bool
	}{{one, true}, {sibling, true}, {one, true}, {one, false}, {sibling, false}, {two, true}, {two, true}, {two, false}} {
		if got := r.Allow(step.a, now); got != step.good {
			t.Errorf("attempt %d of %s: %v", i, step.a, got)
		}
	}
	if !r.Allow(one, now.Add(time.Minute)) {
		t.Error("not even a minute later")
	}
}

func TestRates_TableIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	r := control.NewRatesForTest(1, 1_000_000)
	a := netip.MustParseAddr("10.0.0.0")
	for range control.MaxAddrsForTest + 100 {
		a = a.Next()
		r.Allow(a, now)
	}
	if n := r.Addrs(); n != control.MaxAddrsForTest {
		t.Errorf("the table holds %d", n)
	}
	r.Allow(a.Next(), now.Add(time.Hour))
	if n := r.Addrs(); n > 1 {
		t.Errorf("after an hour the table holds %d", n)
	}
}
