package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weft/control/controltest"
	"weft/control/store"
)

const oidcConfig = `{"client_id":"id","client_secret":"hush","auth_url":"https://idp.example.com/auth","token_url":"https://idp.example.com/token",` +
	`"certs_url":"https://idp.example.com/keys","scopes":["openid","email"],"claims":["groups"],"pkce_enabled":true,"email_claim_name":"email"}`

func providerBody(typ, config string) string {
	return fmt.Sprintf(`{"name":"corp","type":"%s","config":%s,"scim_config":{}}`, typ, config)
}

func TestIdentityProviders_AsClientsUseThem(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/access/identity_providers"
	made := c.good(t, "POST", path, providerBody("oidc", oidcConfig))
	config, _ := made.result["config"].(map[string]any)
	if made.result["type"] != "oidc" || config["client_id"] != "id" || config["client_secret"] != nil || fmt.Sprint(config["scopes"]) != "[openid email]" {
		t.Errorf("made %s", made.raw)
	}
	at := path + "/" + text(made.result, "id")
	for what, r := range map[string]reply{"read": c.good(t, "GET", at, ""), "list": c.good(t, "GET", path, ""), "audit": c.good(t, "GET", "~/audit_logs", "")} {
		if strings.Contains(string(r.raw), "hush") {
			t.Errorf("%s tells the secret: %s", what, r.raw)
		}
	}
	// What was read may be written back: the secret stays.
	again := c.good(t, "PUT", at, providerBody("oidc", strings.Replace(oidcConfig, "hush", strings.Repeat("*", 34), 1))).result
	if again["created_at"] != made.result["created_at"] || fmt.Sprint(again["config"]) != fmt.Sprint(made.result["config"]) {
		t.Errorf("written back %v", again)
	}
	// Left out it stays as well; "" is none, which an oidc provider needs.
	c.good(t, "PUT", at, providerBody("oidc", strings.Replace(oidcConfig, `"client_secret":"hush",`, "", 1)))
	if r := c.admin(t, "PUT", at, providerBody("oidc", strings.Replace(oidcConfig, "hush", "", 1))); r.status != http.StatusBadRequest {
		t.Errorf("without a secret: %s", r.raw)
	}
	pin := c.good(t, "POST", path, `{"name":"PIN","type":"onetimepin","config":{},"scim_config":{}}`).result
	other := c.good(t, "POST", path, providerBody("azureAD", `{"client_id":"x","client_secret":"y","directory_id":"z","support_groups":true,"anything":{"at":["all"]}}`)).result
	if got := fmt.Sprint(other["config"]); !strings.Contains(got, "directory_id:z") || !strings.Contains(got, "anything:map[at:[all]]") || strings.Contains(got, "client_secret:y") {
		t.Errorf("the fields of another type: %s", got)
	}
	for query, want := range map[string]int{"": 3, "?scim_enabled=true": 0, "?page=2": 0, "?per_page=2": 2} {
		if l := c.good(t, "GET", path+query, ""); len(l.list) != want {
			t.Errorf("%q: %s", query, l.raw)
		}
	}
	for _, body := range []string{
		`{"name":"x","type":"ldap","config":{}}`, `{"name":"","type":"github","config":{}}`, `{"name":"x","type":"github","config":[]}`, `{"name":"x","type":"github","config":{},"x":1}`,
		`{"name":"PIN2","type":"onetimepin","config":{}}`, `{"name":"x","type":"github","config":{"a":"` + strings.Repeat("x", 70_000) + `"}}`,
		providerBody("oidc", `{}`), providerBody("oidc", strings.Replace(oidcConfig, "https://idp.example.com/auth", "http://idp.example.com/auth", 1)),
		providerBody("oidc", strings.Replace(oidcConfig, `"id"`, `7`, 1)), providerBody("oidc", strings.Replace(oidcConfig, `["openid","email"]`, `"openid"`, 1)),
		providerBody("oidc", strings.Replace(oidcConfig, `["groups"]`, `[7]`, 1)), providerBody("oidc", strings.Replace(oidcConfig, `:true`, `:"yes"`, 1)),
		providerBody("oidc", strings.Replace(oidcConfig, "hush", strings.Repeat("*", 34), 1)), providerBody("onetimepin", `{"client_id":"x"}`),
	} {
		if r := c.admin(t, "POST", path, body); r.status != http.StatusBadRequest {
			t.Errorf("%.200s: %d %s", body, r.status, r.raw)
		}
	}
	if r := c.admin(t, "PUT", at, providerBody("github", `{}`)); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "/type") {
		t.Errorf("another type: %d %s", r.status, r.raw)
	}
	group := c.good(t, "POST", "~/access/groups", fmt.Sprintf(`{"name":"admins","include":[{"azureAD":{"id":"g","identity_provider_id":"%s"}}]}`, other["id"])).result
	if r := c.admin(t, "DELETE", path+"/"+text(other, "id"), ""); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "rule group admins") {
		t.Errorf("deleted while in use: %d %s", r.status, r.raw)
	}
	c.good(t, "DELETE", "~/access/groups/"+text(group, "id"), "")
	for _, id := range []string{text(other, "id"), text(pin, "id"), text(made.result, "id")} {
		if r := c.good(t, "DELETE", path+"/"+id, ""); r.result["id"] != id {
			t.Errorf("deleted %s", r.raw)
		}
	}
	if r := c.admin(t, "GET", at, ""); r.status != http.StatusNotFound {
		t.Errorf("deleted: %d", r.status)
	}
}

func TestOrganization_AsClientsUseIt(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const path = "~/access/organizations"
	first := c.good(t, "GET", path, "").result
	if first["name"] != "weft" || first["auth_domain"] == "" || first["session_duration"] != "24h" {
		t.Errorf("before anybody wrote %v", first)
	}
	made := c.good(t, "POST", path, `{"name":"Company","auth_domain":"Company.example.com","login_design":{"background_color":"#fff","logo_path":"","text_color":"","header_text":"","footer_text":"bye"},`+
		`"is_ui_read_only":true,"ui_read_only_toggle_reason":"terraform","session_duration":"12h","warp_auth_session_duration":"36h","user_seat_expiration_inactive_time":"1460h",`+
		`"allow_authenticate_via_warp":true,"auto_redirect_to_identity":false,"custom_pages":{},"mfa_config":null,"deny_unmatched_requests":false}`).result
	for name, want := range map[string]any{"name": "Company", "auth_domain": "Company.example.com", "session_duration": "12h", "warp_auth_session_duration": "36h", "is_ui_read_only": true, "auto_redirect_to_identity": false} {
		if made[name] != want {
			t.Errorf("%s is %v, want %v", name, made[name], want)
		}
	}
	if r := c.admin(t, "POST", path, `{"name":"again"}`); r.status != http.StatusBadRequest {
		t.Errorf("made again: %d", r.status)
	}
	if up := c.good(t, "PUT", path, `{"name":"Company","login_design":null,"deny_unmatched_requests":true,"deny_unmatched_requests_exempted_zone_names":["a.example.com"]}`).result; up["deny_unmatched_requests"] != true ||
		fmt.Sprint(up["deny_unmatched_requests_exempted_zone_names"]) != "[a.example.com]" {
		t.Errorf("updated %v", up)
	}
	up := c.good(t, "PUT", path, `{"session_duration":"8h"}`).result
	if up["session_duration"] != "8h" || up["name"] != "Company" || up["auth_domain"] != "Company.example.com" || up["created_at"] != made["created_at"] {
		t.Errorf("updated %v", up)
	}
	if len(up) != 5 { // those and updated_at: what a PUT leaves out is not set any longer
		t.Errorf("after a PUT of one field %v", up)
	}
	for body, pointer := range map[string]string{
		`{"name":""}`: "/name", `{"name":"` + strings.Repeat("x", 351) + `"}`: "/name", `{"auth_domain":"a b"}`: "/auth_domain", `{"auth_domain":"` + strings.Repeat("x", 254) + `"}`: "/auth_domain",
		`{"session_duration":"1m"}`: "/session_duration", `{"session_duration":"731h"}`: "/session_duration", `{"session_duration":"soon"}`: "/session_duration",
		`{"warp_auth_session_duration":"-1h"}`: "/warp_auth", `{"user_seat_expiration_inactive_time":"1h"}`: "/user_seat", `{"login_design":{"font":"x"}}`: "/login_design/font",
		`{"login_design":{"footer_text":"` + strings.Repeat("x", 2049) + `"}}`: "/login_design/footer_text", `{"custom_pages":{"x":"y"}}`: "/custom_pages/x",
		`{"mfa_required_for_all_apps":true}`: "/mfa_required", `{"mfa_config":{"mfa_disabled":true}}`: "/mfa_config", `{"deny_unmatched_requests_exempted_zone_names":["a b"]}`: "/deny_unmatched_requests_exempted_zone_names/0",
		`{"ui_read_only_toggle_reason":"` + strings.Repeat("x", 1001) + `"}`: "/ui_read_only", `{"nam":"x"}`: "nam",
	} {
		if r := c.admin(t, "PUT", path, body); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), pointer) {
			t.Errorf("%.100s: %d %s", body, r.status, r.raw)
		}
	}
	if got := c.good(t, "GET", path, "").result; got["name"] != "Company" || got["session_duration"] != "8h" {
		t.Errorf("after the refusals %v", got)
	}
}

// TestIdentityProviders_OthersFields: what is said of other types and of SCIM comes back as it was written, an api_token to those
// only who may write it.
func TestIdentityProviders_OthersFields(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/access/identity_providers"
	scim := `{"enabled":true,"user_deprovision":true,"seat_deprovision":true,"group_member_deprovision":false,"identity_update_behavior":"no_action"}`
	body := `{"name":"okta","type":"okta","config":{"client_id":"a","client_secret":"hush","api_token":"wink","okta_account":"https://x.okta.com"},"scim_config":` + scim + `}`
	made := c.good(t, "POST", path, body)
	at := path + "/" + text(made.result, "id")
	replaced := c.good(t, "PUT", at, strings.Replace(body, `"secret"`, `"x"`, 1))
	for what, r := range map[string]reply{"made": made, "replaced": replaced, "read": c.good(t, "GET", at, "")} {
		config, _ := r.result["config"].(map[string]any)
		if config["api_token"] != "wink" || config["okta_account"] != "https://x.okta.com" || config["client_secret"] != nil {
			t.Errorf("%s for a writer: %v", what, config)
		}
		got, _ := r.result["scim_config"].(map[string]any)
		if len(got) != 5 || got["enabled"] != true || got["identity_update_behavior"] != "no_action" {
			t.Errorf("%s: SCIM %v", what, got)
		}
	}
	reader := newToken(t, s, store.TokenFields{Permissions: []string{"Access: Organizations, Identity Providers, and Groups Read"}})
	for what, r := range map[string]reply{"read": c.do(t, "GET", at, reader, ""), "list": c.do(t, "GET", path, reader, ""), "audit": c.good(t, "GET", "~/audit_logs", "")} {
		if strings.Contains(string(r.raw), "hush") || strings.Contains(string(r.raw), "wink") || !strings.Contains(string(r.raw), strings.Repeat("*", 34)) {
			t.Errorf("%s for a reader: %s", what, r.raw)
		}
	}
	// Written back as a reader saw it.
	c.good(t, "PUT", at, strings.NewReplacer("wink", strings.Repeat("*", 34), `"client_secret":"hush",`, "").Replace(body))
	if config, _ := c.good(t, "GET", at, "").result["config"].(map[string]any); config["api_token"] != "wink" {
		t.Errorf("written back: %v", config)
	}
	for query, want := range map[string]int{"?scim_enabled=true": 1, "?scim_enabled=false": 0} {
		if l := c.good(t, "GET", path+query, ""); len(l.list) != want {
			t.Errorf("%q: %s", query, l.raw)
		}
	}
	got := c.good(t, "PUT", at, strings.Replace(body, scim, `{"enabled":true,"secret":"s"}`, 1)).result
	if fmt.Sprint(got["scim_config"]) != "map[enabled:true]" { // a secret is given out by who serves SCIM
		t.Errorf("with a secret of SCIM: %v", got)
	}
}
