package control_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
)

func newToken(t *testing.T, s *controltest.Server, f store.TokenFields) string {
	t.Helper()
	f.Name = "scoped"
	token, err := s.Control.CreateToken(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Every endpoint of the management API, with a token of each permission group. A new endpoint that is in no area fails
// here: only a token that may do everything could use it.
func TestPermissions(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	patterns := control.ManagementPatterns(s.Control)
	tokens := map[string]string{}
	for _, p := range control.Permissions() {
		tokens[p] = newToken(t, s, store.TokenFields{Permissions: []string{p}})
	}
	for _, pattern := range patterns {
		method, path, _ := strings.Cut(pattern, " ")
		area := control.AreaOf(pattern)
		if area == "" {
			t.Errorf("%s is in no area", pattern)
		}
		path = strings.NewReplacer("{account}", s.AccountID, "{id}", "none", "{policy}", "none", "{connector}", "none", "{network}", "10.0.0.0%2F8", "{addr}", "10.0.0.1").Replace(path)
		for permission, token := range tokens {
			want := permission == control.PermissionAll || area == "own" || permission == area+" Write" || permission == area+" Read" && method == http.MethodGet && !strings.HasSuffix(path, "/token")
			r := c.do(t, method, path, token, "[]") // no endpoint takes this body
			if got := r.status != http.StatusForbidden; got != want {
				t.Errorf("%s with %q: status %d", pattern, permission, r.status)
			}
			if !want && (r.env.Errors[0].Code != 10000 || !strings.Contains(r.env.Errors[0].Message, area+" ") || r.env.Errors[0].Hint == "") {
				t.Errorf("%s with %q: %s", pattern, permission, r.raw)
			}
		}
	}
}

func TestTokens_AreLimited(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/infrastructure/targets"
	get := func(token string) int { return c.do(t, "GET", path, token, "").status }
	if got := get(newToken(t, s, store.TokenFields{Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})); got != http.StatusForbidden {
		t.Errorf("from elsewhere: %d", got)
	}
	if got := get(newToken(t, s, store.TokenFields{Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}})); got != http.StatusOK {
		t.Errorf("from where it may: %d", got)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	token := newToken(t, s, store.TokenFields{Expires: until, Permissions: []string{"Zero Trust Read"}})
	if got := get(token); got != http.StatusOK {
		t.Errorf("before it expires: %d", got)
	}
	var status api.TokenStatus
	if err := s.ClientWith(api.Secret(token)).Do(t.Context(), http.MethodGet, api.PathManagement+"/user/tokens/verify", nil, &status); err != nil || status.Until == nil || !status.Until.Equal(until) {
		t.Errorf("status %+v, %v", status, err)
	}
	for _, f := range []store.TokenFields{
		{Name: "x", Expires: time.Now().Add(-time.Second)},
		{Name: "x", Permissions: []string{"Zero Trust"}},
		{Name: "x", Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}},
		{},
	} {
		if _, err := s.Control.CreateToken(t.Context(), f); err == nil {
			t.Errorf("%+v was made", f)
		}
	}
}
