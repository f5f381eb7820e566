package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control/controltest"
)

const (
	rulesPath = "~/gateway/rules"
	listsPath = "~/gateway/lists"
)

// The bodies are those that the Terraform providers send, as recorded in the wire reference.

func TestNetworkRules_AsTerraform4UsesThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	body := func(id, description, version string) string {
		return `{` + id + `"name":"Evaluate Access first","description":"` + description + `","precedence":100363,"enabled":true,"action":"allow","filters":["l4"],` +
			`"traffic":"access.target","identity":"","device_posture":"","version":` + version + `,` +
			`"rule_settings":{"override_ips":null,"block_reason":"","override_host":"","biso_admin_controls":null,"l4override":null,"add_headers":null,` +
			`"check_session":null,"block_page_enabled":false,"insecure_disable_dnssec_validation":false,"egress":null,"payload_log":null,"audit_ssh":null,` +
			`"ip_categories":false,"ignore_cname_category_matches":null,"untrusted_cert":null,"notification_settings":null}}`
	}
	made := c.good(t, "POST", rulesPath, body("", "d", "0")).result
	path := fmt.Sprintf("%s/%s", rulesPath, made["id"])
	read := c.good(t, "GET", path, "").result
	if diff := cmp.Diff(made, read); diff != "" {
		t.Error(diff)
	}
	if keys(read) != "action created_at deleted_at description device_posture enabled expiration filters id identity name precedence rule_settings schedule traffic updated_at version" {
		t.Errorf("fields %s", keys(read))
	}
	if read["precedence"] != 100363.0 || read["traffic"] != "access.target" || read["version"] != 1.0 || len(read["rule_settings"].(map[string]any)) != 0 {
		t.Errorf("read %v", read)
	}
	changed := c.good(t, "PUT", path, body(`"id":"`+fmt.Sprint(made["id"])+`",`, "e", "1")).result
	if changed["version"] != 2.0 || changed["description"] != "e" || changed["created_at"] != made["created_at"] {
		t.Errorf("changed %v", changed)
	}
	if r := c.good(t, "DELETE", path, ""); string(r.env.Result) != "{}" {
		t.Errorf("deleted %s", r.raw)
	}
	// It reads the rule again, and looks at nothing but these words.
	if r := c.admin(t, "GET", path, ""); r.status != http.StatusNotFound || len(r.env.Errors) != 1 || r.env.Errors[0].Code != 2009 || !strings.Contains(string(r.raw), "invalid rule id") {
		t.Errorf("after the deletion: %d %s", r.status, r.raw)
	}
}

func TestNetworkRules_AsTerraform5UsesThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const body = `{"action":"block","description":"","device_posture":"","enabled":true,"filters":["l4"],"identity":"any(identity.groups[*].name in {\"ops\"})","name":"%s","traffic":"%s"%s}`
	const odd = `( net.dst.ip   in {10.0.0.0/8}) or net.dst.port==22` // spelt as nobody else would
	first := c.good(t, "POST", rulesPath, fmt.Sprintf(body, "one", odd, `,"precedence":100`)).result
	if first["traffic"] != odd || first["precedence"] != 100.0 {
		t.Errorf("the expression came back as %v", first["traffic"])
	}
	second := c.good(t, "POST", rulesPath, fmt.Sprintf(body, "two", "", "")).result
	if second["precedence"] != 1100.0 {
		t.Errorf("without a precedence it got %v", second["precedence"])
	}
	list := c.good(t, "GET", rulesPath, "")
	if len(list.list) != 2 || list.list[0]["name"] != "one" {
		t.Errorf("list %s", list.raw)
	}
	path := fmt.Sprintf("%s/%s", rulesPath, second["id"])
	patched := c.good(t, "PATCH", path, `{"id":"x","name":"two","description":"d","precedence":5,"enabled":false,"action":"block","rule_settings":{"block_reason":"closed at night"}}`).result
	if patched["traffic"] != "" || patched["identity"] != second["identity"] || patched["enabled"] != false || fmt.Sprint(patched["rule_settings"]) != "map[block_reason:closed at night]" {
		t.Errorf("patched %v", patched)
	}
	if r := c.good(t, "GET", rulesPath+"/tenant", ""); r.list == nil || len(r.list) != 0 {
		t.Errorf("tenant %s", r.raw)
	}
}

func TestLists_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	made := c.good(t, "POST", listsPath, `{"name":"servers","type":"IP","description":"d","items":[{"value":"10.0.0.0/8","description":"all"},{"value":"192.0.2.1"}]}`).result
	path := fmt.Sprintf("%s/%s", listsPath, made["id"])
	if made["count"] != 2.0 || len(made["items"].([]any)) != 2 {
		t.Errorf("made %v", made)
	}
	patched := c.good(t, "PATCH", path, `{"append":[{"value":"192.0.2.2"}],"remove":["10.0.0.0/8"]}`).result
	if patched["count"] != 2.0 || patched["name"] != "servers" {
		t.Errorf("patched %v", patched)
	}
	items := c.good(t, "GET", path+"/items?page=1&per_page=1", "")
	if len(items.list) != 1 || items.list[0]["value"] != "192.0.2.1" || items.env.ResultInfo == nil || items.env.ResultInfo.TotalPages != 2 {
		t.Errorf("items %s", items.raw)
	}
	if l := c.good(t, "GET", listsPath, ""); len(l.list) != 1 || l.list[0]["items"] != nil || l.list[0]["count"] != 2.0 {
		t.Errorf("list %s", l.raw)
	}
	renamed := c.good(t, "PUT", path, `{"name":"hosts","description":""}`).result
	if renamed["count"] != 2.0 || renamed["name"] != "hosts" {
		t.Errorf("replaced without items %v", renamed)
	}
	rule := c.good(t, "POST", rulesPath, fmt.Sprintf(`{"name":"uses it","action":"block","filters":["l4"],"traffic":"net.dst.ip in $%s"}`, made["id"])).result
	if r := c.admin(t, "DELETE", path, ""); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "uses it") {
		t.Errorf("deletion of a list in use: %d %s", r.status, r.raw)
	}
	c.good(t, "DELETE", fmt.Sprintf("%s/%s", rulesPath, rule["id"]), "")
	c.good(t, "DELETE", path, "")
	if r := c.admin(t, "GET", path, ""); r.status != http.StatusNotFound {
		t.Errorf("after the deletion: %d", r.status)
	}
}

func TestNetworkRules_BadInput(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	mails := c.good(t, "POST", listsPath, `{"name":"people","type":"EMAIL","items":[{"value":"a@b.c"}]}`).result["id"]
	used := c.good(t, "POST", listsPath, `{"name":"used","type":"SERIAL","items":[{"value":"22"}]}`).result["id"]
	c.good(t, "POST", rulesPath, fmt.Sprintf(`{"name":"taken","action":"allow","filters":["l4"],"traffic":"net.dst.port in $%s","precedence":7}`, used))
	rule := func(rest string) string { return `{"name":"x","filters":["l4"]` + rest + `}` }
	for _, tt := range []struct{ name, method, path, body, pointer, says string }{
		{"no name", "POST", rulesPath, `{"action":"allow","filters":["l4"]}`, "/name", "required"},
		{"no filters", "POST", rulesPath, `{"name":"x","action":"allow"}`, "/filters", `must be ["l4"]`},
		{"another layer", "POST", rulesPath, `{"name":"x","action":"allow","filters":["dns"]}`, "/filters", "not enforced"},
		{"no action", "POST", rulesPath, rule(``), "/action", "allow"},
		{"an action that is not enforced", "POST", rulesPath, rule(`,"action":"l4_override"`), "/action", "not enforced"},
		{"a wrong expression", "POST", rulesPath, rule(`,"action":"allow","traffic":"net.dst.port = 22"`), "/traffic", "at offset 13: unexpected character '='"},
		{"an unknown field", "POST", rulesPath, rule(`,"action":"allow","identity":"identity.mail == \"a\""`), "/identity", `unknown field "identity.mail"`},
		{"an unknown list", "POST", rulesPath, rule(`,"action":"allow","traffic":"net.dst.ip in $nope"`), "/traffic", `there is no list "nope"`},
		{"a list of another kind", "POST", rulesPath, rule(fmt.Sprintf(`,"action":"allow","traffic":"net.dst.ip in $%s"`, mails)), "/traffic", "which is not an address"},
		{"a precedence that is taken", "POST", rulesPath, rule(`,"action":"allow","precedence":7`), "/precedence", `"taken"`},
		{"a negative precedence", "POST", rulesPath, rule(`,"action":"allow","precedence":-1`), "/precedence", "from 0"},
		{"a schedule", "POST", rulesPath, rule(`,"action":"allow","schedule":{"mon":"08:00-12:00"}`), "/schedule", "not enforced"},
		{"an expiration", "POST", rulesPath, rule(`,"action":"allow","expiration":{"expires_at":"2027-01-01T00:00:00Z"}`), "/expiration", "not enforced"},
		{"a setting that is not enforced", "POST", rulesPath, rule(`,"action":"allow","rule_settings":{"check_session":{"enforce":true,"duration":"1h"}}`), "/rule_settings/check_session", "not enforced"},
		{"a misspelt key", "POST", rulesPath, rule(`,"action":"allow","traffics":"access.target"`), "/traffics", "unknown"},
		{"a list without a type", "POST", listsPath, `{"name":"x"}`, "/type", "IP"},
		{"a list of an unknown type", "POST", listsPath, `{"name":"x","type":"CATEGORY"}`, "/type", "IP"},
		{"a value that is no address", "POST", listsPath, `{"name":"x","type":"IP","items":[{"value":"10.0.0.1/8"}]}`, "/items", "10.0.0.1/8"},
		{"a value twice", "POST", listsPath, `{"name":"x","type":"IP","items":[{"value":"10.0.0.1"},{"value":"10.0.0.1"}]}`, "/items", "twice"},
		{"a name that is taken", "POST", listsPath, `{"name":"People","type":"IP"}`, "/name", "already belongs"},
		{"another type", "PUT", listsPath + "/" + fmt.Sprint(mails), `{"name":"people","type":"IP"}`, "/type", "cannot be changed"},
		{"removing what is not there", "PATCH", listsPath + "/" + fmt.Sprint(mails), `{"remove":["x@y.z"]}`, "/remove", "no value"},
		{"a value that a rule cannot read", "PATCH", listsPath + "/" + fmt.Sprint(used), `{"append":[{"value":"http"}]}`, "/items", `network rule "taken" names the list`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.admin(t, tt.method, tt.path, tt.body)
			if r.status != http.StatusBadRequest || len(r.env.Errors) != 1 {
				t.Fatalf("%d %s", r.status, r.raw)
			}
			e := r.env.Errors[0]
			pointer := ""
			if e.Source != nil {
				pointer = e.Source.Pointer
			}
			if pointer != tt.pointer || !strings.Contains(e.Message, tt.says) {
				t.Errorf("at %q: %s", pointer, e.Message)
			}
		})
	}
	for _, path := range []string{rulesPath, listsPath} {
		if n := len(c.good(t, "GET", path, "").list); n != map[string]int{rulesPath: 1, listsPath: 2}[path] {
			t.Errorf("%s has %d objects: something was half written", path, n)
		}
	}
}

// A rule that blocks takes targets off the list at once, and reaches the gateway with the lists that it names.
func TestSync_NetworkRules(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	s.Target("web-1", "10.0.0.9", s.DefaultVNET())
	s.App("ssh", "web-1", "SSH", 22, "jdoe@company.com", "root")
	dev := s.Enrol("jdoe@company.com", "laptop")
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	agent.until(t, "the target", func(a *api.AgentState) bool { return len(a.Entries) == 1 })

	list := c.good(t, "POST", listsPath, `{"name":"closed","type":"IP","items":[{"value":"10.0.0.0/24"}]}`).result["id"]
	path := fmt.Sprintf("%s/%s", rulesPath, c.good(t, "POST", rulesPath, fmt.Sprintf(
		`{"name":"close","action":"block","filters":["l4"],"traffic":"net.dst.ip in $%s","rule_settings":{"block_reason":"maintenance"}}`, list)).result["id"])
	agent.until(t, "the target to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	gateway.until(t, "the rule and its list", func(g *api.GatewayState) bool {
		for _, r := range g.NetworkRules {
			return r.BlockReason == "maintenance" && len(g.Lists[fmt.Sprint(list)].Items) == 1
		}
		return false
	})
	c.good(t, "PATCH", fmt.Sprintf("%s/%s", listsPath, list), `{"append":[{"value":"10.1.0.0/16"}],"remove":["10.0.0.0/24"]}`)
	agent.until(t, "the target of an address that is no longer listed", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	c.good(t, "PATCH", path, `{"traffic":""}`)
	agent.until(t, "a rule for everything", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	c.good(t, "PATCH", path, `{"enabled":false}`)
	agent.until(t, "the rule to be off", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	gateway.until(t, "the rule to be off", func(g *api.GatewayState) bool { return len(g.NetworkRules) == 0 })
}
