package control_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"weft/control/controltest"
)

func keys(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

// The bodies below are those that the Terraform providers and SDKs send, as recorded in the wire reference.

func TestTargets_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const path = "~/infrastructure/targets"
	made := c.good(t, "POST", path, `{"hostname":"Infra-Access-Target","ip":{"ipv4":{"ip_addr":"187.26.29.249","virtual_network_id":""},"ipv6":{"ip_addr":"64C0:64e8::5E0"}}}`).result
	id, _ := made["id"].(string)
	if keys(made) != "created_at hostname id ip modified_at" || made["hostname"] != "Infra-Access-Target" {
		t.Errorf("made %v", made)
	}
	read := c.good(t, "GET", path+"/"+id, `{"ignored":true}`).result
	if fmt.Sprint(read) != fmt.Sprint(made) || !strings.Contains(fmt.Sprint(read), "64C0:64e8::5E0") {
		t.Errorf("read %v, made %v", read, made)
	}
	changed := c.good(t, "PUT", path+"/"+id, `{"hostname":"Infra-Access-Target","ip":{"ipv4":{"ip_addr":"187.26.29.249"}}}`).result
	if changed["created_at"] != made["created_at"] || strings.Contains(fmt.Sprint(changed), "ipv6") {
		t.Errorf("changed %v", changed)
	}
	list := c.good(t, "GET", path+"?page=1&per_page=25&hostname=infra-access-target&ignored=1", "")
	if len(list.list) != 1 || list.env.ResultInfo == nil || list.env.ResultInfo.TotalPages != 1 || list.env.ResultInfo.PerPage != 25 {
		t.Errorf("list %s", list.raw)
	}
	past := c.good(t, "GET", path+"?page=2", "")
	if past.list == nil || len(past.list) != 0 {
		t.Errorf("past the end: %s", past.raw)
	}
	batch := c.good(t, "PUT", path+"/batch", `[{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.1"}}},{"hostname":"b","ip":{"ipv4":{"ip_addr":"10.0.0.2"}}}]`)
	if len(batch.list) != 2 {
		t.Errorf("batch %s", batch.raw)
	}
	c.good(t, "POST", path+"/batch_delete", fmt.Sprintf(`{"target_ids":["%s","%s"]}`, batch.list[0]["id"], batch.list[1]["id"]))
	c.good(t, "DELETE", path+"/"+id, "")
	if r := c.admin(t, "GET", path+"/"+id, ""); r.status != http.StatusNotFound {
		t.Errorf("deleted: %d", r.status)
	}
}

func TestApplications_AsTerraform4UsesThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	body := func(id, name string) string {
		return `{` + id + `"app_launcher_visible":false,"auto_redirect_to_identity":false,"domain":"","enable_binding_cookie":false,"http_only_cookie_attribute":false,"name":"` + name +
			`","private_address":"","destinations":null,"service_auth_401_redirect":false,"skip_interstitial":false,"options_preflight_bypass":false,"type":"infrastructure","session_duration":"24h",` +
			`"target_criteria":[{"target_attributes":{"hostname":["infra-access-target"]},"port":22,"protocol":"SSH"}],` +
			`"landing_page_design":{"title":"","message":"","image_url":"","button_color":"","button_text_color":""},"app_launcher_logo_url":"","header_bg_color":"","bg_color":"","footer_links":null}`
	}
	app := c.good(t, "POST", "~/access/apps", body("", "one")).result
	path := fmt.Sprintf("~/access/apps/%s", app["id"])
	policy := c.good(t, "POST", path+"/policies", `{"precedence":3,"decision":"allow","name":"p","isolation_required":false,"session_duration":"","purpose_justification_required":false,`+
		`"purpose_justification_prompt":"","approval_required":false,"approval_groups":null,"connection_rules":{"ssh":{"usernames":["root","ec2-user"],"allow_email_alias":null}},`+
		`"include":[{"email":{"email":"JDoe@company.com"}}],"exclude":null,"require":null}`).result
	if policy["precedence"] != 3.0 || policy["session_duration"] != nil || !strings.Contains(fmt.Sprint(policy), "JDoe@company.com") {
		t.Errorf("policy %v", policy)
	}
	c.good(t, "PUT", path, body(`"id":"x",`, "two")) // without policies: they stay
	if app = c.good(t, "GET", path, "").result; keys(app) != "aud id name policies target_criteria type" || len(app["policies"].([]any)) != 1 || app["name"] != "two" {
		t.Errorf("application %v", app)
	}
	at := fmt.Sprintf("%s/policies/%s", path, policy["id"])
	c.good(t, "GET", at, "")
	if list := c.good(t, "GET", path+"/policies?ApplicationID=x&page=1&per_page=25", ""); len(list.list) != 1 {
		t.Errorf("policies %s", list.raw)
	}
	if r := c.good(t, "DELETE", at, ""); r.result["id"] != policy["id"] {
		t.Errorf("deleted policy: %s", r.raw)
	}
	for _, gone := range []string{at, path + "/policies/nonsense"} {
		if r := c.admin(t, "GET", gone, ""); r.status != http.StatusNotFound {
			t.Errorf("%s: %d", gone, r.status)
		}
	}
	if r := c.good(t, "DELETE", path, ""); r.result["id"] != app["id"] {
		t.Errorf("deleted application: %s", r.raw)
	}
	if r := c.admin(t, "DELETE", at, ""); r.status != http.StatusNotFound {
		t.Errorf("policy of a deleted application: %d", r.status)
	}
}

func TestApplications_AsTerraform5UsesThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	body := func(policies string) string {
		return `{"name":"Example","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["b","a"]},"port":22,"protocol":"SSH"}]` + policies + `}`
	}
	policies := `,"policies":[{"name":"first","decision":"allow","precedence":1,"include":[{"email":{"email":"a@b.c"}}],"connection_rules":{"ssh":{"usernames":["root"]}}},` +
		`{"name":"second","decision":"allow","precedence":2,"include":[{"everyone":{}}],"exclude":[{"geo":{"country_code":"PT"}}],"connection_rules":{"ssh":{"usernames":[],"allow_email_alias":true}}}]`
	app := c.good(t, "POST", "~/access/apps", body(policies)).result
	path := fmt.Sprintf("~/access/apps/%s", app["id"])
	if got := fmt.Sprint(app["target_criteria"]); !strings.Contains(got, "hostname:[b a]") {
		t.Errorf("criteria %v", got)
	}
	if ps := app["policies"].([]any); len(ps) != 2 || ps[0].(map[string]any)["name"] != "first" {
		t.Errorf("policies %v", app["policies"])
	}
	again := c.good(t, "PUT", path, body(policies)).result
	if id := func(a map[string]any) any { return a["policies"].([]any)[0].(map[string]any)["id"] }; id(again) != id(app) {
		t.Error("the policies changed their identity")
	}
	if app = c.good(t, "PUT", path, body(`,"policies":null`)).result; len(app["policies"].([]any)) != 2 {
		t.Errorf("null: %v", app["policies"])
	}
	if app = c.good(t, "PUT", path, body(`,"policies":[]`)).result; len(app["policies"].([]any)) != 0 {
		t.Errorf("none: %v", app["policies"])
	}
	if list := c.good(t, "GET", "~/access/apps?exact=true&name=example&target_attributes=hostname=a", ""); len(list.list) != 1 {
		t.Errorf("list %s", list.raw)
	}
	if list := c.good(t, "GET", "~/access/apps?exact=true&name=exam", ""); len(list.list) != 0 {
		t.Errorf("list %s", list.raw)
	}
}

func TestNetworksRoutesTunnels_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	n := c.good(t, "POST", "~/teamnet/virtual_networks", `{"name":"staging","comment":"","is_default":false}`).result
	if keys(n) != "comment created_at deleted_at id is_default_network name" {
		t.Errorf("network %v", n)
	}
	if r := c.good(t, "GET", fmt.Sprintf("~/teamnet/virtual_networks?id=%s&is_deleted=false", n["id"]), `{"ID":"x","Name":"","IsDefault":null,"IsDeleted":false}`); len(r.list) != 1 || r.env.ResultInfo != nil {
		t.Errorf("list %s", r.raw)
	}
	if r := c.good(t, "GET", "~/teamnet/virtual_networks?page=2&per_page=1", ""); len(r.list) != 1 || r.list[0]["name"] != "staging" {
		t.Errorf("the second page %s", r.raw)
	}
	if r := c.admin(t, "GET", "~/teamnet/virtual_networks?page=0", ""); r.status != http.StatusBadRequest {
		t.Errorf("no page %s", r.raw)
	}
	if r := c.good(t, "PATCH", fmt.Sprintf("~/teamnet/virtual_networks/%s", n["id"]), `{"comment":"changed"}`); r.result["comment"] != "changed" || r.result["name"] != "staging" {
		t.Errorf("patched %s", r.raw)
	}
	tun := c.good(t, "POST", "~/cfd_tunnel", `{"name":"lab","tunnel_secret":"AQIDBAUGBwgBAgMEBQYHCAECAwQFBgcIAQIDBAUGBwg=","config_src":"local"}`).result
	if tun["token"] == nil || strings.Contains(fmt.Sprint(tun), "AQIDBAUGBwgBAgMEBQYHCAECAwQFBgcIAQIDBAUGBwg") {
		t.Errorf("tunnel %v", tun)
	}
	tunnel := fmt.Sprintf("~/cfd_tunnel/%s", tun["id"])
	if r := c.good(t, "GET", tunnel+"/token", ""); string(r.env.Result) != fmt.Sprintf("%q", tun["token"]) {
		t.Errorf("token %s", r.raw)
	}
	if r := c.admin(t, "POST", "~/cfd_tunnel", `{"name":"LAB"}`); r.status != http.StatusConflict || r.header.Get("X-Should-Retry") != "false" {
		t.Errorf("name clash: %d %v", r.status, r.header)
	}
	old := "~/teamnet/routes/network/" + url.PathEscape("10.0.0.0/24")
	route := c.good(t, "POST", old, fmt.Sprintf(`{"tunnel_id":"%s","comment":"c","virtual_network_id":"%s"}`, tun["id"], n["id"])).result
	if route["network"] != "10.0.0.0/24" || route["comment"] != "c" {
		t.Errorf("route %v", route)
	}
	c.good(t, "PATCH", old, fmt.Sprintf(`{"network":"10.0.0.0/24","tunnel_id":"%s","comment":"d","virtual_network_id":"%s"}`, tun["id"], n["id"]))
	if r := c.good(t, "GET", fmt.Sprintf("~/teamnet/routes?is_deleted=false&network_subset=10.0.0.0%%2F24&network_superset=10.0.0.0%%2F24&virtual_network_id=%s", n["id"]), ""); len(r.list) != 1 ||
		r.list[0]["tunnel_name"] != "lab" || r.list[0]["comment"] != "d" {
		t.Errorf("list %s", r.raw)
	}
	if info := c.good(t, "GET", "~/teamnet/routes", "").env.ResultInfo; info == nil || info.PerPage != 1000 {
		t.Errorf("a program that reads one page of routes gets %+v", info)
	}
	if r := c.good(t, "GET", fmt.Sprintf("~/teamnet/routes/ip/10.0.0.9?virtual_network_id=%s", n["id"]), ""); r.result["id"] != route["id"] {
		t.Errorf("by address %s", r.raw)
	}
	id := fmt.Sprintf("~/teamnet/routes/%s", route["id"])
	c.good(t, "PATCH", id, `{"comment":"e"}`)
	if r := c.good(t, "GET", id, ""); r.result["comment"] != "e" {
		t.Errorf("read %s", r.raw)
	}
	if r := c.admin(t, "DELETE", tunnel, ""); r.status != http.StatusBadRequest || r.env.Errors[0].Code != 1023 {
		t.Errorf("tunnel in use: %s", r.raw)
	}
	c.good(t, "DELETE", old+fmt.Sprintf("?virtual_network_id=%s", n["id"]), "")
	if r := c.admin(t, "GET", id, ""); r.status != http.StatusNotFound || r.env.Errors[0].Code != 1015 {
		t.Errorf("deleted route: %s", r.raw)
	}
	c.good(t, "DELETE", tunnel+"/connections", "")
	if r := c.good(t, "DELETE", tunnel, ""); r.result["deleted_at"] == nil {
		t.Errorf("deleted tunnel: %s", r.raw)
	}
	c.good(t, "DELETE", fmt.Sprintf("~/teamnet/virtual_networks/%s", n["id"]), "")
}

func TestDevicesAndUsers_AsClientsUseThem(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	one, two := s.Enrol("a@b.c", "one"), s.Enrol("a@b.c", "two")
	if r := c.good(t, "GET", "~/devices", ""); len(r.list) != 2 {
		t.Errorf("devices %s", r.raw)
	}
	seen := map[any]bool{}
	for cursor, pages := "", 0; ; pages++ {
		r := c.good(t, "GET", "~/devices/registrations?per_page=1&cursor="+cursor, "")
		for _, x := range r.list {
			seen[x["id"]] = true
		}
		info := map[string]any{}
		decode(t, r.raw, &struct {
			Info *map[string]any `json:"result_info"`
		}{&info})
		if cursor, _ = info["cursor"].(string); cursor == "" || pages > 3 {
			break
		}
	}
	if !seen[one.RegistrationID] || !seen[two.RegistrationID] || len(seen) != 2 {
		t.Errorf("registrations %v", seen)
	}
	c.good(t, "GET", "~/devices/registrations/"+one.RegistrationID, "")
	c.good(t, "GET", "~/devices/physical-devices/"+one.DeviceID, "")
	status := func(e string) string {
		return fmt.Sprint(c.good(t, "GET", "~/devices/"+e, "").result["revoked_at"] != nil)
	}
	for _, step := range []struct{ method, path, body, want string }{
		{"POST", "~/devices/revoke", `["` + one.RegistrationID + `"]`, "true"},
		{"POST", "~/devices/unrevoke", `["` + one.RegistrationID + `"]`, "false"},
		{"POST", "~/devices/registrations/revoke?id=" + one.RegistrationID + "&id=" + two.RegistrationID, "", "true"},
		{"POST", "~/devices/registrations/unrevoke?id=" + one.RegistrationID, "", "false"},
		{"POST", "~/devices/physical-devices/" + one.DeviceID + "/revoke", "", "true"},
	} {
		if r := c.good(t, step.method, step.path, step.body); string(r.env.Result) != "null" {
			t.Errorf("%s: result %s", step.path, r.env.Result)
		}
		if got := status(one.RegistrationID); got != step.want {
			t.Errorf("%s: revoked is %s", step.path, got)
		}
	}
	users := c.good(t, "GET", "~/access/users?email=A@B.C", "")
	if len(users.list) != 1 || users.list[0]["active_device_count"] != 0.0 {
		t.Errorf("users %s", users.raw)
	}
	c.good(t, "GET", fmt.Sprintf("~/access/users/%s", users.list[0]["id"]), "")
	if r := c.good(t, "POST", "~/access/organizations/revoke_user?devices=true", `{"email":"a@b.c","devices":true}`); string(r.env.Result) != "true" {
		t.Errorf("revoked user: %s", r.raw)
	}
	ca := c.good(t, "POST", "~/access/gateway_ca", "").result
	if key, _ := ca["public_key"].(string); !strings.HasPrefix(key, "ecdsa-sha2-nistp256 AAAA") || keys(ca) != "id public_key" {
		t.Errorf("CA %v", ca)
	}
	if r := c.good(t, "GET", "~/access/gateway_ca", ""); len(r.list) != 1 {
		t.Errorf("CAs %s", r.raw)
	}
	if r := c.admin(t, "POST", "~/access/gateway_ca", ""); r.status != http.StatusBadRequest {
		t.Errorf("second CA: %s", r.raw)
	}
	c.good(t, "DELETE", fmt.Sprintf("~/access/gateway_ca/%s", ca["id"]), "")
	if r := c.good(t, "GET", "/client/v4/user/tokens/verify", ""); r.result["status"] != "active" {
		t.Errorf("token %s", r.raw)
	}
}
