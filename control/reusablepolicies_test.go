package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weft/api"
	"weft/control/controltest"
)

func appBody(name, policies string) string {
	return fmt.Sprintf(`{"name":"%s","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["db-1"]},"port":22,"protocol":"SSH"}],"policies":%s}`, name, policies)
}

// option is a policy that says something more.
func option(more string) string {
	return `{"name":"x","decision":"allow","include":[{"everyone":{}}],` + more + `}`
}

func policyIDs(app map[string]any) string {
	var ids []string
	for _, p := range app["policies"].([]any) {
		ids = append(ids, fmt.Sprint(p.(map[string]any)["id"]))
	}
	return strings.Join(ids, " ")
}

func TestReusablePolicies_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const path = "~/access/policies"
	body := func(name string) string {
		return `{"precedence":0,"decision":"allow","name":"` + name + `","session_duration":"","approval_groups":null,"connection_rules":{"ssh":{"usernames":["root"],"allow_email_alias":null}},` +
			`"include":[{"email":{"email":"JDoe@company.com"}}],"exclude":null,"require":null}`
	}
	one, two := c.good(t, "POST", path, body("one")).result, c.good(t, "POST", path, body("two")).result
	if keys(one) != "app_count connection_rules created_at decision exclude id include name require reusable updated_at" || one["reusable"] != true || one["app_count"] != 0.0 {
		t.Errorf("made %v", one)
	}
	app := c.good(t, "POST", "~/access/apps", appBody("a", fmt.Sprintf(
		`["%s",{"name":"own","decision":"allow","include":[{"everyone":{}}]},{"id":"%s","precedence":9}]`, two["id"], one["id"]))).result
	ps := app["policies"].([]any)
	first, own, last := ps[0].(map[string]any), ps[1].(map[string]any), ps[2].(map[string]any)
	if first["name"] != "two" || first["precedence"] != 1.0 || first["reusable"] != true || own["reusable"] != nil || last["name"] != "one" || last["precedence"] != 9.0 {
		t.Errorf("application %v", app)
	}
	at := fmt.Sprintf("%s/%s", path, one["id"])
	appAt := fmt.Sprintf("~/access/apps/%s", app["id"])
	if got := c.good(t, "GET", at, "").result; got["app_count"] != 1.0 {
		t.Errorf("used by %v", got["app_count"])
	}
	c.good(t, "PUT", at, strings.Replace(body("uno"), "root", "admin", 1))
	if got := c.good(t, "GET", appAt, "").result; !strings.Contains(fmt.Sprint(got["policies"]), "uno") || !strings.Contains(fmt.Sprint(got["policies"]), "admin") {
		t.Errorf("after the change of a reusable policy %v", got)
	}
	// What a client read it may write back, in full or by ID.
	read := c.good(t, "GET", appAt, "")
	var whole string
	_, whole, _ = strings.Cut(string(read.raw), `"result":`)
	whole = whole[:strings.LastIndex(whole, "}")]
	if again := c.good(t, "PUT", appAt, whole).result; policyIDs(again) != policyIDs(read.result) {
		t.Errorf("written back %v, read %v", again, read.result)
	}
	if r := c.admin(t, "PUT", appAt, strings.Replace(whole, "admin", "intruder", 1)); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "/policies/2") {
		t.Errorf("a reusable policy changed in an application: %d %s", r.status, r.raw)
	}
	// Strings alone: their order is the precedence.
	swapped := c.good(t, "PUT", appAt, appBody("a", fmt.Sprintf(`["%s","%s"]`, one["id"], two["id"]))).result
	if policyIDs(swapped) != fmt.Sprintf("%s %s", one["id"], two["id"]) {
		t.Errorf("swapped %v", swapped["policies"])
	}
	inApp := fmt.Sprintf("%s/policies/%s", appAt, one["id"])
	if got := c.good(t, "GET", inApp, "").result; got["precedence"] != 1.0 || got["reusable"] != true {
		t.Errorf("in the application %v", got)
	}
	for _, refused := range []struct{ method, path, body, says string }{
		{"PUT", inApp, body("x"), "reusable"},
		{"DELETE", at, "", "application a ("},
		{"POST", "~/access/apps", appBody("b", fmt.Sprintf(`["%s","%s"]`, one["id"], one["id"])), "stands twice"},
		{"POST", "~/access/apps", appBody("b", fmt.Sprintf(`[{"id":"%s","precedence":2},{"id":"%s","precedence":2}]`, one["id"], two["id"])), "unique"},
		{"POST", "~/access/apps", appBody("b", `["0193f22a-9df3-78e3-b5bb-7ab631903306"]`), "no policy"},
		{"POST", path, `{"name":"","decision":"allow","include":[{"everyone":{}}]}`, "name"},
		{"POST", path, `{"name":"x","decision":"perhaps","include":[{"everyone":{}}]}`, "decision"},
		{"POST", path, `{"name":"x","decision":"allow","include":[]}`, "include"},
		{"POST", path, `{"name":"x","decision":"allow","include":[{"group":{"id":"gone"}}]}`, "no rule group"},
		{"POST", path, option(`"session_duration":"soon"`), "/session_duration"},
		{"POST", path, option(`"session_duration":"-1h"`), "/session_duration"},
		{"POST", path, option(`"session_duration":3`), "/session_duration"},
		{"POST", path, option(`"approval_required":"yes"`), "/approval_required"},
		{"POST", path, option(`"approval_groups":[{"approvals_needed":1.5}]`), "/approval_groups/0/approvals_needed"},
		{"POST", path, option(`"approval_groups":[{"approvals_needed":1,"email_addresses":["\u0007"]}]`), "/approval_groups/0/email_addresses/0"},
		{"POST", path, option(`"approval_groups":[{"people":1}]`), "/approval_groups/0/people"},
		{"POST", path, option(`"mfa_config":{"session_duration":"721h"}`), "/mfa_config/session_duration"},
		{"POST", path, option(`"mfa_config":{"factor":1}`), "/mfa_config/factor"},
		{"POST", path, option(`"connection_rules":{"rdp":{"clipboard":[]}}`), "/connection_rules/rdp/clipboard"},
		{"POST", path, option(`"purpose_justification_prompt":"` + strings.Repeat("x", 1001) + `"`), "/purpose_justification_prompt"},
		{"POST", path, `{"name":"x","decision":"allow","include":[{"everyone":{}}],"exclud":[]}`, "exclud"},
		{"POST", path, `{"name":"` + strings.Repeat("x", 351) + `","decision":"allow","include":[{"everyone":{}}]}`, "350"},
	} {
		if r := c.admin(t, refused.method, refused.path, refused.body); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), refused.says) {
			t.Errorf("%s %s %s: %d %s", refused.method, refused.path, refused.body, r.status, r.raw)
		}
	}
	c.good(t, "DELETE", inApp, "") // only out of the application
	c.good(t, "GET", at, "")
	if r := c.good(t, "DELETE", at, ""); r.result["id"] != one["id"] {
		t.Errorf("deleted %s", r.raw)
	}
	if r := c.admin(t, "GET", at, ""); r.status != http.StatusNotFound {
		t.Errorf("deleted: %d", r.status)
	}
	if l := c.good(t, "GET", path+"?page=1&per_page=1", ""); len(l.list) != 1 || l.env.ResultInfo.TotalCount != 1 {
		t.Errorf("list %s", l.raw)
	}
	if l := c.good(t, "GET", path+"?page=2", ""); l.list == nil || len(l.list) != 0 {
		t.Errorf("past the end %s", l.raw)
	}
}

// TestReusablePolicies_Options: what a policy says for other kinds of applications is kept as it was written, and a policy that
// says more than Weft enforces gets into no infrastructure application.
func TestReusablePolicies_Options(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const path = "~/access/policies"
	plain := c.good(t, "POST", path, option(`"session_duration":"24h"`)).result
	if plain["session_duration"] != "24h" {
		t.Errorf("made %v", plain)
	}
	app := c.good(t, "POST", "~/access/apps", appBody("a", fmt.Sprintf(`["%s"]`, plain["id"]))).result
	if got := fmt.Sprint(app["policies"]); strings.Contains(got, "24h") {
		t.Errorf("in the application %v", got)
	}
	for _, more := range []string{
		`"approval_required":true,"approval_groups":[{"approvals_needed":1,"email_addresses":["a@b.c"],"email_list_uuid":"597147a1-976b-4ef2-9af0-81d5d007fc34"},{"approvals_needed":3}]`,
		`"isolation_required":true`, `"purpose_justification_required":true,"purpose_justification_prompt":"Why?"`,
		`"mfa_config":{"allowed_authenticators":["totp"],"mfa_disabled":false,"session_duration":"24h"}`,
		`"connection_rules":{"rdp":{"allowed_clipboard_local_to_remote_formats":["text"],"allowed_clipboard_remote_to_local_formats":["text"]}}`,
		`"decision":"deny"`, `"decision":"bypass"`, `"decision":"non_identity"`,
	} {
		body := option(more)
		if strings.HasPrefix(more, `"decision"`) {
			body = `{"name":"x","include":[{"everyone":{}}],` + more + `}`
		}
		made := c.good(t, "POST", path, body)
		if !strings.Contains(string(made.raw), more) {
			t.Errorf("wrote %s, made %s", more, made.raw)
		}
		at := path + "/" + text(made.result, "id")
		if got := c.good(t, "GET", at, ""); fmt.Sprint(got.result) != fmt.Sprint(made.result) {
			t.Errorf("made %s, read %s", made.raw, got.raw)
		}
		r := c.admin(t, "POST", "~/access/apps", appBody("b", fmt.Sprintf(`["%s"]`, made.result["id"])))
		if r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "/policies/0/id") || !strings.Contains(string(r.raw), "cannot have") {
			t.Errorf("%s in an application: %s", more, r.raw)
		}
		if r := c.admin(t, "PUT", path+"/"+text(plain, "id"), body); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "while 1 infrastructure") {
			t.Errorf("%s in use: %s", more, r.raw)
		}
		c.good(t, "PUT", at, option(`"session_duration":""`))
		got := c.good(t, "GET", at, "")
		if keys(got.result) != "app_count created_at decision exclude id include name require reusable updated_at" {
			t.Errorf("replaced by a plain one: %s", got.raw)
		}
		c.good(t, "DELETE", at, "")
	}
}

func TestReusablePolicies_AreMadeOfOthers(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	app := c.good(t, "POST", "~/access/apps", appBody("a", `[{"name":"own","decision":"allow","precedence":7,"include":[{"everyone":{}}]}]`)).result
	id := policyIDs(app)
	made := c.good(t, "PUT", fmt.Sprintf("~/access/apps/%s/policies/%s/make_reusable", app["id"], id), "").result
	if made["id"] != id || made["reusable"] != true || made["precedence"] != 7.0 {
		t.Errorf("made %v", made)
	}
	if got := c.good(t, "GET", "~/access/policies/"+id, "").result; got["app_count"] != 1.0 || got["name"] != "own" {
		t.Errorf("reusable %v", got)
	}
	if r := c.admin(t, "PUT", fmt.Sprintf("~/access/apps/%s/policies/%s/make_reusable", app["id"], id), ""); r.status != http.StatusBadRequest {
		t.Errorf("again: %d", r.status)
	}
	for _, path := range []string{"~/access/apps/gone/policies/" + id, fmt.Sprintf("~/access/apps/%s/policies/gone", app["id"])} {
		if r := c.admin(t, "PUT", path+"/make_reusable", ""); r.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}

// A change of a reusable policy changes who reaches what in every application that has it, at once.
func TestSync_ReusablePolicies(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	body := `{"name":"ops","decision":"allow","include":[{"email":{"email":"%s@company.com"}}],"connection_rules":{"ssh":{"usernames":["root"]}}}`
	id := c.good(t, "POST", "~/access/policies", fmt.Sprintf(body, "other")).result["id"]
	s.Target("db-1", "10.0.0.9", s.DefaultVNET())
	app := c.good(t, "POST", "~/access/apps", appBody("ssh", fmt.Sprintf(`["%s"]`, id))).result
	c.good(t, "POST", "~/access/apps", strings.Replace(appBody("more", fmt.Sprintf(`["%s"]`, id)), `"port":22`, `"port":2222`, 1))
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(s.Enrol("jdoe@company.com", "laptop").Token)), api.PathAgentSync)
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	agent.until(t, "a list without it", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	c.good(t, "PUT", fmt.Sprintf("~/access/policies/%s", id), fmt.Sprintf(body, "jdoe"))
	agent.until(t, "the target at both ports", func(a *api.AgentState) bool { return len(a.Entries) == 2 })
	gateway.until(t, "the policy", func(g *api.GatewayState) bool {
		a, ok := g.Applications[fmt.Sprint(app["id"])]
		return ok && len(a.Policies) == 1 && a.Policies[0].ID == id && a.Policies[0].SSH != nil
	})
	c.good(t, "DELETE", fmt.Sprintf("~/access/apps/%s/policies/%s", app["id"], id), "")
	agent.until(t, "one to go", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	c.good(t, "PUT", fmt.Sprintf("~/access/policies/%s", id), fmt.Sprintf(body, "other"))
	agent.until(t, "the other to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
}
