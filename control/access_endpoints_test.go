package control_test

import (
	"net/http"
	"strings"
	"testing"

	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
)

// accessBodies are bodies that the writes take, by the end of their paths.
var accessBodies = map[string]string{
	"/access/groups":             `{"name":"x","include":[{"everyone":{}}]}`,
	"/access/policies":           `{"name":"x","decision":"allow","include":[{"everyone":{}}]}`,
	"/access/service_tokens":     `{"name":"x"}`,
	"/access/identity_providers": `{"name":"x","type":"github","config":{}}`,
	"/access/organizations":      `{"name":"x"}`,
	"/access/users":              `{"email":"a@b.c","name":"x"}`,
}

// Every endpoint of the Access half and of the logs: nothing of another account, nothing by a token that only reads, and what is
// not there is not there.
func TestAccessEndpoints_RefuseAlike(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	reader := newToken(t, s, store.TokenFields{Permissions: []string{"Access: Apps and Policies Read", "Access: Service Tokens Read", "Access: Organizations, Identity Providers, and Groups Read", "Zero Trust Read", "Account Settings Read", "Access: SSH Auditing Read"}})
	seen := 0
	for _, pattern := range control.ManagementPatterns(s.Control) {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.Contains(path, "/access/") && !strings.HasSuffix(path, "/audit_logs") && !strings.HasSuffix(path, "/logs/audit") || strings.Contains(path, "/access/gateway_ca") {
			continue
		}
		seen++
		body := ""
		for end, b := range accessBodies {
			if strings.HasSuffix(strings.TrimSuffix(path, "/{id}"), end) && method != http.MethodGet && method != http.MethodDelete {
				body = b
			}
		}
		own := strings.NewReplacer("{account}", s.AccountID, "{id}", "gone", "{policy}", "gone", "{nonce}", "gone").Replace(path)
		other := strings.Replace(own, s.AccountID, strings.Repeat("0", 32), 1)
		if r := c.admin(t, method, other, body); r.status != http.StatusNotFound {
			t.Errorf("%s of another account: %d %s", pattern, r.status, r.raw)
		}
		if r := c.do(t, method, own, reader, body); (r.status == http.StatusForbidden) != (method != http.MethodGet) {
			t.Errorf("%s by a token that only reads: %d %s", pattern, r.status, r.raw)
		}
		if strings.Contains(path, "{id}") {
			if strings.HasSuffix(path, "/access/apps/{id}") && method == http.MethodPut {
				body = appBody("x", "[]")
			}
			if strings.Contains(path, "/access/apps/{id}/policies") {
				body = accessBodies["/access/policies"]
			}
			if r := c.admin(t, method, own, body); r.status != http.StatusNotFound || len(r.env.Errors) != 1 {
				t.Errorf("%s of what is not there: %d %s", pattern, r.status, r.raw)
			}
		}
	}
	if seen < 45 {
		t.Errorf("only %d endpoints were looked at", seen)
	}
}
