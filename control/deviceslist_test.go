package control_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/control/controltest"
	"weft/control/store"
)

// names lists what a cursor list of devices holds, page by page.
func names(t *testing.T, c *rawClient, path string, name func(map[string]any) string) string {
	t.Helper()
	var out []string
	for cursor, pages := "", 0; pages < 20; pages++ {
		r := c.good(t, "GET", path+"&per_page=2&cursor="+url.QueryEscape(cursor), "")
		for _, d := range r.list {
			out = append(out, name(d))
		}
		var info struct {
			Info struct{ Cursor string } `json:"result_info"`
		}
		decode(t, r.raw, &info)
		if cursor = info.Info.Cursor; cursor == "" {
			break
		}
	}
	return strings.Join(out, " ")
}

func TestDevices_FiltersOrdersAndCursors(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	byName := map[string]api.EnrolResponse{}
	for _, d := range []struct{ email, name string }{{"carol@a.b", "Alpha"}, {"bob@a.b", "gamma"}, {"alice@a.b", "beta"}, {"bob@a.b", "delta"}, {"carol@a.b", "gone"}} {
		byName[d.name] = s.Enrol(d.email, d.name)
	}
	c.good(t, "POST", "~/devices/physical-devices/"+byName["gone"].DeviceID+"/revoke", "")
	device := func(d map[string]any) string { return d["name"].(string) }
	registered := func(d map[string]any) string { return d["device"].(map[string]any)["name"].(string) }
	bob := c.good(t, "GET", "~/access/users?email=bob@a.b", "").list[0]["id"].(string)
	now := url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))
	for _, tc := range []struct{ query, want string }{
		{"sort_by=name", "Alpha beta delta gamma"},
		{"sort_by=name&sort_order=desc", "gamma delta beta Alpha"},
		{"sort_by=last_seen_user.email&active_registrations=only", "beta * * Alpha"},
		{"sort_by=created_at", "Alpha gamma beta delta"},
		{"sort_by=created_at&sort_order=desc", "delta beta gamma Alpha"},
		{"sort_by=active_registrations&active_registrations=include", "gone * * * *"},
		{"sort_by=client_version", "* * * *"},
		{"active_registrations=exclude", "gone"},
		{"last_seen_user.email=BOB@a.b&sort_by=name", "delta gamma"},
		{"search=ET", "beta"},
		{"search=alice", "beta"},
		{"id=" + byName["Alpha"].DeviceID, "Alpha"},
		{"id=" + byName["Alpha"].RegistrationID + "&id=" + byName["beta"].DeviceID + "&sort_by=name", "Alpha beta"},
		{"seen_after=" + now, ""},
		{"seen_before=" + now + "&sort_by=name", "Alpha beta delta gamma"},
	} {
		if got := names(t, c, "~/devices/physical-devices?"+tc.query, device); !fits(got, tc.want) {
			t.Errorf("physical devices %s: %s, want %s", tc.query, got, tc.want)
		}
	}
	for _, tc := range []struct{ query, want string }{
		{"sort_by=created_at", "Alpha gamma beta delta"},
		{"sort_by=created_at&status=all", "Alpha gamma beta delta gone"},
		{"sort_by=user.email", "beta * * Alpha"},
		{"sort_by=user.name&sort_order=desc", "* * * *"},
		{"sort_by=last_seen_at&status=revoked", "gone"},
		{"user.id=" + bob + "&sort_by=created_at", "gamma delta"},
		{"user.id=" + bob + "&user.id=nobody&sort_by=created_at", "gamma delta"},
		{"device.id=" + byName["beta"].DeviceID, "beta"},
		{"id=" + byName["beta"].RegistrationID, "beta"},
	} {
		if got := names(t, c, "~/devices/registrations?"+tc.query, registered); !fits(got, tc.want) {
			t.Errorf("registrations %s: %s, want %s", tc.query, got, tc.want)
		}
	}
	for _, query := range []string{"sort_by=x", "sort_order=x", "status=x", "cursor=x", "cursor=***", "seen_after=x", "per_page=0"} {
		if r := c.admin(t, "GET", "~/devices/registrations?"+query, ""); r.status != 400 {
			t.Errorf("%s: %s", query, r.raw)
		}
	}
	r := c.good(t, "GET", "~/devices/registrations?include=policy", "")
	if p, _ := r.list[0]["policy"].(map[string]any); p["id"] != "default" || p["default"] != true {
		t.Errorf("%s", r.raw)
	}
	r = c.good(t, "GET", "~/devices/physical-devices?include=last_seen_registration.policy", "")
	if p, _ := r.list[0]["last_seen_registration"].(map[string]any); p["policy"] == nil {
		t.Errorf("%s", r.raw)
	}
	one := text(r.list[0], "id")
	for path, part := range map[string]string{"registrations/" + one + "?include=policy": "policy", "physical-devices/" + one + "?include=last_seen_registration.policy": "last_seen_registration"} {
		if r := c.good(t, "GET", "~/devices/"+path, ""); r.result[part] == nil {
			t.Errorf("%s: %s", path, r.raw)
		}
		path, _, _ = strings.Cut(path, "?")
		if r := c.good(t, "GET", "~/devices/"+path, ""); r.result[part] != nil {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
}

// fits compares names; a star stands for any.
func fits(got, want string) bool {
	a, b := strings.Fields(got), strings.Fields(want)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if b[i] != "*" && a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestDevices_Delete(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	var ids []string
	var tokens []string
	for i := range 4 {
		d := s.Enrol("jdoe@company.com", fmt.Sprintf("laptop-%d", i))
		ids, tokens = append(ids, d.RegistrationID, d.DeviceID), append(tokens, d.Token)
	}
	reader := newToken(t, s, store.TokenFields{Permissions: []string{"Zero Trust Read"}})
	if r := c.do(t, "DELETE", "~/devices/registrations/"+ids[0], reader, ""); r.status != 403 {
		t.Errorf("a token that reads deletes: %d", r.status)
	}
	c.good(t, "DELETE", "~/devices/registrations/"+ids[0], "")
	c.good(t, "DELETE", "~/devices/physical-devices/"+ids[3], "")
	if r := c.admin(t, "DELETE", "~/devices/registrations?id="+ids[4]+"&id=no", ""); r.status != 400 {
		t.Errorf("%s", r.raw)
	}
	c.good(t, "DELETE", "~/devices/registrations?id="+ids[4], "")
	for i, want := range []int{401, 401, 401, 200} {
		if r := c.do(t, "GET", api.PathAgentSelf, tokens[i], ""); r.status != want {
			t.Errorf("device %d: %d, want %d", i, r.status, want)
		}
	}
	for _, path := range []string{"~/devices/registrations/" + ids[0], "~/devices/physical-devices/" + ids[0], "~/devices/registrations/no"} {
		if r := c.admin(t, http.MethodDelete, path, ""); r.status != 404 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	if r := c.admin(t, "DELETE", "~/devices/registrations", ""); r.status != 400 {
		t.Errorf("%d", r.status)
	}
}

func TestAccounts(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	narrow := newToken(t, s, store.TokenFields{Permissions: []string{"Cloudflare Tunnel Read"}})
	if r := c.do(t, "GET", "/client/v4/accounts", narrow, ""); len(r.list) != 1 || r.list[0]["id"] != s.AccountID {
		t.Errorf("%s", r.raw)
	}
	if r := c.good(t, "GET", "/client/v4/accounts?page=2", ""); len(r.list) != 0 || r.list == nil {
		t.Errorf("%s", r.raw)
	}
	if r := c.good(t, "GET", "/client/v4/accounts?name=another", ""); len(r.list) != 0 {
		t.Errorf("%s", r.raw)
	}
	if r := c.good(t, "GET", "~", ""); r.result["name"] != "weft" {
		t.Errorf("%s", r.raw)
	}
	if r := c.do(t, "GET", "/client/v4/user", narrow, ""); r.result["username"] != "scoped" {
		t.Errorf("%s", r.raw)
	}
	if r := c.do(t, "GET", "/client/v4/memberships", narrow, ""); len(r.list) != 1 || fmt.Sprint(r.list[0]["roles"]) != "[Cloudflare Tunnel Read]" {
		t.Errorf("%s", r.raw)
	}
	for query, want := range map[string]int{"name=WEFT": 1, "name=another": 0, "account.name=weft": 1, "account.name=another": 0, "status=accepted": 1, "status=pending": 0} {
		if r := c.good(t, "GET", "/client/v4/memberships?"+query, ""); len(r.list) != want {
			t.Errorf("memberships by %s: %s", query, r.raw)
		}
	}
	for _, path := range []string{"/client/v4/accounts", "/client/v4/user", "/client/v4/memberships", "~"} {
		if r := c.do(t, "GET", path, "", ""); r.status != 400 || r.env.Errors[0].Code != 9106 {
			t.Errorf("%s without a token: %s", path, r.raw)
		}
		if r := c.do(t, "GET", path, strings.Repeat("x", 40), ""); r.status != 401 {
			t.Errorf("%s with another token: %s", path, r.raw)
		}
	}
	if r := c.admin(t, "GET", "/client/v4/accounts/00000000000000000000000000000000", ""); r.status != 404 {
		t.Errorf("another account: %s", r.raw)
	}
}

// The two older forms of a credential: the secret is the token's, and a key without its pair is none.
func TestLegacyHeaders(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	for _, tc := range []struct {
		name    string
		headers map[string]string
		want    int
	}{
		{"a key and an e-mail address", map[string]string{"X-Auth-Key": s.Token, "X-Auth-Email": "admin@company.com"}, 200},
		{"a service key", map[string]string{"X-Auth-User-Service-Key": s.Token}, 200},
		{"a key alone", map[string]string{"X-Auth-Key": s.Token}, 400},
		{"an address alone", map[string]string{"X-Auth-Email": "admin@company.com"}, 400},
		{"another key", map[string]string{"X-Auth-Key": strings.Repeat("x", 40), "X-Auth-Email": "admin@company.com"}, 401},
		{"another service key", map[string]string{"X-Auth-User-Service-Key": strings.Repeat("x", 40)}, 401},
		{"a bearer that is wrong beside a key that is right", map[string]string{"Authorization": "Bearer " + strings.Repeat("x", 40), "X-Auth-User-Service-Key": s.Token}, 401},
		{"another scheme", map[string]string{"Authorization": "Basic " + s.Token}, 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/client/v4/user/tokens/verify", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range tc.headers {
			req.Header.Set(k, v)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, resp.StatusCode, tc.want)
		}
	}
}
