package control_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"weft/control/controltest"
	"weft/control/store"
)

// A token that may only read got the token of a tunnel, with which it could be a connector and stand between users and
// targets.
func TestPermissions_TunnelTokenIsNoReading_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	made := c.do(t, "POST", "~/cfd_tunnel", newToken(t, s, store.TokenFields{Permissions: []string{"Cloudflare Tunnel Write"}}), `{"name": "t"}`)
	_, id, _ := strings.Cut(string(made.raw), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	if made.status != http.StatusOK || len(id) != 36 {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	for permission, want := range map[string]int{"Cloudflare Tunnel Read": http.StatusForbidden, "Cloudflare Tunnel Write": http.StatusOK} {
		token := newToken(t, s, store.TokenFields{Permissions: []string{permission}})
		if r := c.do(t, "GET", "~/cfd_tunnel/"+id+"/token", token, ""); r.status != want {
			t.Errorf("%s: status %d; want %d", permission, r.status, want)
		}
	}
}

// 1,000 rules of 48 KiB each would be looked at for each flow.
func TestNetworkRules_TextIsBounded_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	token := newToken(t, s, store.TokenFields{Permissions: []string{"Zero Trust Write"}})
	expr := strings.TrimSuffix(strings.Repeat("net.dst.port == 1 or ", 750), " or ")
	body := `{"name": "r", "action": "block", "filters": ["l4"], "traffic": "` + expr + `"}`
	n := 0
	for ; n < 100; n++ {
		r := c.do(t, "POST", "~/gateway/rules", token, body)
		if r.status != http.StatusOK && r.status != http.StatusCreated {
			if !strings.Contains(string(r.raw), "expressions of all network rules") {
				t.Fatalf("%d %s", r.status, r.raw)
			}
			break
		}
	}
	if n == 100 {
		t.Error("1.5 MiB of expressions were taken")
	}
}

// The permission group of the SSH CA is called by its area alone where it is first described, and what writes is called
// Edit in places; both were refused.
func TestPermissions_OtherNames_regression(t *testing.T) {
	for names, want := range map[string]string{
		"Access: SSH Auditing":                           "Access: SSH Auditing Write",
		"Zero Trust Edit,Zero Trust Write":               "Zero Trust Write",
		"Access: SSH Auditing Edit,Access: SSH Auditing": "Access: SSH Auditing Write",
	} {
		s := controltest.New(t)
		c := newRawClient(t, s)
		token := newToken(t, s, store.TokenFields{Permissions: strings.Split(names, ",")})
		if r := c.do(t, http.MethodPost, "~/access/gateway_ca", token, ""); (r.status == http.StatusForbidden) != (want == "Zero Trust Write") {
			t.Errorf("%s: %s", names, r.raw)
		}
		all, err := s.Control.Tokens(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(all, func(t store.Token) bool { return t.Name == "scoped" && strings.Join(t.Permissions, ",") == want }) {
			t.Errorf("%s: the tokens are %+v", names, all)
		}
	}
	s := controltest.New(t)
	for _, bad := range []string{"Zero Trust", "Edit", " Edit", "All Edit", "Access: SSH Auditing Edit Edit", "access: ssh auditing"} {
		if _, err := s.Control.CreateToken(t.Context(), store.TokenFields{Name: "x", Permissions: []string{bad}}); err == nil {
			t.Errorf("a token with %q was made", bad)
		}
	}
}
