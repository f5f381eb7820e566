package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
)

// report says what a device sees.
func report(t *testing.T, s *controltest.Server, token string, r api.PostureReport) map[string]string {
	t.Helper()
	r.Facts.OS = "linux"
	var out api.PostureAnswer
	if err := s.ClientWith(api.Secret(token)).Do(t.Context(), http.MethodPut, api.PathAgentPosture, r, &out); err != nil {
		t.Fatal(err)
	}
	return out.Results
}

func seeing(rule string, o api.PostureObservation) api.PostureReport {
	return api.PostureReport{Observations: map[string]api.PostureObservation{rule: o}}
}

// postureWorld is an account whose application asks for a posture rule.
func postureWorld(t *testing.T, cfg control.Config) (s *controltest.Server, c *rawClient, rule string, gateway *watching[api.GatewayState]) {
	t.Helper()
	s = controltest.Start(t, cfg)
	c = newRawClient(t, s)
	made := c.good(t, "POST", "~/devices/posture", `{"name":"marker","type":"file","schedule":"1m","match":[{"platform":"linux"}],"input":{"operating_system":"linux","path":"/etc/marker","exists":true}}`).result
	rule, _ = made["id"].(string)
	s.Target("web-1", "10.0.0.9", s.DefaultVNET())
	c.good(t, "POST", "~/access/apps", `{"name":"ssh","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["web-1"]},"port":22,"protocol":"SSH"}],
		"policies":[{"name":"p","decision":"allow","include":[{"everyone":{}}],"require":[{"device_posture":{"integration_uid":"`+rule+`"}}],"connection_rules":{"ssh":{"usernames":["root"]}}}]}`)
	gateway = watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	return s, c, rule, gateway
}

func TestPosture_DecidesByWhatTheDeviceReports(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s, c, rule, gateway := postureWorld(t, control.Config{Dir: t.TempDir(), Now: clock})
	dev := s.Enrol("jdoe@company.com", "laptop")
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	first := agent.until(t, "the check", func(a *api.AgentState) bool { return len(a.Self.Posture) == 1 })
	if len(first.Entries) != 0 {
		t.Error("a device that did not report sees the target")
	}
	if want := (api.PostureCheck{ID: rule, Type: "file", Path: "/etc/marker", IntervalSeconds: 60}); first.Self.Posture[0] != want {
		t.Errorf("asked to look at %+v", first.Self.Posture[0])
	}
	g := gateway.until(t, "the rule", func(g *api.GatewayState) bool { return len(g.Self.PostureRules) == 1 && len(g.Devices) == 1 })
	if len(g.Devices[dev.DeviceID].PassedChecks) != 0 {
		t.Error("the gateway lets a device pass that did not report")
	}

	if got := report(t, s, dev.Token, seeing(rule, api.PostureObservation{Exists: true})); got[rule] != "" {
		t.Errorf("failed: %q", got[rule])
	}
	agent.until(t, "the target", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	gateway.until(t, "the device to pass", func(g *api.GatewayState) bool { return len(g.Devices[dev.DeviceID].PassedChecks) == 1 })

	if got := report(t, s, dev.Token, seeing(rule, api.PostureObservation{})); !strings.Contains(got[rule], "not there") {
		t.Errorf("%v", got)
	}
	agent.until(t, "the target to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	gateway.until(t, "the device to fail", func(g *api.GatewayState) bool { return len(g.Devices[dev.DeviceID].PassedChecks) == 0 })

	// A rule that asks for something else has not been answered, whatever was said before.
	report(t, s, dev.Token, seeing(rule, api.PostureObservation{Exists: true}))
	agent.until(t, "the target", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	c.good(t, "PUT", "~/devices/posture/"+rule, `{"name":"marker","type":"file","schedule":"1m","input":{"path":"/etc/other"}}`)
	agent.until(t, "the target to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 && a.Self.Posture[0].Path == "/etc/other" })
	report(t, s, dev.Token, seeing(rule, api.PostureObservation{Exists: true}))
	agent.until(t, "the target", func(a *api.AgentState) bool { return len(a.Entries) == 1 })

	// Nor has one that was answered too long ago.
	mu.Lock()
	now = now.Add(5 * time.Minute)
	mu.Unlock()
	if err := s.Control.LapsePosture(t.Context()); err != nil {
		t.Fatal(err)
	}
	agent.until(t, "the target to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	if r := c.admin(t, "DELETE", "~/devices/posture/"+rule, ""); r.status != 400 || !strings.Contains(string(r.raw), "policy p of application ssh") {
		t.Errorf("a rule in use was deleted: %s", r.raw)
	}
	for path, body := range map[string]string{ // one that no application has, one that is off
		"~/access/policies": `{"name":"shared","decision":"allow","include":[{"device_posture":{"integration_uid":"%s"}}]}`,
		"~/gateway/rules":   `{"name":"off","action":"block","enabled":false,"filters":["l4"],"device_posture":"any(device_posture.checks.passed[*] == \"%s\")"}`,
	} {
		other := text(c.good(t, "POST", "~/devices/posture", `{"name":"other","type":"warp"}`).result, "id")
		user := text(c.good(t, "POST", path, fmt.Sprintf(body, other)).result, "id")
		if r := c.admin(t, "DELETE", "~/devices/posture/"+other, ""); r.status != 400 || !strings.Contains(string(r.raw), user) {
			t.Errorf("a rule that %s names was deleted: %s", path, r.raw)
		}
		c.good(t, "DELETE", path+"/"+user, "")
		c.good(t, "DELETE", "~/devices/posture/"+other, "")
	}
}

func TestPosture_NothingOfARequestIsBelieved(t *testing.T) {
	s, c, rule, _ := postureWorld(t, control.Config{Dir: t.TempDir()})
	dev := s.Enrol("jdoe@company.com", "laptop")
	for _, tc := range []struct{ name, token, body, says string }{
		{"an API token", s.Token, `{"facts":{"os":"linux"},"observations":{}}`, "device token"},
		{"no token", "", `{"facts":{"os":"linux"}}`, "missing"},
		{"another system", dev.Token, `{"facts":{"os":"darwin"},"observations":{}}`, "enrolled as"},
		{"an unknown key", dev.Token, `{"facts":{"os":"linux"},"passed":["` + rule + `"]}`, "unknown"},
		{"a control character", dev.Token, `{"facts":{"os":"linux","os_version":"\u001b[0m"}}`, "control character"},
		{"a long fact", dev.Token, `{"facts":{"os":"linux","model":"` + strings.Repeat("x", 201) + `"}}`, "longer"},
	} {
		if r := c.do(t, "PUT", api.PathAgentPosture, tc.token, tc.body); r.status < 400 || !strings.Contains(string(r.raw), tc.says) {
			t.Errorf("%s: %d %s", tc.name, r.status, r.raw)
		}
	}
	// What is reported for a rule that does not exist is worth nothing.
	if got := report(t, s, dev.Token, seeing("no-such-rule", api.PostureObservation{Exists: true})); got[rule] == "" || len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestPosture_ListsOfSerialNumbers(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	list := c.good(t, "POST", "~/gateway/lists", `{"name":"laptops","type":"SERIAL","items":[{"value":"PF-1"},{"value":"PF-2"}]}`).result["id"].(string)
	rule := c.good(t, "POST", "~/devices/posture", `{"name":"ours","type":"serial_number","input":{"id":"`+list+`"}}`).result["id"].(string)
	dev := s.Enrol("jdoe@company.com", "laptop")
	r := seeing(rule, api.PostureObservation{})
	r.Facts.SerialNumber = "pf-1"
	if got := report(t, s, dev.Token, r); got[rule] != "" {
		t.Errorf("%v", got)
	}
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	gateway.until(t, "the device to pass", func(g *api.GatewayState) bool { return len(g.Devices[dev.DeviceID].PassedChecks) == 1 })
	c.good(t, "PATCH", "~/gateway/lists/"+list, `{"remove":["PF-1"]}`)
	gateway.until(t, "the device to fail", func(g *api.GatewayState) bool { return len(g.Devices[dev.DeviceID].PassedChecks) == 0 })
	if d := c.good(t, "GET", "~/devices/physical-devices/"+dev.DeviceID, "").result; d["serial_number"] != "pf-1" {
		t.Errorf("%v", d)
	}
}

func TestPostureRules(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/devices/posture"
	body := `{"name":"kernel","type":"os_version","description":"d","schedule":"10m","expiration":"1h","match":[{"platform":"linux"}],"input":{"version":"6.1","operator":">=","operating_system":"linux"}}`
	made := c.good(t, "POST", path, body).result
	at := path + "/" + made["id"].(string)
	want := strings.Replace(body, `{`, `{"id":"`+made["id"].(string)+`",`, 1)
	for _, got := range []string{string(c.good(t, "GET", at, "").env.Result), string(c.good(t, "PUT", at, body).env.Result)} {
		if got = strings.ReplaceAll(got, `\u003e`, ">"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if list := c.good(t, "GET", path, ""); len(list.list) != 1 {
		t.Errorf("%s", list.raw)
	}
	reader := newToken(t, s, store.TokenFields{Permissions: []string{"Zero Trust Read"}})
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		pointer                  string
	}{
		{"no name", "POST", path, `{"type":"warp"}`, 400, "/name"},
		{"a long name", "POST", path, `{"name":"` + strings.Repeat("x", 351) + `","type":"warp"}`, 400, "/name"},
		{"a long description", "POST", path, `{"name":"x","type":"warp","description":"` + strings.Repeat("x", 1001) + `"}`, 400, "/description"},
		{"no type", "POST", path, `{"name":"x"}`, 400, "/type"},
		{"a schedule that is none", "POST", path, `{"name":"x","type":"warp","schedule":"often"}`, 400, "/schedule"},
		{"a schedule that is too short", "POST", path, `{"name":"x","type":"warp","schedule":"1s"}`, 400, "/schedule"},
		{"an expiration that is too short", "POST", path, `{"name":"x","type":"warp","expiration":"1m"}`, 400, "/expiration"},
		{"a platform that is none", "POST", path, `{"name":"x","type":"warp","match":[{"platform":"beos"}]}`, 400, "/match/0/platform"},
		{"too many platforms", "POST", path, `{"name":"x","type":"warp","match":[` + strings.Repeat(`{"platform":"mac"},`, 16) + `{"platform":"mac"}]}`, 400, "/match"},
		{"a large input", "POST", path, `{"name":"x","type":"intune","input":{"a":"` + strings.Repeat("x", 9000) + `"}}`, 400, "/input"},
		{"an input that is no object", "POST", path, `{"name":"x","type":"warp","input":5}`, 400, "/input"},
		{"an unknown key", "POST", path, `{"name":"x","type":"warp","when":"5m"}`, 400, "/when"},
		{"an unknown rule", "GET", path + "/no", ``, 404, ""},
		{"an unknown rule to replace", "PUT", path + "/no", body, 404, ""},
		{"an unknown rule to delete", "DELETE", path + "/no", ``, 404, ""},
		{"another account", "GET", "/client/v4/accounts/00000000000000000000000000000000/devices/posture", ``, 404, ""},
	} {
		r := c.admin(t, tc.method, tc.path, tc.body)
		if r.status != tc.status || tc.pointer != "" && (r.env.Errors[0].Source == nil || r.env.Errors[0].Source.Pointer != tc.pointer) {
			t.Errorf("%s: %d %s", tc.name, r.status, r.raw)
		}
	}
	if r := c.do(t, "POST", path, reader, body); r.status != 403 {
		t.Errorf("a token that reads writes: %d", r.status)
	}
	if r := c.do(t, "GET", at, reader, ""); r.status != 200 {
		t.Errorf("a token that reads cannot: %d", r.status)
	}
	if r := c.good(t, "DELETE", at, ""); r.result["id"] != made["id"] {
		t.Errorf("%s", r.raw)
	}
}

func TestPostureIntegrations(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/devices/posture/integration"
	made := c.good(t, "POST", path, `{"name":"crowd","type":"crowdstrike_s2s","interval":"10m","config":{"api_url":"https://x","client_id":"id","client_secret":"hunter2","customer_id":"c"}}`)
	if strings.Contains(string(made.raw), "hunter2") || made.result["config"].(map[string]any)["api_url"] != "https://x" {
		t.Errorf("%s", made.raw)
	}
	at := path + "/" + made.result["id"].(string)
	if r := c.good(t, "PATCH", at, `{"interval":"30m"}`); r.result["interval"] != "30m" || r.result["name"] != "crowd" {
		t.Errorf("%s", r.raw)
	}
	if r := c.good(t, "GET", path, ""); len(r.list) != 1 || strings.Contains(string(r.raw), "hunter2") {
		t.Errorf("%s", r.raw)
	}
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"an interval that is none", "PATCH", at, `{"interval":"x"}`, 400},
		{"a type that is none", "POST", path, `{"name":"x","type":"x","interval":"10m"}`, 400},
		{"an unknown one", "PATCH", path + "/no", `{}`, 404},
		{"an unknown one to read", "GET", path + "/no", ``, 404},
	} {
		if r := c.admin(t, tc.method, tc.path, tc.body); r.status != tc.status {
			t.Errorf("%s: %s", tc.name, r.raw)
		}
	}
	c.good(t, "DELETE", at, "")
	if r := c.admin(t, "GET", at, ""); r.status != 404 {
		t.Errorf("%d", r.status)
	}
}
