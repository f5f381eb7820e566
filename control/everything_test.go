package control_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
)

// objects are one of each kind, in the order in which they can be made: the path of the collection and the body.
// "$/path" in a body is the ID of the object of that collection. A new kind of object gets a line here, and with it all
// tests over the table of endpoints.
var objects = []struct{ path, body string }{
	{"/teamnet/virtual_networks", `{"name":"staging","comment":"c"}`},
	{"/cfd_tunnel", `{"name":"lab"}`},
	{"/teamnet/routes", `{"network":"10.9.0.0/16","tunnel_id":"$/cfd_tunnel","comment":"c"}`},
	{"/infrastructure/targets", `{"hostname":"web","ip":{"ipv4":{"ip_addr":"10.9.0.9"}}}`},
	{"/access/groups", `{"name":"engineers","include":[{"email":{"email":"a@b.c"}}]}`},
	{"/access/apps", `{"name":"ssh","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["web"]},"port":22,"protocol":"SSH"}]}`},
	{"/access/apps/{id}/policies", `{"name":"p","decision":"allow","precedence":1,"include":[{"email":{"email":"a@b.c"}}],"connection_rules":{"ssh":{"usernames":["root"],"allow_email_alias":true}}}`},
	{"/access/policies", `{"name":"shared","decision":"allow","include":[{"email":{"email":"a@b.c"}}],"connection_rules":{"ssh":{"usernames":["root"],"allow_email_alias":true}}}`},
	{"/access/service_tokens", `{"name":"ci","duration":"60h"}`},
	{"/access/identity_providers", `{"name":"corp","type":"github","config":{"client_id":"x","client_secret":"y"}}`},
	{"/access/users", `{"email":"a0@b.c","name":"A"}`},
	{"/access/gateway_ca", ``},
	{"/gateway/lists", `{"name":"addresses","type":"IP","items":[{"value":"192.0.2.1"}]}`},
	{"/devices/posture", `{"name":"marker","type":"file","schedule":"1m","match":[{"platform":"linux"}],"input":{"operating_system":"linux","path":"/etc/marker","exists":true}}`},
	{"/devices/posture/integration", `{"name":"crowd","type":"crowdstrike_s2s","interval":"10m","config":{"api_url":"https://x","client_id":"id","client_secret":"hunter2","customer_id":"c"}}`},
	{"/devices/policy", `{"name":"contractors","match":"identity.email == \"a@b.c\"","precedence":10}`},
	{"/gateway/rules", `{"name":"block","action":"block","enabled":true,"filters":["l4"],"precedence":10,"traffic":"net.dst.port == 23"}`},
}

// everything is a control plane with one object of each kind.
type everything struct {
	s      *controltest.Server
	c      *rawClient
	ids    map[string]string // by path of the collection below the account, or from the root
	tokens map[string]string // by security scheme
}

func newEverything(t *testing.T) *everything {
	t.Helper()
	s := controltest.New(t)
	w := &everything{s: s, c: newRawClient(t, s), ids: map[string]string{}, tokens: map[string]string{"apiToken": s.Token, "": ""}}
	for _, o := range objects {
		r := w.c.good(t, "POST", w.fill("~"+o.path), w.body(o.body))
		id, _ := r.result["id"].(string)
		if id == "" {
			id, _ = r.result["policy_id"].(string) // of a device profile
		}
		if id == "" {
			t.Fatalf("made %s: %s", o.path, r.raw)
		}
		w.ids[o.path] = id
	}
	w.c.good(t, "POST", w.fill("~/access/apps/{id}/ca"), "")
	dev := s.Enrol("a@b.c", "laptop")
	w.tokens["deviceToken"], w.tokens["gatewayToken"] = dev.Token, s.Gateway("gw").Token
	w.tokens["connectorToken"] = strings.Trim(string(w.c.good(t, "GET", w.fill("~/cfd_tunnel/{id}/token"), "").env.Result), `"`)
	w.ids["/devices"], w.ids["/devices/registrations"] = dev.RegistrationID, dev.RegistrationID
	w.ids["/devices/physical-devices"] = dev.DeviceID
	w.ids["/access/users/{id}/active_sessions"] = dev.RegistrationID
	users := w.c.good(t, "GET", "~/access/users", "")
	w.ids["/access/users"], _ = users.list[0]["id"].(string)
	w.ids[api.PathSSHHostCAs], _ = w.c.good(t, "POST", api.PathSSHHostCAs, "").result["id"].(string)
	w.ids[api.PathSSHTargetCAs], _ = w.c.good(t, "POST", api.PathSSHTargetCAs, bodies["POST "+api.PathSSHTargetCAs]).result["id"].(string)
	w.ids[api.PathRecordingApplications] = w.ids["/access/apps"]
	w.c.good(t, "PUT", w.fill(api.PathRecordingApplications+"/{id}"), bodies["PUT "+api.PathRecordingApplications+"/{id}"])
	return w
}

// body puts the IDs of the objects into a body.
func (w *everything) body(s string) string {
	for path, id := range w.ids {
		s = strings.ReplaceAll(s, `"$`+path+`"`, `"`+id+`"`)
	}
	return s
}

const accountPath = api.PathManagement + "/accounts/{account}"

// queries are those that an endpoint cannot do without.
var queries = map[string]string{"DELETE ~/devices/registrations": `?id=$`}

// url is the path of an endpoint with the query that it needs.
func (w *everything) url(r control.Row) string {
	query := queries[r.Method+" "+strings.Replace(r.Path, accountPath, "~", 1)]
	return w.fill(r.Path) + strings.Replace(query, "$", w.ids["/devices"], 1)
}

// fill puts IDs into a pattern: those of the objects, or what replace says, by name.
func (w *everything) fill(path string, replace ...string) string {
	path = strings.Replace(path, "~", accountPath, 1)
	segments := strings.Split(path, "/")
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = s
		if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
			continue
		}
		collection := strings.TrimPrefix(strings.Join(segments[:i], "/"), accountPath)
		switch {
		case s == "{account}":
			out[i] = w.s.AccountID
		case s == "{network}":
			out[i] = "10.9.0.0%2F16"
		case s == "{addr}":
			out[i] = "10.9.0.9"
		case w.ids[collection] != "":
			out[i] = w.ids[collection]
		default:
			out[i] = "00000000-0000-0000-0000-000000000000"
		}
		if len(replace) == 2 && s == "{"+replace[0]+"}" {
			out[i] = replace[1]
		}
	}
	return strings.Join(out, "/")
}

// request is one request and what it comes to.
type request struct {
	method, path, token, body string
	header                    map[string]string
}

// send is a request with headers; its answer must have the envelope unless it is 304.
func (w *everything) send(t *testing.T, q request) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), q.method, w.s.URL+q.path, bytes.NewReader([]byte(q.body)))
	if err != nil {
		t.Fatal(err)
	}
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	resp, err := w.c.http.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	r := reply{status: resp.StatusCode, header: resp.Header, raw: raw}
	if r.status == http.StatusNotModified {
		return r
	}
	if err := json.Unmarshal(raw, &r.env); err != nil {
		t.Fatalf("%s %s: the answer is no envelope: %q", q.method, q.path, raw)
	}
	_ = json.Unmarshal(r.env.Result, &r.result) // whichever of the two it is
	_ = json.Unmarshal(r.env.Result, &r.list)
	return r
}

func (w *everything) revision(t *testing.T) uint64 {
	t.Helper()
	rev, err := w.s.Control.RevisionForTest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// rows is the table of endpoints without the streams, whose answers have no end.
func rows(t *testing.T) []control.Row {
	t.Helper()
	all, err := control.TableForTest()
	if err != nil {
		t.Fatal(err)
	}
	var out []control.Row
	for _, r := range all {
		if !r.Stream {
			out = append(out, r)
		}
	}
	return out
}

// goodBody is a body that an endpoint takes: that by which its object was made, or what it answers.
func (w *everything) goodBody(t *testing.T, r control.Row) string {
	t.Helper()
	if body, ok := bodies[r.Method+" "+strings.Replace(r.Path, accountPath, "~", 1)]; ok {
		return w.body(body)
	}
	path := strings.TrimPrefix(r.Path, accountPath)
	collection := path
	if i := strings.LastIndex(path, "/{"); r.Method != "POST" && i > 0 {
		collection = path[:i]
	}
	for _, o := range objects {
		if o.path == collection {
			return w.body(o.body)
		}
	}
	return ""
}

// bodies are those that are not the body of an object.
var bodies = map[string]string{
	"PUT ~/infrastructure/targets/batch":             `[{"hostname":"b","ip":{"ipv4":{"ip_addr":"10.9.1.1"}}}]`,
	"DELETE ~/infrastructure/targets/batch":          `{"target_ids":["$/infrastructure/targets"]}`,
	"POST ~/infrastructure/targets/batch_delete":     `{"target_ids":["$/infrastructure/targets"]}`,
	"PATCH ~/teamnet/virtual_networks/{id}":          `{"name":"staging","comment":"c"}`,
	"POST ~/teamnet/routes/network/{network}":        `{"tunnel_id":"$/cfd_tunnel","comment":"c"}`,
	"PATCH ~/teamnet/routes/network/{network}":       `{"tunnel_id":"$/cfd_tunnel","comment":"c"}`,
	"PATCH ~/gateway/lists/{id}":                     `{"append":[{"value":"192.0.2.2"}],"remove":[]}`,
	"POST ~/devices/revoke":                          `["$/devices"]`,
	"POST ~/devices/unrevoke":                        `["$/devices"]`,
	"POST ~/access/organizations/revoke_user":        `{"email":"a@b.c"}`,
	"POST ~/access/organizations":                    `{"name":"company"}`,
	"PUT ~/access/organizations":                     `{"name":"company"}`,
	"POST ~/access/service_tokens/{id}/rotate":       `{"previous_client_secret_expires_at":"2999-01-01T00:00:00Z"}`,
	"POST " + api.PathSSHUserCAs:                     `{"algorithm":"ed25519"}`,
	"POST " + api.PathSSHProbe:                       `{"login":"root"}`,
	"POST " + api.PathSSHTargetCAs:                   `{"public_key":"` + someSSHKey + `","hostnames":["*"]}`,
	"POST " + api.PathSSHRevoke:                      `{"session_id":"s"}`,
	"POST " + api.PathGatewaySSHRevoke:               `{"session_id":"s"}`,
	"PUT " + api.PathGateways + "/{id}/drain":        `{"draining":false}`,
	"PUT " + api.PathRecordingSettings:               `{"enabled":true,"fail_mode":"stop"}`,
	"PUT " + api.PathRecordingApplications + "/{id}": `{"enabled":true,"fail_mode":"alarm"}`,
	"DELETE " + api.PathSessions + "/{id}":           `{"reason":"r"}`,
	"PUT ~/gateway/audit_ssh_settings":               `{"public_key":""}`,
	"POST " + api.PathEnrolmentKeys:                  `{"email":"x@b.c"}`,
	"POST " + api.PathGateways:                       `{"name":"gw-2"}`,
	"POST " + api.PathExplain:                        `{"email":"a@b.c","target":"web","port":22,"offline":true}`,
	"POST " + api.PathEnrol:                          `{"key":"no","device_name":"d","os":"linux","version":"1","public_key":"` + somePublicKey + `"}`,
	"POST " + api.PathAgentKey:                       `{"public_key":"` + somePublicKey + `"}`,
	"PUT " + api.PathGatewaySelf:                     `{"public_key":"` + somePublicKey + `","endpoints":["127.0.0.1:51820"],"connector_endpoints":["127.0.0.1:7844"],"certificate_sha256":"` + someHash + `","version":"1","epoch":"e"}`,
	"POST " + api.PathGatewayCertificate:             `{"public_key":"ssh-ed25519 AAAA","session_id":"s","device_id":"d","vnet":"v","destination":"10.0.0.1:22","login":"root"}`,
	"POST " + api.PathGatewayHostCertificate:         `{"public_key":"ssh-ed25519 AAAA"}`,
	"POST " + api.PathGatewayAnswers:                 `{"id":"q","version":1,"revision":1,"steps":[]}`,
	"PUT ~/cfd_tunnel/{id}/configurations":           `{"config":{"ingress":[{"service":"http_status:404"}]}}`,
	"PATCH ~/devices/policy":                         `{"description":"d"}`,
	"PUT ~/devices/policy/exclude":                   `[{"address":"192.0.2.0/24"}]`,
	"PUT ~/devices/policy/include":                   `[{"address":"192.0.2.0/24"}]`,
	"PUT ~/devices/policy/fallback_domains":          `[{"suffix":"corp.example","dns_server":["192.0.2.1"]}]`,
	"PUT ~/devices/policy/{id}/exclude":              `[{"address":"192.0.2.0/24"}]`,
	"PUT ~/devices/policy/{id}/include":              `[{"address":"192.0.2.0/24"}]`,
	"PUT ~/devices/policy/{id}/fallback_domains":     `[{"suffix":"corp.example","dns_server":["192.0.2.1"]}]`,
	"PUT ~/devices/settings":                         `{"gateway_proxy_enabled":true}`,
	"PATCH ~/devices/settings":                       `{"gateway_proxy_enabled":true}`,
	"PUT " + api.PathAgentPosture:                    `{"facts":{"os":"linux"},"observations":{}}`,
}

const (
	someSSHKey    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGMMjUOZY3ODzvf8BrbAiTQsgerITkXbyzZBWrd8B8Vg"
	somePublicKey = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
	someHash      = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// Each endpoint with a body has one here, so that the tests over the table have something to spoil.
func TestEverything_HasBodies(t *testing.T) {
	w := newEverything(t)
	for _, r := range rows(t) {
		if r.Body && w.goodBody(t, r) == "" {
			t.Errorf("%s %s: the tests have no body for it", r.Method, r.Path)
		}
	}
}

// What can be read can be read; what can be written anew can be written as it was.
func TestEverything_IsReadAndRewritten(t *testing.T) {
	w := newEverything(t)
	for _, r := range rows(t) {
		if r.Method == http.MethodGet || (r.Method == http.MethodPut || r.Method == http.MethodPatch) && r.HasGet {
			if notByItself[r.Method+" "+r.Path] != "" {
				continue
			}
			a := w.send(t, request{method: r.Method, path: w.fill(r.Path), token: w.tokens[r.Scheme], body: w.goodBody(t, r)})
			if a.status != http.StatusOK {
				t.Errorf("%s %s: status %d: %s", r.Method, r.Path, a.status, a.raw)
			}
		}
	}
}

// notByItself are endpoints that need more than their object, with why; other tests call them.
var notByItself = map[string]string{
	"GET " + api.PathImpact:                                                    "it is asked about a change",
	"GET " + accountPath + "/logs/audit":                                       "it is asked about a time",
	"GET " + accountPath + "/cfd_tunnel/{id}/connectors/{connector}":           "a connector must be in contact",
	"GET " + accountPath + "/access/users/{id}/active_sessions/{nonce}":        "the user has no device",
	"GET " + accountPath + "/access/users/{id}/last_seen_identity":             "the user has no device",
	"PUT " + accountPath + "/access/apps/{id}/policies/{policy}/make_reusable": "it can be done once",
}

// What was made can be deleted, the last first; then it is gone.
func TestEverything_IsDeleted(t *testing.T) {
	w := newEverything(t)
	extra := w.s.Target("extra", "10.9.3.3", w.s.DefaultVNET())
	w.c.good(t, "DELETE", "~/infrastructure/targets/batch", `{"target_ids":["`+extra+`"]}`)
	w.c.good(t, "DELETE", w.fill("~/devices/policy/{id}/fallback_domains"), "")
	w.c.good(t, "DELETE", "~/devices/policy/fallback_domains", "")
	for i := len(objects) - 1; i >= 0; i-- {
		path := objects[i].path + "/{id}"
		if strings.Contains(objects[i].path, "{id}") {
			path = objects[i].path + "/{policy}"
		}
		if a := w.send(t, request{method: "DELETE", path: w.fill("~" + path), token: w.s.Token}); a.status != http.StatusOK {
			t.Errorf("DELETE %s: status %d: %s", path, a.status, a.raw)
		}
		refused(t, "again "+path, w.send(t, request{method: "DELETE", path: w.fill("~" + path), token: w.s.Token}), http.StatusNotFound)
	}
	if a := w.send(t, request{method: "DELETE", path: api.PathAgentSelf, token: w.tokens["deviceToken"]}); a.status != http.StatusOK {
		t.Errorf("DELETE %s: %s", api.PathAgentSelf, a.raw)
	}
	refused(t, "a deleted device", w.send(t, request{method: "GET", path: api.PathAgentSelf, token: w.tokens["deviceToken"]}), http.StatusUnauthorized)
}
