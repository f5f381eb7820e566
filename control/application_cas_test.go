package control_test

import (
	"fmt"
	"net/http"
	"testing"

	"weft/control/controltest"
	"weft/control/store"
)

// The older form of the SSH CA, as cloudflare-go v0 and Terraform's access_short_lived_certificate use it: one of each
// application. What it shows is the key that certifies the logins.
func TestApplicationCAs_AsClientsUseThem(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	var ids, auds []string
	for i := range 2 {
		app := c.good(t, http.MethodPost, "~/access/apps", fmt.Sprintf(`{"name":"app %d","type":"infrastructure",
			"target_criteria":[{"target_attributes":{"hostname":["web"]},"port":22,"protocol":"SSH"}]}`, i)).result
		ids, auds = append(ids, fmt.Sprint(app["id"])), append(auds, fmt.Sprint(app["aud"]))
	}
	path := func(i int) string { return "~/access/apps/" + ids[i] + "/ca" }
	refused(t, "none yet", c.admin(t, http.MethodGet, path(0), ""), http.StatusNotFound)
	refused(t, "deleting none", c.admin(t, http.MethodDelete, path(0), ""), http.StatusNotFound)

	made := c.good(t, http.MethodPost, path(0), "")
	if made.result["aud"] != auds[0] || made.result["id"] == "" || len(made.result) != 3 {
		t.Errorf("made: %s", made.raw)
	}
	signs := c.good(t, http.MethodGet, "~/access/gateway_ca", "").list
	if len(signs) != 1 || signs[0]["public_key"] != made.result["public_key"] {
		t.Fatalf("the account signs by %v, the application says %s", signs, made.raw)
	}
	refused(t, "a second one", c.admin(t, http.MethodPost, path(0), ""), http.StatusBadRequest)
	second := c.good(t, http.MethodPost, path(1), "")
	if second.result["public_key"] != made.result["public_key"] || second.result["id"] == made.result["id"] {
		t.Errorf("of another application: %s", second.raw)
	}
	if got := c.good(t, http.MethodGet, path(0), ""); string(got.env.Result) != string(made.env.Result) {
		t.Errorf("made %s, read %s", made.env.Result, got.env.Result)
	}
	page := c.good(t, http.MethodGet, "~/access/apps/ca?page=2&per_page=1", "")
	if len(page.list) != 1 || page.list[0]["aud"] != auds[1] || page.env.ResultInfo == nil {
		t.Errorf("the second page: %s", page.raw)
	}

	if gone := c.good(t, http.MethodDelete, path(0), ""); gone.result["id"] != made.result["id"] {
		t.Errorf("deleted: %s", gone.raw)
	}
	refused(t, "deleted", c.admin(t, http.MethodGet, path(0), ""), http.StatusNotFound)
	if after := c.good(t, http.MethodGet, "~/access/gateway_ca", "").list; len(after) != 1 || after[0]["id"] != signs[0]["id"] {
		t.Errorf("the account signs by %v", after)
	}
	c.good(t, http.MethodDelete, "~/access/apps/"+ids[1], "")
	if left := c.good(t, http.MethodGet, "~/access/apps/ca", ""); len(left.list) != 0 {
		t.Errorf("of a deleted application there is left: %s", left.raw)
	}
}

// Without the authority of the account there is nothing to show; asking again makes another one.
func TestApplicationCAs_AuthorityGone(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	app := c.good(t, http.MethodPost, "~/access/apps", sentApplication()).result["id"]
	at := fmt.Sprintf("~/access/apps/%s/ca", app)
	before := c.good(t, http.MethodPost, at, "")
	signs := c.good(t, http.MethodGet, "~/access/gateway_ca", "").list[0]["id"]
	c.good(t, http.MethodDelete, fmt.Sprintf("~/access/gateway_ca/%s", signs), "")
	refused(t, "without an authority", c.admin(t, http.MethodGet, at, ""), http.StatusNotFound)
	after := c.good(t, http.MethodPost, at, "")
	if after.result["public_key"] == before.result["public_key"] {
		t.Error("the key is the one that was taken away")
	}
}

// The path lies below the applications', but what it makes signs logins.
func TestApplicationCAs_Permission(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	app := c.good(t, http.MethodPost, "~/access/apps", sentApplication()).result["id"]
	at := fmt.Sprintf("~/access/apps/%s/ca", app)
	apps := newToken(t, s, store.TokenFields{Permissions: []string{"Access: Apps and Policies Write"}})
	reads := newToken(t, s, store.TokenFields{Permissions: []string{"Access: SSH Auditing Read"}})
	refused(t, "apps write", c.do(t, http.MethodPost, at, apps, ""), http.StatusForbidden)
	refused(t, "ssh read", c.do(t, http.MethodPost, at, reads, ""), http.StatusForbidden)
	c.good(t, http.MethodPost, at, "")
	refused(t, "apps write", c.do(t, http.MethodDelete, at, apps, ""), http.StatusForbidden)
	refused(t, "unknown application", c.admin(t, http.MethodPost, "~/access/apps/nope/ca", ""), http.StatusNotFound)
	refused(t, "another account", c.admin(t, http.MethodGet, "/client/v4/accounts/0/access/apps/ca", ""), http.StatusNotFound)
	if r := c.do(t, http.MethodGet, "~/access/apps/ca", reads, ""); r.status != http.StatusOK || len(r.list) != 1 {
		t.Errorf("ssh read: %s", r.raw)
	}
}
