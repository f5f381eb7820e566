package control_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control/controltest"
	"weft/control/store"
	"weft/internal/kind"
)

func logKey(t *testing.T) string {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(k.PublicKey().Bytes())
}

func token(t *testing.T, s *controltest.Server, permissions ...string) api.Secret {
	t.Helper()
	secret, err := s.Control.CreateToken(t.Context(), store.TokenFields{Name: "test", Permissions: permissions})
	if err != nil {
		t.Fatal(err)
	}
	return api.Secret(secret)
}

func TestAuditSSHSettings(t *testing.T) {
	s := controltest.New(t)
	sync := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	path := s.Account("/gateway/audit_ssh_settings")
	get := func() (out api.AuditSSHSettings) {
		t.Helper()
		s.Call(http.MethodGet, path, nil, &out)
		return out
	}
	if out := get(); out != (api.AuditSSHSettings{}) {
		t.Errorf("a new account has %+v", out)
	}
	if err := s.Client.Do(t.Context(), http.MethodPost, path+"/rotate_seed", nil, nil); !kind.Is(err, kind.NotFound) {
		t.Errorf("rotate what is not there: %v", err)
	}
	key := logKey(t)
	var set api.AuditSSHSettings
	s.Call(http.MethodPut, path, map[string]any{"public_key": key}, &set)
	if set.PublicKey != key || len(set.SeedID) != 36 || set.CreatedAt == "" || set.CreatedAt != set.UpdatedAt {
		t.Errorf("set %+v", set)
	}
	if diff := cmp.Diff(set, get()); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	sync.until(t, "the gateway has the key", func(st *api.GatewayState) bool { return st.Self.SSHLogKey == key })
	var before, after api.SSHCAs
	s.Call(http.MethodGet, api.PathSSHCAs, nil, &before)
	var rotated api.AuditSSHSettings
	s.Call(http.MethodPost, path+"/rotate_seed", nil, &rotated)
	s.Call(http.MethodGet, api.PathSSHCAs, nil, &after)
	if rotated.SeedID == set.SeedID || rotated.PublicKey != key || rotated.CreatedAt != set.CreatedAt || len(after.Host) != len(before.Host)+1 {
		t.Errorf("rotated %+v; host CAs %d, then %d", rotated, len(before.Host), len(after.Host))
	}
	s.Call(http.MethodPut, path, map[string]any{"public_key": ""}, &set)
	if set.PublicKey != "" || set.SeedID != rotated.SeedID {
		t.Errorf("turned off: %+v", set)
	}
	sync.until(t, "the gateway has none", func(st *api.GatewayState) bool { return st.Self.SSHLogKey == "" })
	reader := s.ClientWith(token(t, s, "Zero Trust Read"))
	for _, tt := range []struct {
		name   string
		client *api.Client
		method string
		path   string
		in     any
		want   kind.Kind
	}{
		{"a reader reads", reader, http.MethodGet, path, nil, ""},
		{"a reader does not write", reader, http.MethodPut, path, map[string]any{"public_key": key}, kind.Denied},
		{"a reader does not rotate", reader, http.MethodPost, path + "/rotate_seed", nil, kind.Denied},
		{"no key", s.Client, http.MethodPut, path, map[string]any{}, kind.Invalid},
		{"null", s.Client, http.MethodPut, path, map[string]any{"public_key": nil}, kind.Invalid},
		{"not base64", s.Client, http.MethodPut, path, map[string]any{"public_key": "ssh-ed25519 AAAA"}, kind.Invalid},
		{"too short", s.Client, http.MethodPut, path, map[string]any{"public_key": base64.StdEncoding.EncodeToString(make([]byte, 31))}, kind.Invalid},
		{"a point of low order", s.Client, http.MethodPut, path, map[string]any{"public_key": base64.StdEncoding.EncodeToString(make([]byte, 32))}, kind.Invalid},
		{"a line feed behind it", s.Client, http.MethodPut, path, map[string]any{"public_key": key + "\n"}, kind.Invalid},
		{"an unknown field", s.Client, http.MethodPut, path, map[string]any{"public_key": key, "seed": "x"}, kind.Invalid},
		{"another account", s.Client, http.MethodGet, api.PathManagement + "/accounts/0123456789abcdef0123456789abcdef/gateway/audit_ssh_settings", nil, kind.NotFound},
		{"what it answered is sent back", s.Client, http.MethodPut, path, rotated, ""},
	} {
		if err := tt.client.Do(t.Context(), tt.method, tt.path, tt.in, nil); tt.want == "" && err != nil || tt.want != "" && !kind.Is(err, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for _, e := range auditEvents(t, s) {
		if bytes.Contains(e.Detail, []byte("PRIVATE")) {
			t.Errorf("on record: %s", e.Detail)
		}
	}
}

func TestRecordingSettings(t *testing.T) {
	s := controltest.New(t)
	sync := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	app := s.App("web", "web-1", "SSH", 22, "jdoe@company.com", "root")
	on, off := true, false
	one := api.PathRecordingApplications + "/" + app.ID
	var all api.RecordingSettings
	s.Call(http.MethodGet, api.PathRecordingSettings, nil, &all)
	if all.Account != (api.RecordingSetting{}) || len(all.Applications) != 0 {
		t.Errorf("a new account has %+v", all)
	}
	s.Call(http.MethodPut, api.PathRecordingSettings, api.RecordingSetting{Enabled: &on, FailMode: "stop"}, nil)
	var set api.RecordingApplication
	s.Call(http.MethodPut, one, api.RecordingSetting{Enabled: &off, FailMode: "alarm"}, &set)
	if set.ApplicationID != app.ID || set.Enabled == nil || *set.Enabled || set.FailMode != "alarm" || set.UpdatedAt == "" {
		t.Errorf("set %+v", set)
	}
	s.Call(http.MethodPut, one, api.RecordingSetting{FailMode: "alarm"}, &set)
	s.Call(http.MethodGet, api.PathRecordingSettings, nil, &all)
	if all.Account.Enabled == nil || !*all.Account.Enabled || len(all.Applications) != 1 || all.Applications[0].Enabled != nil {
		t.Errorf("all %+v", all)
	}
	sync.until(t, "the gateway has both", func(st *api.GatewayState) bool {
		account, own := st.Recording[api.RecordingAccount], st.Recording[app.ID]
		return account.Enabled != nil && *account.Enabled && account.FailMode == "stop" && own.Enabled == nil && own.FailMode == "alarm"
	})
	s.Call(http.MethodGet, one, nil, &set)
	s.Call(http.MethodDelete, one, nil, nil)
	sync.until(t, "it is gone from the gateway", func(st *api.GatewayState) bool { _, ok := st.Recording[app.ID]; return !ok })
	reader := s.ClientWith(token(t, s, "Access: SSH Auditing Read"))
	for _, tt := range []struct {
		name   string
		client *api.Client
		method string
		path   string
		in     any
		want   kind.Kind
	}{
		{"a reader reads", reader, http.MethodGet, api.PathRecordingSettings, nil, ""},
		{"a reader does not write", reader, http.MethodPut, api.PathRecordingSettings, api.RecordingSetting{}, kind.Denied},
		{"nor an application's", reader, http.MethodPut, one, api.RecordingSetting{}, kind.Denied},
		{"nor delete", reader, http.MethodDelete, one, nil, kind.Denied},
		{"no other mode", s.Client, http.MethodPut, api.PathRecordingSettings, api.RecordingSetting{FailMode: "ignore"}, kind.Invalid},
		{"for an application neither", s.Client, http.MethodPut, one, api.RecordingSetting{FailMode: "STOP"}, kind.Invalid},
		{"an unknown field", s.Client, http.MethodPut, one, map[string]any{"enable": true}, kind.Invalid},
		{"a word for a truth", s.Client, http.MethodPut, one, map[string]any{"enabled": "yes"}, kind.Invalid},
		{"an unknown application", s.Client, http.MethodPut, api.PathRecordingApplications + "/nobody", api.RecordingSetting{}, kind.NotFound},
		{"none of its own", s.Client, http.MethodGet, one, nil, kind.NotFound},
		{"none to delete", s.Client, http.MethodDelete, one, nil, kind.NotFound},
	} {
		if err := tt.client.Do(t.Context(), tt.method, tt.path, tt.in, nil); tt.want == "" && err != nil || tt.want != "" && !kind.Is(err, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	// With its application goes what was set for it.
	s.Call(http.MethodPut, one, api.RecordingSetting{FailMode: "alarm"}, nil)
	s.Call(http.MethodDelete, s.Account("/access/apps/"+app.ID), nil, nil)
	s.Call(http.MethodGet, api.PathRecordingSettings, nil, &all)
	if len(all.Applications) != 0 {
		t.Errorf("left %+v", all.Applications)
	}
}

func TestGateways_ListAndDrain(t *testing.T) {
	s := controltest.New(t)
	gw := s.Gateway("gw-1")
	s.Gateway("gw-2")
	if err := s.ClientWith(api.Secret(gw.Token)).Do(t.Context(), http.MethodPut, api.PathGatewaySelf, controltest.Report("e"), nil); err != nil {
		t.Fatal(err)
	}
	dev := s.Enrol("jdoe@company.com", "laptop")
	var all []api.GatewayInfo
	s.Call(http.MethodGet, api.PathGateways, nil, &all)
	if len(all) != 2 || all[0].ID != gw.ID || all[0].Version != "test" || all[0].Draining || all[1].Version != "" {
		t.Errorf("%+v", all)
	}
	on, off := true, false
	sync := watch[api.GatewayState](t, s.ClientWith(api.Secret(gw.Token)), api.PathGatewaySync)
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	agentSees := func(want bool) {
		t.Helper()
		agent.until(t, "the agent hears of it", func(st *api.AgentState) bool { return st.Gateways[gw.ID].Draining == want })
	}
	var g api.GatewayInfo
	s.Call(http.MethodPut, api.PathGateways+"/GW-1/drain", api.GatewayDrain{Draining: &on}, &g)
	if g.ID != gw.ID || !g.Draining || g.DrainedAt == "" {
		t.Errorf("%+v", g)
	}
	since := g.DrainedAt
	s.Call(http.MethodPut, api.PathGateways+"/"+gw.ID+"/drain", api.GatewayDrain{Draining: &on}, &g)
	if g.DrainedAt != since {
		t.Errorf("the second time it begins anew: %+v", g)
	}
	sync.until(t, "the gateway hears of it", func(st *api.GatewayState) bool { return st.Self.Draining })
	agentSees(true)
	s.Call(http.MethodPut, api.PathGateways+"/"+gw.ID+"/drain", api.GatewayDrain{Draining: &off}, &g)
	agentSees(false)
	// One that is being stopped says so itself.
	r := controltest.Report("e")
	r.Draining = true
	if err := s.ClientWith(api.Secret(gw.Token)).Do(t.Context(), http.MethodPut, api.PathGatewaySelf, r, nil); err != nil {
		t.Fatal(err)
	}
	agentSees(true)
	reader := s.ClientWith(token(t, s, "Weft Administration Read"))
	for _, tt := range []struct {
		name   string
		client *api.Client
		method string
		path   string
		in     any
		want   kind.Kind
	}{
		{"a reader lists", reader, http.MethodGet, api.PathGateways, nil, ""},
		{"a reader does not drain", reader, http.MethodPut, api.PathGateways + "/gw-1/drain", api.GatewayDrain{Draining: &on}, kind.Denied},
		{"nothing said", s.Client, http.MethodPut, api.PathGateways + "/gw-1/drain", api.GatewayDrain{}, kind.Invalid},
		{"an unknown gateway", s.Client, http.MethodPut, api.PathGateways + "/gw-3/drain", api.GatewayDrain{Draining: &on}, kind.NotFound},
	} {
		if err := tt.client.Do(t.Context(), tt.method, tt.path, tt.in, nil); tt.want == "" && err != nil || tt.want != "" && !kind.Is(err, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
