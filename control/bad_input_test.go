package control_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weft/api"
	"weft/control/controltest"
	"weft/internal/kind"
)

func decode(t *testing.T, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("decode %s: %v", raw, err)
	}
}

func TestBadInput(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	s.Target("taken", "10.0.0.9", s.DefaultVNET())
	app := s.App("ssh", "web-1", "SSH", 22, "a@b.c", "root")
	const target = `{"hostname":"web","ip":{"ipv4":{"ip_addr":"10.0.0.10"}}}`
	appBody := func(insert string) string {
		return `{"name":"x","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["a"]},"port":22,"protocol":"SSH"}]` + insert + `}`
	}
	policy := func(insert string) string {
		return `,"policies":[{"name":"p","decision":"allow","include":[{"everyone":{}}]` + insert + `}]`
	}
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		pointer, says            string
	}{
		{"no body", "POST", "~/infrastructure/targets", ``, 400, "", "needs a JSON body"},
		{"malformed JSON", "POST", "~/infrastructure/targets", `{"hostname":`, 400, "", "not valid JSON"},
		{"another type of body", "POST", "~/infrastructure/targets", `[]`, 400, "", "does not fit"},
		{"null", "POST", "~/infrastructure/targets", `null`, 400, "", "hostname"},
		{"more after the body", "POST", "~/infrastructure/targets", target + `{}`, 400, "", "more after"},
		{"a key twice", "POST", "~/infrastructure/targets", `{"hostname":"a","hostname":"b","ip":{}}`, 400, "/hostname", "twice"},
		{"a key twice in another case", "POST", "~/infrastructure/targets", `{"hostname":"a","HostName":"b","ip":{}}`, 400, "/HostName", "twice"},
		{"a misspelt key", "POST", "~/infrastructure/targets", `{"hostnam":"a","ip":{}}`, 400, "/hostnam", "unknown"},
		{"a number for a string", "POST", "~/infrastructure/targets", `{"hostname":5}`, 400, "/hostname", "does not fit"},
		{"no UTF-8", "POST", "~/infrastructure/targets", "{\"hostname\":\"\xff\"}", 400, "", "UTF-8"},
		{"nesting without end", "POST", "~/infrastructure/targets", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat(`}`, 100), 400, "", "nested"},
		{"an oversized body", "POST", "~/infrastructure/targets", `"` + strings.Repeat("x", 1<<20) + `"`, 413, "", "larger than"},
		{"an unknown network", "POST", "~/infrastructure/targets", `{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.1","virtual_network_id":"no"}}}`, 400, "/ip/ipv4/virtual_network_id", "no virtual network"},
		{"an address that is taken", "POST", "~/infrastructure/targets", `{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.9"}}}`, 400, "", "taken"},
		{"a bad hostname in a batch", "PUT", "~/infrastructure/targets/batch", `[` + target + `,{"hostname":"-","ip":{"ipv4":{"ip_addr":"10.0.0.11"}}}]`, 400, "/1/hostname", ""},
		{"a bulk delete without body", "DELETE", "~/infrastructure/targets/batch", ``, 400, "", ""},
		{"a bulk delete of nothing", "POST", "~/infrastructure/targets/batch_delete", `{"target_ids":[]}`, 400, "/target_ids", ""},
		{"a bulk delete of something unknown", "POST", "~/infrastructure/targets/batch_delete", `{"target_ids":["no"]}`, 404, "", "no target"},
		{"an unknown target", "GET", "~/infrastructure/targets/no", ``, 404, "", "no target"},
		{"an unknown target to replace", "PUT", "~/infrastructure/targets/no", target, 404, "", "no target"},
		{"a wrong method", "PATCH", "~/infrastructure/targets", target, 405, "", "use GET, POST"},
		{"an unknown path", "GET", "~/infrastructure/nonsense", ``, 404, "", "could not route"},
		{"a trailing slash", "GET", "~/infrastructure/targets/", ``, 404, "", "could not route"},
		{"another account", "GET", "/client/v4/accounts/00000000000000000000000000000000/infrastructure/targets", ``, 404, "", "could not route"},
		{"a page that is no number", "GET", "~/infrastructure/targets?page=x", ``, 400, "", "page"},
		{"page zero", "GET", "~/infrastructure/targets?page=0", ``, 400, "", "page"},
		{"a time that is none", "GET", "~/infrastructure/targets?created_after=now", ``, 400, "", "created_after"},
		{"an address that is none", "GET", "~/infrastructure/targets?ips=x", ``, 400, "", "ips"},
		{"an address of the other family", "GET", "~/infrastructure/targets?ip_v4=::1", ``, 400, "", "ip_v4"},
		{"half a range", "GET", "~/infrastructure/targets?ipv4_start=10.0.0.1", ``, 400, "", "range"},
		{"a query that is no text", "GET", "~/infrastructure/targets?hostname=a%00b", ``, 400, "", ""},
		{"a query that is no UTF-8", "GET", "~/infrastructure/targets?hostname=%ff", ``, 400, "", ""},
		{"an ID that is no text", "GET", "~/infrastructure/targets/%00", ``, 404, "", "could not route"},
		{"an ID that is no UTF-8", "GET", "~/infrastructure/targets/%ff", ``, 404, "", "could not route"},
		{"an application's name that is no text", "POST", "~/access/apps", strings.Replace(appBody(``), `"name":"`, `"name":"\u0000`, 1), 400, "", ""},
		{"an unknown order", "GET", "~/infrastructure/targets?order=x", ``, 400, "", "order"},
		{"a query that is none", "GET", "~/infrastructure/targets?a=%zz", ``, 400, "", "query"},

		{"another type of application", "POST", "~/access/apps", `{"name":"x","type":"self_hosted"}`, 400, "/type", "infrastructure"},
		{"an unknown rule", "POST", "~/access/apps", appBody(`,"policies":[{"name":"p","decision":"allow","include":[{"nonsense":{}}]}]`), 400, "", "nonsense"},
		{"a misspelt exclude", "POST", "~/access/apps", appBody(policy(`,"excludes":[]`)), 400, "/policies/0/excludes", "unknown"},
		{"no include", "POST", "~/access/apps", appBody(`,"policies":[{"name":"p","decision":"allow","include":[]}]`), 400, "/policies/0/include", ""},
		{"deny", "POST", "~/access/apps", appBody(`,"policies":[{"name":"p","decision":"deny","include":[{"everyone":{}}]}]`), 400, "/policies/0/decision", "allow"},
		{"a restriction that is not enforced", "POST", "~/access/apps", appBody(policy(`,"approval_required":true`)), 400, "/policies/0/approval_required", "not supported"},
		{"a session duration that is not enforced", "POST", "~/access/apps", appBody(policy(`,"session_duration":"1h"`)), 400, "/policies/0/session_duration", "not supported"},
		{"mfa that is not enforced", "POST", "~/access/apps", appBody(`,"mfa_config":{"allowed_authenticators":["piv_key"]}`), 400, "/mfa_config", "not supported"},
		{"a reusable policy", "POST", "~/access/apps", appBody(`,"policies":["0193f22a-9df3-78e3-b5bb-7ab631903306"]`), 400, "/policies/0/id", "no policy"},
		{"a policy that is a number", "POST", "~/access/apps", appBody(`,"policies":[5]`), 400, "/policies/0", ""},
		{"two policies of one precedence", "POST", "~/access/apps", appBody(`,"policies":[{"name":"p","decision":"allow","precedence":1,"include":[{"everyone":{}}]},{"name":"q","decision":"allow","precedence":1,"include":[{"everyone":{}}]}]`), 400, "", "unique"},
		{"a port with two protocols", "POST", "~/access/apps", strings.Replace(appBody(``), `"SSH"`, `"TCP"`, 1), 400, "", app.ID},
		{"port zero", "POST", "~/access/apps", strings.Replace(appBody(``), `22`, `0`, 1), 400, "/target_criteria/0/port", ""},
		{"half a port", "POST", "~/access/apps", strings.Replace(appBody(``), `22`, `22.5`, 1), 400, "", "does not fit"},
		{"a policy of an unknown application", "POST", "~/access/apps/no/policies", `{"name":"p","decision":"allow","include":[{"everyone":{}}]}`, 404, "", "no application"},
		{"a policy with a key twice", "POST", "~/access/apps/" + app.ID + "/policies", `{"name":"p","name":"q"}`, 400, "/name", "twice"},

		{"a route with host bits", "POST", "~/teamnet/routes", `{"network":"10.0.0.1/24","tunnel_id":"x"}`, 400, "/network", "bits"},
		{"a route to nowhere", "POST", "~/teamnet/routes", `{"network":"10.0.0.0/24","tunnel_id":"x"}`, 400, "/tunnel_id", "no tunnel"},
		{"a route that is no prefix", "DELETE", "~/teamnet/routes/network/x", ``, 400, "", "prefix"},
		{"no route to an address", "GET", "~/teamnet/routes/ip/192.0.2.1", ``, 404, "", "no route"},
		{"a network that contradicts itself", "POST", "~/teamnet/virtual_networks", `{"name":"x","is_default":true,"is_default_network":false}`, 400, "", "contradict"},
		{"a network's name twice", "POST", "~/teamnet/virtual_networks", `{"name":"DEFAULT"}`, 400, "", "already belongs"},
		{"the default network", "DELETE", "~/teamnet/virtual_networks/" + s.DefaultVNET(), ``, 400, "", "default"},
		{"a short secret", "POST", "~/cfd_tunnel", `{"name":"x","tunnel_secret":"AAAA"}`, 400, "/tunnel_secret", "bytes"},
		{"a secret that is no base64", "POST", "~/cfd_tunnel", `{"name":"x","tunnel_secret":"***"}`, 400, "/tunnel_secret", "base64"},
		{"an unknown device", "POST", "~/devices/revoke", `["no"]`, 400, "/0", "no registration"},
		{"no device", "POST", "~/devices/registrations/revoke", ``, 400, "", "named"},
		{"an unknown user", "POST", "~/access/organizations/revoke_user", `{"email":"no@b.c"}`, 400, "/email", "no user"},
		{"a key for nobody", "POST", "/weft/v1/enrolment_keys", `{"email":"nobody"}`, 400, "/email", "e-mail"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.admin(t, tc.method, tc.path, tc.body)
			if r.status != tc.status || len(r.env.Errors) == 0 {
				t.Fatalf("status is %d, want %d: %s", r.status, tc.status, r.raw)
			}
			e := r.env.Errors[0]
			if !strings.Contains(e.Message, tc.says) || e.Code < 1000 || e.Kind == "" {
				t.Errorf("error is %+v, want one about %q", e, tc.says)
			}
			if tc.pointer != "" && (e.Source == nil || e.Source.Pointer != tc.pointer) {
				t.Errorf("error points to %+v, want %s", e.Source, tc.pointer)
			}
		})
	}
	if r := c.good(t, "GET", "~/infrastructure/targets", ""); len(r.list) != 1 {
		t.Errorf("something was half written: %s", r.raw)
	}
}

func TestCredentials(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	dev := s.Enrol("a@b.c", "laptop")
	_, connector := s.Tunnel("lab")
	gw := s.Gateway("gw").Token
	for _, tc := range []struct {
		name, method, path, token string
		status, code              int
	}{
		{"no token", "GET", "~/infrastructure/targets", "", 400, 9106},
		{"an unknown token", "GET", "~/infrastructure/targets", "weft_api_nonsense", 401, 1000},
		{"an unknown token at an unknown path", "GET", "~/nonsense", "weft_api_nonsense", 401, 1000},
		{"a device's token for the API", "GET", "~/infrastructure/targets", dev.Token, 401, 1000},
		{"a gateway's token for the API", "GET", "~/infrastructure/targets", gw, 401, 1000},
		{"an API token for an agent", "GET", api.PathAgentSelf, s.Token, 401, 1000},
		{"an API token for a gateway's stream", "GET", api.PathGatewaySync, s.Token, 401, 1000},
		{"an API token for a connector's stream", "GET", api.PathConnectorSync, s.Token, 401, 1000},
		{"a connector's token for a gateway's stream", "GET", api.PathGatewaySync, connector, 401, 1000},
		{"a device's token for certificates", "POST", api.PathGatewayCertificate, dev.Token, 401, 1000},
		{"an enormous token", "GET", "~/infrastructure/targets", strings.Repeat("x", 5000), 400, 6003},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.do(t, tc.method, tc.path, tc.token, "")
			if r.status != tc.status || r.env.Errors[0].Code != tc.code || r.env.Errors[0].Kind != string(kind.Unauthenticated) {
				t.Errorf("status %d: %s", r.status, r.raw)
			}
		})
	}
	s.Call(http.MethodPost, s.Account("/devices/revoke"), []string{dev.RegistrationID}, nil)
	if r := c.do(t, "GET", api.PathAgentSelf, dev.Token, ""); r.status != 401 || !strings.Contains(r.env.Errors[0].Message, "revoked") {
		t.Errorf("a revoked device: %s", r.raw)
	}
	if len(s.Token) < 40 || len(s.Token) > 80 {
		t.Errorf("the API token has %d characters", len(s.Token))
	}
}

// An (address, network) pair belongs to one target whoever comes first.
func TestTargets_RaceForAnAddress(t *testing.T) {
	s := controltest.New(t)
	vnet := s.DefaultVNET()
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := s.Client.Do(t.Context(), http.MethodPost, s.Account("/infrastructure/targets"), api.TargetWrite{
				Hostname: fmt.Sprint("web-", i), IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: "10.0.0.9", VNET: vnet}},
			}, nil)
			switch {
			case err == nil:
				won.Add(1)
			case !kind.Is(err, kind.Conflict):
				t.Errorf("a loser gets %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d targets have the address", won.Load())
	}
}

func TestEnrol_RaceForAOneShotKey(t *testing.T) {
	s := controltest.New(t)
	enrolment := s.Enrolment("a@b.c")
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := s.TryEnrol(enrolment, "laptop")
			switch {
			case err == nil:
				won.Add(1)
			case !kind.Is(err, kind.Unauthenticated):
				t.Errorf("a loser gets %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d devices enrolled", won.Load())
	}
}
