package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/agent/logring"
	"weft/internal/localsock"
)

func (a *fakeAgent) Pause(_ context.Context, d time.Duration) (localapi.Status, error) {
	return localapi.Status{SchemaVersion: 1, State: localapi.Disconnected}, a.note("pause %s", d)
}

func (a *fakeAgent) Flows(vnets, targets []string) (localapi.FlowList, error) {
	return localapi.FlowList{SchemaVersion: 1, Flows: []localapi.Flow{}}, a.note("flows %v %v", vnets, targets)
}

func (a *fakeAgent) CloseFlows(c localapi.CloseFlows) (localapi.FlowsClosed, error) {
	return localapi.FlowsClosed{SchemaVersion: 1}, a.note("close flows %+v", c)
}

func (a *fakeAgent) Settings() localapi.SettingList {
	return localapi.SettingList{SchemaVersion: 1, Settings: []localapi.Setting{}}
}

func (a *fakeAgent) SetSetting(_ context.Context, name, value string) (localapi.SettingList, error) {
	return a.Settings(), a.note("set %s %s", name, value)
}

func (a *fakeAgent) ResetSettings(_ context.Context, names []string) (localapi.SettingList, error) {
	return a.Settings(), a.note("reset %v", names)
}

func (a *fakeAgent) ManagedConfig() localapi.ManagedConfig {
	return localapi.ManagedConfig{SchemaVersion: 1}
}

func (a *fakeAgent) RefreshManaged(context.Context) (localapi.ManagedConfig, error) {
	return a.ManagedConfig(), a.note("refresh managed")
}

func (a *fakeAgent) SetManagedConfig(_ context.Context, content string) (localapi.ManagedConfig, error) {
	return a.ManagedConfig(), a.note("set managed %d bytes", len(content))
}

func (a *fakeAgent) Tunnel() localapi.Tunnel { return localapi.Tunnel{SchemaVersion: 1} }

func (a *fakeAgent) RotateKeys(context.Context) (localapi.KeyRotation, error) {
	return localapi.KeyRotation{SchemaVersion: 1}, a.note("rotate keys")
}

func (a *fakeAgent) Log() *logring.Ring { return logring.New() }

func (a *fakeAgent) Connectivity(context.Context) localapi.Connectivity {
	return localapi.Connectivity{SchemaVersion: 1}
}

func (a *fakeAgent) Network(context.Context) localapi.Network {
	return localapi.Network{SchemaVersion: 1}
}

func (a *fakeAgent) Runtime(bool) localapi.Runtime { return localapi.Runtime{SchemaVersion: 1} }

func (a *fakeAgent) Devices(context.Context) (localapi.DeviceList, error) {
	return localapi.DeviceList{SchemaVersion: 1}, a.note("devices")
}

// The administrator's file is for privileged callers, not even for the owner of the agent.
func TestServer_ManagedIsForAdministrators(t *testing.T) {
	f := setup(t, server.Config{})
	for _, who := range []localsock.Caller{owner, other} {
		f.ln.as(who)
		status, body := f.do(t, "POST", "/v1/mdm", `{"content":"{}"}`)
		if e := decodeError(t, body); status != 403 || e.Code != localapi.CodePermission {
			t.Errorf("as %s: status %d, %+v", who, status, e)
		}
	}
	f.ln.as(owner)
	if _, body := f.do(t, "POST", "/v1/mdm", `{"content":"{}"}`); !strings.Contains(decodeError(t, body).Hint, "sudo warp-cli") {
		t.Errorf("the hint names no command that works: %s", body)
	}
	f.ln.as(root)
	if status, body := f.do(t, "POST", "/v1/mdm", `{"content":"`+strings.Repeat("x", 70_000)+`"}`); status != 200 {
		t.Errorf("as root: status %d, %s", status, body)
	}
	if calls := f.agent.called(); len(calls) != 1 || calls[0] != "set managed 70000 bytes" {
		t.Errorf("calls %q", calls)
	}
}

func TestServer_Refuses_Tree(t *testing.T) {
	f := setup(t, server.Config{})
	f.ln.as(owner)
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/v1/disconnect", `{"for_seconds":-1}`},
		{"POST", "/v1/disconnect", `{"for_seconds":99999999}`},
		{"POST", "/v1/settings/reset", `{"names":["` + strings.Repeat(`x","`, 80) + `x"]}`},
		{"GET", "/v1/debug/log?level=loud", ""},
		{"GET", "/v1/flows?other=1", ""},
	} {
		if status, body := f.do(t, tt.method, tt.path, tt.body); status != 400 {
			t.Errorf("%s %s %.60s: status %d, %s", tt.method, tt.path, tt.body, status, body)
		}
	}
}
