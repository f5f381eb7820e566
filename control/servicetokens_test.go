package control_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
)

// enrolWith enrols a device with the headers of a service token; key is what stands in the body.
func (c *rawClient) enrolWith(t *testing.T, key, id, secret string) reply {
	t.Helper()
	var public [32]byte
	_, _ = rand.Read(public[:])
	body, err := json.Marshal(api.EnrolRequest{Key: key, DeviceName: "robot", PublicKey: base64.StdEncoding.EncodeToString(public[:])})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.s.URL+api.PathEnrol, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{"CF-Access-Client-Id": id, "CF-Access-Client-Secret": secret} {
		if v != "" {
			req.Header.Set(name, v)
		}
	}
	return c.send(t, req)
}

func text(m map[string]any, name string) string { return fmt.Sprint(m[name]) }

func TestServiceTokens_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const path = "~/access/service_tokens"
	made := c.good(t, "POST", path, `{"name":"ci","client_secret_version":0}`).result
	if keys(made) != "client_id client_secret client_secret_version created_at duration enabled expires_at id name updated_at" ||
		made["duration"] != "8760h" || made["client_secret_version"] != 1.0 || len(text(made, "client_secret")) != 64 || !strings.HasSuffix(text(made, "client_id"), ".access") {
		t.Errorf("made %v", made)
	}
	at := path + "/" + text(made, "id")
	if read := c.good(t, "GET", at, "").result; read["client_secret"] != nil || read["client_id"] != made["client_id"] || read["expires_at"] != made["expires_at"] {
		t.Errorf("read %v", read)
	}
	if up := c.good(t, "PUT", at, `{"name":"ci-2","duration":"forever","client_secret_version":0}`).result; up["name"] != "ci-2" || up["expires_at"] != nil || up["client_secret"] != nil {
		t.Errorf("updated %v", up)
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	rotated := c.good(t, "PUT", at, `{"name":"ci-2","client_secret_version":2,"previous_client_secret_expires_at":"`+until+`"}`).result
	if rotated["client_secret"] == nil || rotated["client_secret"] == made["client_secret"] || rotated["previous_client_secret_expires_at"] == nil {
		t.Errorf("rotated %v", rotated)
	}
	for name, secret := range map[string]any{"the new secret": rotated["client_secret"], "the former secret": made["client_secret"]} {
		if r := c.enrolWith(t, "", text(made, "client_id"), fmt.Sprint(secret)); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	third := c.good(t, "POST", at+"/rotate", "").result
	if third["client_secret_version"] != 3.0 || third["previous_client_secret_expires_at"] != nil {
		t.Errorf("rotated again %v", third)
	}
	for name, secret := range map[string]any{"the secret before": rotated["client_secret"], "the first one": made["client_secret"], "no secret": "x"} {
		if r := c.enrolWith(t, "", text(made, "client_id"), fmt.Sprint(secret)); r.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	if r := c.good(t, "POST", at+"/refresh", ""); r.result["client_secret"] != nil || r.result["last_seen_at"] == nil {
		t.Errorf("refreshed %s", r.raw)
	}
	c.good(t, "POST", path, `{"name":"other","duration":"1h"}`)
	for query, want := range map[string]int{"": 2, "?name=ci-2": 1, "?name=ci": 0, "?search=CI": 1, "?page=2": 0, "?page=1&per_page=1": 1} {
		if l := c.good(t, "GET", path+query, ""); l.list == nil || len(l.list) != want || strings.Contains(string(l.raw), "client_secret\"") {
			t.Errorf("%q: %s", query, l.raw)
		}
	}
	for _, body := range []string{
		`{}`, `{"name":""}`, `{"name":"` + strings.Repeat("x", 351) + `"}`, `{"name":"x","duration":"1 year"}`, `{"name":"x","duration":"-1h"}`, `{"name":"x","duration":"0s"}`,
		`{"name":"x","duration":"1000000h"}`, `{"name":"x","client_secret_version":7}`, `{"name":"x","durationn":"1h"}`, `[]`,
	} {
		if r := c.admin(t, "POST", path, body); r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, r.status, r.raw)
		}
	}
	for _, body := range []string{`{"client_secret_version":9}`, `{"duration":"1ns"}`, `{"name":" x"}`} {
		if r := c.admin(t, "PUT", at, body); r.status != http.StatusBadRequest {
			t.Errorf("PUT %s: %d %s", body, r.status, r.raw)
		}
	}
	if r := c.admin(t, "POST", at+"/rotate", `{"previous_client_secret_expires_at":"soon"}`); r.status != http.StatusBadRequest {
		t.Errorf("rotate until soon: %d", r.status)
	}
	if gone := c.good(t, "DELETE", at, "").result; gone["name"] != "ci-2" {
		t.Errorf("deleted %v", gone)
	}
	if r := c.admin(t, "GET", at, ""); r.status != http.StatusNotFound {
		t.Errorf("deleted: %d", r.status)
	}
}

// The devices of a service token reach what rules about the token allow, and only while it is in force.
func TestServiceTokens_DecideAccess(t *testing.T) {
	var ahead atomic.Int64
	s := controltest.Start(t, control.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	c := newRawClient(t, s)
	c.good(t, "PUT", "~/access/organizations", `{"auth_domain":"team.example.com"}`)
	token := c.good(t, "POST", "~/access/service_tokens", `{"name":"ci","duration":"2h"}`).result
	id := text(token, "id")
	s.Target("db-1", "10.0.0.9", s.DefaultVNET())
	app := c.good(t, "POST", "~/access/apps", appBody("ssh", fmt.Sprintf(`[{"name":"robots","decision":"allow","include":[{"service_token":{"token_id":"%s"}}],"connection_rules":{"ssh":{"usernames":["deploy"]}}}]`, id))).result
	var enrolled api.EnrolResponse
	r := c.enrolWith(t, "", text(token, "client_id"), text(token, "client_secret"))
	if err := json.Unmarshal(r.env.Result, &enrolled); r.status != http.StatusOK || err != nil || enrolled.Email != "non_identity@team.example.com" {
		t.Fatalf("enrolled %d %s", r.status, r.raw)
	}
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(enrolled.Token)), api.PathAgentSync)
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	has := func(n int) func(*api.AgentState) bool {
		return func(a *api.AgentState) bool { return len(a.Entries) == n }
	}
	agent.until(t, "the target", has(1))
	gateway.until(t, "an identity without an address", func(g *api.GatewayState) bool {
		for _, i := range g.Identities {
			if i.ServiceToken == id && i.Email == "" && !i.Revoked {
				return true
			}
		}
		return false
	})
	at := "~/access/service_tokens/" + id
	policies := fmt.Sprintf("~/access/apps/%s", app["id"])
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"the token is disabled", func() { c.good(t, "PUT", at, `{"enabled":false}`) }, 0},
		{"the token is enabled", func() { c.good(t, "PUT", at, `{"enabled":true}`) }, 1},
		{"the token expires", func() { ahead.Store(int64(3 * time.Hour)) }, 0},
		{"the token is refreshed", func() { c.good(t, "POST", at+"/refresh", "") }, 1},
		{"the rule asks for an address", func() {
			c.good(t, "PUT", policies, appBody("ssh", fmt.Sprintf(`[{"name":"p","decision":"allow","include":[{"email":{"email":"%s"}}],"connection_rules":{"ssh":{"usernames":["deploy"]}}}]`, enrolled.Email)))
		}, 0},
		{"the rule asks for any service token", func() {
			c.good(t, "PUT", policies, appBody("ssh", `[{"name":"p","decision":"allow","include":[{"any_valid_service_token":{}}],"connection_rules":{"ssh":{"usernames":["deploy"]}}}]`))
		}, 1},
	} {
		step.do()
		agent.until(t, step.name, has(step.want))
	}
	c.good(t, "PUT", policies, appBody("ssh", fmt.Sprintf(`[{"name":"robots","decision":"allow","include":[{"service_token":{"token_id":"%s"}}]}]`, id)))
	if r := c.admin(t, "DELETE", at, ""); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "policy robots of application ssh") {
		t.Errorf("deleted while in use: %d %s", r.status, r.raw)
	}
	c.good(t, "PUT", policies, appBody("ssh", `[]`))
	c.good(t, "DELETE", at, "")
	if r := c.do(t, "GET", api.PathAgentSelf, enrolled.Token, ""); r.status != http.StatusUnauthorized {
		t.Errorf("the device of a deleted token: %d", r.status)
	}
	if r := c.enrolWith(t, "", text(token, "client_id"), text(token, "client_secret")); r.status != http.StatusUnauthorized {
		t.Errorf("a deleted token: %d", r.status)
	}
}

// The enrolment string of a service token is one as agents know it.
func TestServiceTokens_EnrolmentString(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	token := c.good(t, "POST", "~/access/service_tokens", `{"name":"ci"}`).result
	pair := fmt.Sprintf(`{"client_id":"%s","client_secret":"%s"}`, token["client_id"], token["client_secret"])
	k := c.good(t, "POST", api.PathEnrolmentKeys, `{"service_token":`+pair+`}`).result
	if k["id"] != token["id"] || k["email"] != "non_identity@127.0.0.1" {
		t.Errorf("string %v", k)
	}
	for range 2 {
		if r, err := s.TryEnrol(text(k, "enrolment"), "robot"); err != nil || r.Email != "non_identity@127.0.0.1" {
			t.Errorf("enrolled %+v, %v", r, err)
		}
	}
	for _, body := range []string{`{"email":"a@b.c","service_token":` + pair + `}`, `{"service_token":{"client_id":"x","client_secret":"y"}}`, `{"max_uses":2,"service_token":` + pair + `}`, `{}`} {
		if r := c.admin(t, "POST", api.PathEnrolmentKeys, body); r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, r.status, r.raw)
		}
	}
}

func TestEnrol_WithHalfAServiceToken(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	for _, r := range []reply{c.enrolWith(t, "", "id", ""), c.enrolWith(t, "", "", "secret"), c.enrolWith(t, "key", "id", "secret")} {
		if r.status != http.StatusBadRequest {
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
}
