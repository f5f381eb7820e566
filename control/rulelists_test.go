package control_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/api"
	"weft/control/controltest"
)

// refusedAt asks for a refusal at a place that says something.
func refusedAt(t *testing.T, r reply, pointer, says string) {
	t.Helper()
	at := ""
	if len(r.env.Errors) == 1 && r.env.Errors[0].Source != nil {
		at = r.env.Errors[0].Source.Pointer
	}
	if r.status != http.StatusBadRequest || at != pointer || !strings.Contains(string(r.raw), says) {
		t.Errorf("%d at %q: %s; want a refusal at %q that says %q", r.status, at, r.raw, pointer, says)
	}
}

// rulesOf is a list of rules as it is read.
func rulesOf(r reply, list string) string {
	for _, text := range strings.Split(string(r.raw), `"`+list+`":`)[1:] {
		depth := 0
		for i, b := range text {
			switch b {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			if depth == 0 {
				return text[:i+1]
			}
		}
	}
	return ""
}

func TestRuleLists_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	list := func(name, typ, item string) string {
		return fmt.Sprint(c.good(t, "POST", listsPath, fmt.Sprintf(`{"name":%q,"type":%q,"items":[{"value":%q}]}`, name, typ, item)).result["id"])
	}
	people, places := list("people", "EMAIL", "jdoe@company.com"), list("places", "IP", "192.0.2.0/24")
	both := fmt.Sprintf(`[{"email_list":{"id":%q}},{"ip_list":{"id":%q}}]`, people, places)
	const gone = "0193f22a-9df3-78e3-b5bb-7ab631903306"

	const groups, policies = "~/access/groups", "~/access/policies"
	body := func(name, field, rules string) string {
		return fmt.Sprintf(`{"name":%q,"decision":"allow","include":[{"everyone":{}}],%q:%s}`, name, field, rules)
	}
	inGroup := func(name, field, rules string) string {
		return strings.Replace(body(name, field, rules), `"decision":"allow",`, "", 1)
	}
	app := c.good(t, "POST", "~/access/apps", appBody("a", "["+body("own", "require", both)+"]")).result
	inApp := fmt.Sprintf("~/access/apps/%s/policies", app["id"])
	for _, place := range []struct {
		name, path, at string
		body           func(name, field, rules string) string
	}{
		{"a group", groups, "", inGroup},
		{"a reusable policy", policies, "", body},
		{"a policy", inApp, "", body},
		{"a policy in an application", "~/access/apps", "/policies/0", func(name, field, rules string) string { return appBody(name, "["+body(name, field, rules)+"]") }},
	} {
		t.Run(place.name, func(t *testing.T) {
			for _, field := range []string{"require", "exclude"} {
				at := place.at + "/" + field + "/1/"
				try := func(rule string) reply {
					return c.admin(t, "POST", place.path, place.body("x", field, `[{"everyone":{}},`+rule+`]`))
				}
				refusedAt(t, try(`{"email_list":{"id":"`+gone+`"}}`), at+"email_list/id", "there is no list")
				refusedAt(t, try(`{"ip_list":{"id":"`+gone+`"}}`), at+"ip_list/id", "there is no list")
				refusedAt(t, try(`{"email_list":{"id":"`+places+`"}}`), at+"email_list/id", "of type IP")
				refusedAt(t, try(`{"ip_list":{"id":"`+people+`"}}`), at+"ip_list/id", "of type EMAIL")
				if r := try(`{"ip_list":{"id":""}}`); r.status != http.StatusBadRequest {
					t.Errorf("an empty ID: %d %s", r.status, r.raw)
				}
				made := c.good(t, "POST", place.path, place.body("kept "+field, field, both))
				if got := rulesOf(made, field); got != both {
					t.Errorf("%s written as %s, read as %s", field, both, got)
				}
				made = c.good(t, "GET", fmt.Sprintf("%s/%s", place.path, made.result["id"]), "")
				if got := rulesOf(made, field); got != both {
					t.Errorf("%s read again as %s", field, got)
				}
				c.good(t, "DELETE", fmt.Sprintf("%s/%s", place.path, made.result["id"]), "")
			}
		})
	}
	c.good(t, "DELETE", fmt.Sprintf("~/access/apps/%s", app["id"]), "")
	c.good(t, "DELETE", listsPath+"/"+places, "")
}

// A list stays, and of its type, while anything refers to it.
func TestRuleLists_InUseStay(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	id := fmt.Sprint(c.good(t, "POST", listsPath, `{"name":"places","type":"IP","items":[{"value":"192.0.2.0/24"}]}`).result["id"])
	at := listsPath + "/" + id
	rule := fmt.Sprintf(`{"ip_list":{"id":%q}}`, id)
	policy := `{"name":"%s","decision":"allow","include":[{"everyone":{}}],"exclude":[` + rule + `]}`
	users := []struct{ name, path string }{
		{"rule group staff", "~/access/groups/" + fmt.Sprint(c.good(t, "POST", "~/access/groups", `{"name":"staff","include":[`+rule+`]}`).result["id"])},
		{"reusable policy ops", "~/access/policies/" + fmt.Sprint(c.good(t, "POST", "~/access/policies", fmt.Sprintf(policy, "ops")).result["id"])},
		{"policy own of application a", "~/access/apps/" + fmt.Sprint(c.good(t, "POST", "~/access/apps", appBody("a", "["+fmt.Sprintf(policy, "own")+"]")).result["id"])},
		{"network rule close", rulesPath + "/" + fmt.Sprint(c.good(t, "POST", rulesPath, fmt.Sprintf(
			`{"name":"close","action":"block","filters":["l4"],"traffic":"net.src.ip in $%s"}`, id)).result["id"])},
	}
	refusedAt(t, c.admin(t, "PUT", at, `{"name":"places","type":"EMAIL","items":[]}`), "/type", "cannot be changed")
	for i := range users {
		r := c.admin(t, "DELETE", at, "")
		for _, u := range users[i:] {
			if r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), u.name) {
				t.Errorf("%d %s; want a refusal that names %s", r.status, r.raw, u.name)
			}
		}
		c.good(t, "DELETE", users[i].path, "")
	}
	c.good(t, "DELETE", at, "")
}

// A change of a list changes who reaches what, at once, and gateways have lists that nothing but policies refers to.
func TestSync_RuleLists(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	id := fmt.Sprint(c.good(t, "POST", listsPath, `{"name":"people","type":"EMAIL","items":[{"value":"other@company.com"}]}`).result["id"])
	group := c.good(t, "POST", "~/access/groups", `{"name":"ops","include":[{"email_list":{"id":"`+id+`"}}]}`).result["id"]
	s.Target("db-1", "10.0.0.9", s.DefaultVNET())
	c.good(t, "POST", "~/access/apps", appBody("db", fmt.Sprintf(
		`[{"name":"p","decision":"allow","include":[{"group":{"id":%q}}],"connection_rules":{"ssh":{"usernames":["root"]}}}]`, group)))
	dev := s.Enrol("jdoe@company.com", "laptop")
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	agent.until(t, "a list without it", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	c.good(t, "PATCH", listsPath+"/"+id, `{"append":[{"value":"JDoe@company.com"}]}`)
	agent.until(t, "the target", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	want := access.List{ID: id, Name: "people", Type: "EMAIL", Items: []string{"JDoe@company.com", "other@company.com"}}
	gateway.until(t, "the list", func(g *api.GatewayState) bool { return cmp.Equal(g.Lists[id], want) })
	c.good(t, "PATCH", listsPath+"/"+id, `{"remove":["JDoe@company.com"]}`)
	agent.until(t, "it to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
}

func TestExplain_NamesLists(t *testing.T) {
	s, _ := explainWorld(t)
	c := newRawClient(t, s)
	id := fmt.Sprint(c.good(t, "POST", listsPath, `{"name":"people","type":"EMAIL","items":[{"value":"jdoe@company.com"}]}`).result["id"])
	app := c.good(t, "GET", "~/access/apps?name=web", "").list[0]["id"]
	c.good(t, "POST", fmt.Sprintf("~/access/apps/%s/policies", app), `{"name":"listed","decision":"allow","include":[{"email_list":{"id":"`+id+`"}}],`+
		`"connection_rules":{"ssh":{"usernames":["deploy"]}}}`)
	e := explain(t, s, api.ExplainRequest{Email: "jdoe@company.com", Target: "web-1", Port: 22, Login: "deploy", Offline: true})
	var got api.ExplainRule
	for _, a := range e.Applications {
		for _, p := range a.Policies {
			if p.Name == "listed" {
				got = p.Rules[0]
			}
		}
	}
	want := api.ExplainRule{List: "include", Rule: `{"email_list":{"id":"` + id + `"}}`, Answer: "yes", Name: "people"}
	if !e.Allowed || got != want {
		t.Errorf("explained %+v; want %+v", got, want)
	}
}

// foreignRules are of other kinds of applications.
var foreignRules = []string{
	`{"certificate":{}}`, `{"common_name":{"common_name":"jdoe"}}`, `{"external_evaluation":{"evaluate_url":"https://e.example","keys_url":"https://k.example"}}`,
	`{"auth_context":{"id":"a","ac_id":"b","identity_provider_id":"c"}}`, `{"linked_app_token":{"app_uid":"a"}}`,
	`{"user_risk_score":{"user_risk_score":["low","medium"]}}`, `{"cloudflare_account_member":{"account_id":"a"}}`,
}

// What an account shares between kinds of applications may hold their selectors; an infrastructure application may not.
func TestForeignRules(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const groups, policies = "~/access/groups", "~/access/policies"
	mail := `{"email":{"email":"jdoe@company.com"}}`
	policy := func(name, include, require string) string {
		return fmt.Sprintf(`{"name":%q,"decision":"allow","include":[%s],"require":[%s]}`, name, include, require)
	}
	for i, rule := range foreignRules {
		key := strings.Split(rule, `"`)[1]
		t.Run(key, func(t *testing.T) {
			name := fmt.Sprintf("shared %d", i)
			g := c.good(t, "POST", groups, fmt.Sprintf(`{"name":%q,"include":[%s,%s],"exclude":[%s]}`, name, mail, rule, rule))
			if inc, exc := rulesOf(g, "include"), rulesOf(g, "exclude"); inc != "["+mail+","+rule+"]" || exc != "["+rule+"]" {
				t.Errorf("group with include %s, exclude %s", inc, exc)
			}
			p := c.good(t, "POST", policies, policy(name, mail, rule))
			if got := rulesOf(c.good(t, "GET", fmt.Sprintf("%s/%s", policies, p.result["id"]), ""), "require"); got != "["+rule+"]" {
				t.Errorf("reusable policy that requires %s", got)
			}
			refusedAt(t, c.admin(t, "POST", "~/access/apps", appBody("b", "["+policy("own", mail, rule)+"]")), "/policies/0/require/0/"+key, "not supported")
			refusedAt(t, c.admin(t, "POST", "~/access/apps", appBody("b", fmt.Sprintf(`[%s,%q]`, policy("own", mail, ""), p.result["id"]))), "/policies/1", key)
			refusedAt(t, c.admin(t, "POST", groups, `{"name":"y","include":[`+strings.Replace(rule, key, key+"s", 1)+`]}`), "/include/0/"+key+"s", "unknown")
			refusedAt(t, c.admin(t, "POST", policies, policy("y", strings.Replace(rule, key, key+"s", 1), "")), "/include/0/"+key+"s", "unknown")
			// An infrastructure application may refer to the group: what the selector says is not known there.
			app := c.good(t, "POST", "~/access/apps", appBody("c", fmt.Sprintf("[%s]", policy("own", fmt.Sprintf(`{"group":{"id":%q}}`, g.result["id"]), "")))).result
			c.good(t, "DELETE", fmt.Sprintf("~/access/apps/%s", app["id"]), "")
		})
	}
	refusedAt(t, c.admin(t, "POST", groups, `{"name":"y","include":[{"certificate":true}]}`), "/include/0/certificate", "an object")

	shared := c.good(t, "POST", policies, policy("plain", mail, "")).result["id"]
	at := fmt.Sprintf("%s/%s", policies, shared)
	app := c.good(t, "POST", "~/access/apps", appBody("d", fmt.Sprintf("[%q]", shared))).result["id"]
	inApp := fmt.Sprintf("~/access/apps/%s/policies", app)
	refusedAt(t, c.admin(t, "PUT", at, policy("plain", mail, foreignRules[0])), "/require/0/certificate", "application")
	refusedAt(t, c.admin(t, "POST", inApp, policy("own", mail, foreignRules[0])), "/require/0/certificate", "not supported")
	if got := rulesOf(c.good(t, "GET", at, ""), "require"); got != "[]" {
		t.Errorf("after the refusal it requires %s", got)
	}
	c.good(t, "DELETE", fmt.Sprintf("%s/%s", inApp, shared), "")
	c.good(t, "PUT", at, policy("plain", mail, foreignRules[0]))
	refusedAt(t, c.admin(t, "PUT", fmt.Sprintf("~/access/apps/%s", app), appBody("d", fmt.Sprintf("[%q]", shared))), "/policies/0", "certificate")
}

// A group with a selector of other applications grants by its other rules, and denies where that selector would.
func TestSync_ForeignRules(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	s.Target("db-1", "10.0.0.9", s.DefaultVNET())
	mail, cert := `{"email":{"email":"jdoe@company.com"}}`, `{"certificate":{}}`
	group := c.good(t, "POST", "~/access/groups", `{"name":"g","include":[`+cert+`]}`).result["id"]
	at := fmt.Sprintf("~/access/groups/%s", group)
	c.good(t, "POST", "~/access/apps", appBody("db", fmt.Sprintf(
		`[{"name":"p","decision":"allow","include":[{"group":{"id":%q}}],"connection_rules":{"ssh":{"usernames":["root"]}}}]`, group)))
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(s.Enrol("jdoe@company.com", "laptop").Token)), api.PathAgentSync)
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	gateway.until(t, "the group", func(g *api.GatewayState) bool { return len(g.Groups) == 1 })
	for _, step := range []struct {
		name, body string
		entries    int
	}{
		{"include of the e-mail and a certificate", `{"name":"g","include":[` + cert + `,` + mail + `]}`, 1},
		{"require of a certificate", `{"name":"g","include":[` + mail + `],"require":[` + cert + `]}`, 0},
		{"the e-mail alone", `{"name":"g","include":[` + mail + `]}`, 1},
		{"exclude of a certificate", `{"name":"g","include":[` + mail + `],"exclude":[` + cert + `]}`, 0},
	} {
		c.good(t, "PUT", at, step.body)
		agent.until(t, step.name, func(a *api.AgentState) bool { return len(a.Entries) == step.entries })
		gateway.until(t, step.name, func(g *api.GatewayState) bool {
			text, err := json.Marshal(g.Groups[fmt.Sprint(group)].Include)
			return err == nil && strings.Contains(step.body, string(text))
		})
	}
}
