package control_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"weft/access"
	"weft/api"
	"weft/control/controltest"
	"weft/control/store"
)

// A profile's networks are all that its devices are told of, at the agent and at the gateway.
func TestDeviceProfiles_LimitNetworks(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	standard, staging, prod := s.DefaultVNET(), s.VNET("staging"), s.VNET("prod")
	s.Target("web", "10.0.0.9", staging)
	s.Target("web", "10.0.0.9", prod)
	s.Target("web", "10.0.0.10", standard)
	s.App("ssh", "web", "SSH", 22, "", "root")
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	dev, other := s.Enrol("jdoe@company.com", "laptop"), s.Enrol("root@company.com", "server")
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	agent.until(t, "three networks", func(a *api.AgentState) bool { return len(a.Networks) == 3 && len(a.Entries) == 3 })

	profile := c.good(t, "POST", "~/devices/policy", fmt.Sprintf(`{"name":"contractors","match":"identity.email == \"JDoe@company.com\"","precedence":10,
		"virtual_networks":{"allowed":["%s"],"default":"%s"}}`, staging, staging)).result
	a := agent.until(t, "one network", func(a *api.AgentState) bool { return len(a.Networks) == 1 && len(a.Entries) == 1 })
	if n := a.Networks[staging]; !n.Default {
		t.Errorf("the profile's default is not the device's: %+v", a.Networks)
	}
	g := gateway.until(t, "one slot", func(g *api.GatewayState) bool { return len(g.Devices[dev.DeviceID].Slots) == 1 })
	if _, ok := g.Devices[dev.DeviceID].Slots[a.Networks[staging].ID]; !ok || len(g.Devices[other.DeviceID].Slots) != 3 {
		t.Errorf("slots %v, of another device %v", g.Devices[dev.DeviceID].Slots, g.Devices[other.DeviceID].Slots)
	}
	flow := explain(t, s, api.ExplainRequest{Email: "jdoe@company.com", Target: "web", VNET: "prod", Port: 22})
	if raw, _ := json.Marshal(flow); !strings.Contains(string(raw), api.CodeVNETNotPermitted) {
		t.Errorf("explained as %s", raw)
	}

	// Another default, for all others.
	c.good(t, "PATCH", "~/devices/policy", fmt.Sprintf(`{"virtual_networks":{"allowed":["%s","%s"],"default":"%s"}}`, prod, staging, prod))
	gateway.until(t, "two slots", func(g *api.GatewayState) bool { return len(g.Devices[other.DeviceID].Slots) == 2 })
	if r := c.admin(t, "DELETE", "~/teamnet/virtual_networks/"+staging, ""); r.status != 400 {
		t.Errorf("a network of a profile was deleted: %s", r.raw)
	}

	// Nobody can tell whether the profile matches: it limits, and the default one does too.
	at := fmt.Sprintf("~/devices/policy/%s", profile["policy_id"])
	c.good(t, "PATCH", at, `{"match":"os.version == \"1\""}`)
	agent.until(t, "the networks of both profiles", func(a *api.AgentState) bool { return len(a.Networks) == 1 && len(a.Entries) == 1 })
	// It does not match: the default profile's two.
	report(t, s, dev.Token, api.PostureReport{Facts: api.DeviceFacts{OSVersion: "2"}})
	agent.until(t, "the default profile", func(a *api.AgentState) bool { return len(a.Networks) == 2 && a.Networks[prod].Default })
	c.good(t, "PATCH", at, `{"match":"os.name in {\"mac\" \"linux\"}"}`)
	agent.until(t, "the profile by system", func(a *api.AgentState) bool { return len(a.Networks) == 1 })
	c.good(t, "PATCH", at, `{"enabled":false}`)
	agent.until(t, "the default profile", func(a *api.AgentState) bool { return len(a.Networks) == 2 })
	c.good(t, "DELETE", at, "")
	c.good(t, "PATCH", "~/devices/policy", `{"virtual_networks":null}`)
	agent.until(t, "all networks", func(a *api.AgentState) bool { return len(a.Networks) == 3 && a.Networks[standard].Default })
}

func TestDeviceProfiles(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const one, all = "~/devices/policy", "~/devices/policies"
	first := c.good(t, "GET", one, "").result
	if first["default"] != true || first["enabled"] != true || first["policy_id"] != "default" || first["tunnel_protocol"] != "wireguard" {
		t.Errorf("%v", first)
	}
	for _, k := range []string{"name", "description"} { // Terraform 4 would plan to change what it cannot send
		if v, there := first[k]; there {
			t.Errorf("the default profile has the %s %q", k, v)
		}
	}
	body := `{"name":"laptops","description":"d","match":"any(identity.groups.name[*] in {\"eng\"})","precedence":100,"switch_locked":true,"auto_connect":15,
		"service_mode_v2":{"mode":"proxy","port":3000},"support_url":"https://help","exclude":[{"address":"192.0.2.0/24","description":"TEST-NET-1"}],"lan_allow_minutes":null}`
	made := c.good(t, "POST", one, body).result
	at := fmt.Sprintf("%s/%s", one, made["policy_id"])
	for k, want := range map[string]any{"name": "laptops", "switch_locked": true, "auto_connect": 15.0, "precedence": 100.0, "default": false, "match": `any(identity.groups.name[*] in {"eng"})`, "captive_portal": 180.0} {
		if made[k] != want {
			t.Errorf("%s is %v", k, made[k])
		}
	}
	if r := c.good(t, "PATCH", at, `{"switch_locked":null,"auto_connect":30}`).result; r["switch_locked"] != false || r["auto_connect"] != 30.0 || r["support_url"] != "https://help" {
		t.Errorf("%v", r)
	}
	if v, there := made["lan_allow_minutes"]; there { // was written as null, so as nothing
		t.Errorf("lan_allow_minutes is %v", v)
	}
	if r := c.good(t, "PATCH", at, `{"lan_allow_minutes":0,"lan_allow_subnet_size":24}`).result; r["lan_allow_minutes"] != 0.0 || r["lan_allow_subnet_size"] != 24.0 {
		t.Errorf("%v", r)
	}
	if r := c.good(t, "PATCH", at, `{"include":[{"address":"10.0.0.0/8"}],"dns_search_suffixes":[{"suffix":"corp","description":"d"}]}`).result; len(r["include"].([]any)) != 1 || len(r["exclude"].([]any)) != 0 ||
		fmt.Sprint(r["dns_search_suffixes"]) != "[map[description:d suffix:corp]]" {
		t.Errorf("include in place of exclude: %v", r)
	}
	if r := c.good(t, "PATCH", at, `{"exclude":[{"address":"10.0.0.0/8"}],"dns_search_suffixes":null}`).result; len(r["exclude"].([]any)) != 1 || len(r["include"].([]any)) != 0 || fmt.Sprint(r["dns_search_suffixes"]) != "[]" {
		t.Errorf("exclude in place of include: %v", r)
	}
	for body, pointer := range map[string]string{
		`{"exclude":[{"address":"10.0.0.0/8"}],"include":[{"address":"10.0.0.0/8"}]}`: "/include", `{"dns_search_suffixes":[{"suffix":""}]}`: "/dns_search_suffixes/0/suffix",
		`{"dns_search_suffixes":[{"suffix":"a","description":"` + strings.Repeat("x", 501) + `"}]}`: "/dns_search_suffixes/0/description", `{"dns_search_suffixes":[{"name":"a"}]}`: "/dns_search_suffixes/0/name",
	} {
		if r := c.admin(t, "PATCH", at, body); r.status != 400 || !strings.Contains(string(r.raw), `"pointer":"`+pointer+`"`) {
			t.Errorf("%.80s: %s", body, r.raw)
		}
	}
	if r := c.good(t, "PUT", at+"/exclude", `[{"host":"*.example.com"},{"address":"10.0.0.1"}]`); len(r.list) != 2 || r.list[0]["host"] != "*.example.com" {
		t.Errorf("%s", r.raw)
	}
	c.good(t, "PUT", at+"/fallback_domains", `[{"suffix":"corp","dns_server":["10.0.0.53"]}]`)
	if r := c.good(t, "GET", at+"/fallback_domains", ""); len(r.list) != 1 {
		t.Errorf("%s", r.raw)
	}
	if r := c.good(t, "PUT", at+"/fallback_domains?reset_defaults=true", ""); len(r.list) != 0 {
		t.Errorf("%s", r.raw)
	}
	if r := c.good(t, "GET", at+"/include", ""); len(r.list) != 0 || r.list == nil {
		t.Errorf("%s", r.raw)
	}
	c.good(t, "PUT", one+"/include", `[{"address":"10.0.0.0/8"}]`)
	if r := c.good(t, "GET", one, "").result; len(r["include"].([]any)) != 1 {
		t.Errorf("%v", r)
	}
	if r := c.good(t, "GET", all, ""); len(r.list) != 1 || r.env.ResultInfo == nil {
		t.Errorf("%s", r.raw)
	}
	reader := newToken(t, s, store.TokenFields{Permissions: []string{"Zero Trust Read"}})
	minimal := func(insert string) string {
		return `{"name":"x","match":"os.name == \"linux\"","precedence":7` + insert + `}`
	}
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		pointer                  string
	}{
		{"no name", "POST", one, `{"match":"os.name == \"linux\"","precedence":7}`, 400, "/name"},
		{"no match", "POST", one, `{"name":"x","precedence":7}`, 400, "/match"},
		{"a match that is none", "POST", one, `{"name":"x","match":"identity.email ==","precedence":7}`, 400, "/match"},
		{"a match on traffic", "POST", one, `{"name":"x","match":"net.dst.port == 22","precedence":7}`, 400, "/match"},
		{"no precedence", "POST", one, `{"name":"x","match":"os.name == \"linux\""}`, 400, "/precedence"},
		{"a precedence that is taken", "POST", one, strings.Replace(minimal(""), ":7", ":100", 1), 400, "/precedence"},
		{"a mode that is none", "POST", one, minimal(`,"service_mode_v2":{"mode":"x"}`), 400, "/service_mode_v2/mode"},
		{"a protocol that is none", "POST", one, minimal(`,"tunnel_protocol":"x"`), 400, "/tunnel_protocol"},
		{"a long time", "POST", one, minimal(`,"auto_connect":1441`), 400, "/auto_connect"},
		{"a negative time", "POST", one, minimal(`,"captive_portal":-1`), 400, "/captive_portal"},
		{"both lists", "POST", one, minimal(`,"include":[{"host":"a"}],"exclude":[{"host":"b"}]`), 400, "/include"},
		{"an address that is none", "POST", one, minimal(`,"include":[{"address":"x"}]`), 400, "/include/0/address"},
		{"an entry of nothing", "PUT", one + "/exclude", `[{"description":"x"}]`, 400, "/exclude/0"},
		{"a suffix that is missing", "PUT", one + "/fallback_domains", `[{"dns_server":["10.0.0.1"]}]`, 400, "/fallback_domains/0/suffix"},
		{"a server that is none", "PUT", one + "/fallback_domains", `[{"suffix":"a","dns_server":["x"]}]`, 400, "/fallback_domains/0/dns_server/0"},
		{"a network that is none", "PATCH", one, `{"virtual_networks":{"allowed":["no"]}}`, 400, "/virtual_networks/allowed/0"},
		{"a default that is not allowed", "PATCH", one, `{"virtual_networks":{"allowed":["` + s.VNET("one") + `"],"default":"` + s.VNET("two") + `"}}`, 400, "/virtual_networks/default"},
		{"no default", "PATCH", one, `{"virtual_networks":{"allowed":["` + s.VNET("three") + `"]}}`, 400, "/virtual_networks/default"},
		{"an unknown key", "PATCH", one, `{"switch_lock":true}`, 400, "/switch_lock"},
		{"the default profile", "DELETE", one + "/default", ``, 400, ""},
		{"an unknown profile", "GET", one + "/no", ``, 404, ""},
		{"an unknown profile to change", "PATCH", one + "/no", `{}`, 404, ""},
		{"an unknown profile's list", "GET", one + "/no/include", ``, 404, ""},
		{"an unknown profile to delete", "DELETE", one + "/no", ``, 404, ""},
		{"another account", "GET", "/client/v4/accounts/00000000000000000000000000000000/devices/policies", ``, 404, ""},
	} {
		r := c.admin(t, tc.method, tc.path, tc.body)
		if r.status != tc.status || tc.pointer != "" && (r.env.Errors[0].Source == nil || r.env.Errors[0].Source.Pointer != tc.pointer) {
			t.Errorf("%s: %d %s", tc.name, r.status, r.raw)
		}
	}
	if r := c.do(t, "PATCH", one, reader, `{}`); r.status != 403 {
		t.Errorf("a token that reads writes: %d", r.status)
	}
	if r := c.good(t, "DELETE", at, ""); r.list == nil || len(r.list) != 0 {
		t.Errorf("%s", r.raw)
	}
}

func TestDeviceSettings(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/devices/settings"
	c.good(t, "PUT", path, `{"gateway_proxy_enabled":true,"disable_for_time":60}`)
	if r := c.good(t, "PATCH", path, `{"use_zt_virtual_ip":true,"disable_for_time":null}`).result; r["gateway_proxy_enabled"] != true || r["use_zt_virtual_ip"] != true || r["disable_for_time"] != 0.0 {
		t.Errorf("%v", r)
	}
	if r := c.good(t, "PUT", path, `{"gateway_udp_proxy_enabled":true}`).result; r["gateway_proxy_enabled"] != false {
		t.Errorf("%v", r)
	}
	for body, pointer := range map[string]string{
		`{"disable_for_time":-1}`: "/disable_for_time", `{"external_emergency_signal_url":"` + strings.Repeat("x", 501) + `"}`: "/external_emergency_signal_url", `{"gateway":1}`: "/gateway",
	} {
		if r := c.admin(t, "PATCH", path, body); r.status != 400 || r.env.Errors[0].Source == nil || r.env.Errors[0].Source.Pointer != pointer {
			t.Errorf("%s: %s", body, r.raw)
		}
	}
	c.good(t, "DELETE", path, "")
	if r := c.good(t, "GET", path, "").result; r["gateway_udp_proxy_enabled"] != false {
		t.Errorf("%v", r)
	}
}

// What control decides by itself, such as an SSH login, knows of the limit too.
func TestDeviceProfiles_LimitLogins(t *testing.T) {
	d := access.Device{ID: "d", Networks: nil}
	in := access.Query{Device: &d, Identity: &access.Identity{UserID: "u"}, VNET: "a", Destination: netip.MustParseAddrPort("10.0.0.1:22")}
	s, err := access.Compile(access.Input{})
	if err != nil {
		t.Fatal(err)
	}
	if got := access.Evaluate(s, in).Reason; got != access.NoTarget {
		t.Errorf("unlimited: %s", got)
	}
	d.Networks = append(d.Networks, "b")
	if got := access.Evaluate(s, in).Reason; got != access.VNETNotPermitted {
		t.Errorf("limited: %s", got)
	}
}
