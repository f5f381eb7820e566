package sdk_test

import (
	"errors"
	"testing"

	cf "github.com/cloudflare/cloudflare-go"

	"weft/control/controltest"
)

func TestV0_PostureRules(t *testing.T) {
	s := controltest.New(t)
	c, _ := v0(t, s)
	ctx := t.Context()
	yes := true
	made := must(c.CreateDevicePostureRule(ctx, s.AccountID, cf.DevicePostureRule{
		Name: "marker", Type: "file", Description: "d", Schedule: "10m", Expiration: "1h", Match: []cf.DevicePostureRuleMatch{{Platform: "linux"}},
		Input: cf.DevicePostureRuleInput{Path: "/etc/marker", Exists: &yes},
	}))
	got := must(c.DevicePostureRule(ctx, s.AccountID, made.ID))
	if got.Name != "marker" || got.Schedule != "10m" || got.Expiration != "1h" || got.Input.Path != "/etc/marker" || got.Match[0].Platform != "linux" || got.Input.Exists == nil {
		t.Errorf("%+v", got)
	}
	got.Name, got.Input.Path = "other", "/etc/other"
	if got = must(c.UpdateDevicePostureRule(ctx, s.AccountID, got)); got.Name != "other" || got.Input.Path != "/etc/other" {
		t.Errorf("%+v", got)
	}
	list, _, err := c.DevicePostureRules(ctx, s.AccountID)
	if err != nil || len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("%+v %v", list, err)
	}
	for _, r := range []cf.DevicePostureRule{
		{Name: "kernel", Type: "os_version", Input: cf.DevicePostureRuleInput{Version: "6.1.0", Operator: ">="}},
		{Name: "disks", Type: "disk_encryption", Input: cf.DevicePostureRuleInput{RequireAll: &yes}},
		{Name: "here", Type: "warp"},
		{Name: "crowd", Type: "crowdstrike_s2s", Input: cf.DevicePostureRuleInput{ConnectionID: "c", VersionOperator: ">", Version: "1", Overall: "90", Operator: ">"}},
	} {
		must(c.CreateDevicePostureRule(ctx, s.AccountID, r))
	}
	if err := c.DeleteDevicePostureRule(ctx, s.AccountID, made.ID); err != nil {
		t.Error(err)
	}
	_, err = c.DevicePostureRule(ctx, s.AccountID, made.ID)
	gone(t, "deleted", err)
}

func TestV0_PostureIntegrations(t *testing.T) {
	s := controltest.New(t)
	c, _ := v0(t, s)
	ctx := t.Context()
	made := must(c.CreateDevicePostureIntegration(ctx, s.AccountID, cf.DevicePostureIntegration{
		Name: "crowd", Type: "crowdstrike_s2s", Interval: "10m", Config: cf.DevicePostureIntegrationConfig{ApiUrl: "https://x", ClientID: "i", ClientSecret: "hunter2", CustomerID: "c"},
	}))
	made.Interval = "20m"
	if got := must(c.UpdateDevicePostureIntegration(ctx, s.AccountID, made)); got.Interval != "20m" || got.Config.ApiUrl != "https://x" || got.Config.ClientSecret != "" {
		t.Errorf("%+v", got)
	}
	if list, _, err := c.DevicePostureIntegrations(ctx, s.AccountID); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if err := c.DeleteDevicePostureIntegration(ctx, s.AccountID, made.IntegrationID); err != nil {
		t.Error(err)
	}
	_, err := c.DevicePostureIntegration(ctx, s.AccountID, made.IntegrationID)
	gone(t, "deleted", err)
}

func TestV0_DeviceProfiles(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	made := must(c.CreateDeviceSettingsPolicy(ctx, account, cf.CreateDeviceSettingsPolicyParams{
		Name: cf.StringPtr("laptops"), Match: cf.StringPtr(`identity.email == "a@b.c"`), Precedence: cf.IntPtr(100), SwitchLocked: cf.BoolPtr(true),
		ServiceModeV2: &cf.ServiceModeV2{Mode: "proxy", Port: 3000}, AutoConnect: cf.IntPtr(10), Description: cf.StringPtr("d"),
	}))
	if *made.Name != "laptops" || !*made.SwitchLocked || *made.Precedence != 100 || made.ServiceModeV2.Port != 3000 || made.Default {
		t.Errorf("%+v", made)
	}
	got := must(c.UpdateDeviceSettingsPolicy(ctx, account, cf.UpdateDeviceSettingsPolicyParams{PolicyID: made.PolicyID, Enabled: cf.BoolPtr(false)}))
	if *got.Enabled || *got.Match != *made.Match {
		t.Errorf("%+v", got)
	}
	if got := must(c.GetDeviceSettingsPolicy(ctx, account, cf.GetDeviceSettingsPolicyParams{PolicyID: made.PolicyID})); *got.AutoConnect != 10 {
		t.Errorf("%+v", got)
	}
	list, _, err := c.ListDeviceSettingsPolicies(ctx, account, cf.ListDeviceSettingsPoliciesParams{})
	if err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if got := must(c.UpdateDefaultDeviceSettingsPolicy(ctx, account, cf.UpdateDefaultDeviceSettingsPolicyParams{AllowedToLeave: cf.BoolPtr(false)})); *got.AllowedToLeave || !got.Default {
		t.Errorf("%+v", got)
	}
	if got := must(c.GetDefaultDeviceSettingsPolicy(ctx, account, cf.GetDefaultDeviceSettingsPolicyParams{})); *got.AllowedToLeave {
		t.Errorf("%+v", got)
	}
	split := []cf.SplitTunnel{{Address: "10.0.0.0/8", Description: "d"}, {Host: "*.example.com"}}
	if got := must(c.UpdateSplitTunnel(ctx, s.AccountID, "include", split)); len(got) != 2 || got[0].Address != "10.0.0.0/8" {
		t.Errorf("%+v", got)
	}
	if got := must(c.ListSplitTunnels(ctx, s.AccountID, "include")); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	must(c.UpdateSplitTunnelDeviceSettingsPolicy(ctx, s.AccountID, *made.PolicyID, "exclude", split))
	if got := must(c.ListSplitTunnelsDeviceSettingsPolicy(ctx, s.AccountID, *made.PolicyID, "exclude")); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	domains := []cf.FallbackDomain{{Suffix: "corp", DNSServer: []string{"10.0.0.53"}}}
	must(c.UpdateFallbackDomain(ctx, s.AccountID, domains))
	must(c.UpdateFallbackDomainDeviceSettingsPolicy(ctx, s.AccountID, *made.PolicyID, domains))
	if got := must(c.ListFallbackDomainsDeviceSettingsPolicy(ctx, s.AccountID, *made.PolicyID)); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if err := c.RestoreFallbackDomainDefaults(ctx, s.AccountID); err != nil {
		t.Error(err)
	}
	if got := must(c.ListFallbackDomains(ctx, s.AccountID)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if left := must(c.DeleteDeviceSettingsPolicy(ctx, account, *made.PolicyID)); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	_, err = c.GetDeviceSettingsPolicy(ctx, account, cf.GetDeviceSettingsPolicyParams{PolicyID: made.PolicyID})
	gone(t, "deleted", err)
	settings := must(c.TeamsAccountDeviceUpdateConfiguration(ctx, s.AccountID, cf.TeamsDeviceSettings{GatewayProxyEnabled: true}))
	if !settings.GatewayProxyEnabled || settings.GatewayProxyUDPEnabled {
		t.Errorf("%+v", settings)
	}
	if got := must(c.TeamsAccountDeviceConfiguration(ctx, s.AccountID)); !got.GatewayProxyEnabled || *got.UseZTVirtualIP {
		t.Errorf("%+v", got)
	}
}

func TestV0_TunnelConfigurations(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	id, _ := s.Tunnel("office")
	params := cf.TunnelConfigurationParams{TunnelID: id, Config: cf.TunnelConfiguration{
		Ingress: []cf.UnvalidatedIngressRule{{Hostname: "a.example.com", Service: "http://localhost"}, {Service: "http_status:404"}}, WarpRouting: &cf.WarpRoutingConfig{Enabled: true},
	}}
	must(c.UpdateTunnelConfiguration(ctx, account, params))
	got := must(c.GetTunnelConfiguration(ctx, account, id))
	if got.Version != 1 || len(got.Config.Ingress) != 2 || !got.Config.WarpRouting.Enabled || got.Config.Ingress[1].Service != "http_status:404" {
		t.Errorf("%+v", got)
	}
	if list := must(c.ListTunnelConnections(ctx, account, id)); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if err := c.CleanupTunnelConnections(ctx, account, id); err != nil {
		t.Error(err)
	}
	_, err := c.GetTunnelConfiguration(ctx, account, "00000000-0000-0000-0000-000000000000")
	gone(t, "no tunnel", err)
}

func TestV0_AccountsAndOlderCredentials(t *testing.T) {
	s := controltest.New(t)
	for name, client := range map[string]func() (*cf.API, error){
		"a token": func() (*cf.API, error) {
			return cf.NewWithAPIToken(s.Token, cf.BaseURL(s.URL+"/client/v4"), cf.HTTPClient(httpClient(t, s)))
		},
		"a key and an e-mail address": func() (*cf.API, error) {
			return cf.New(s.Token, "admin@company.com", cf.BaseURL(s.URL+"/client/v4"), cf.HTTPClient(httpClient(t, s)))
		},
		"a service key": func() (*cf.API, error) {
			return cf.NewWithUserServiceKey(s.Token, cf.BaseURL(s.URL+"/client/v4"), cf.HTTPClient(httpClient(t, s)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := must(client())
			a, _, err := c.Account(t.Context(), s.AccountID)
			if err != nil || a.ID != s.AccountID || a.Name == "" {
				t.Errorf("%+v %v", a, err)
			}
			list, _, err := c.Accounts(t.Context(), cf.AccountsListParams{})
			if err != nil || len(list) != 1 {
				t.Errorf("%+v %v", list, err)
			}
			if u := must(c.UserDetails(t.Context())); u.ID == "" || len(u.Accounts) != 1 {
				t.Errorf("%+v", u)
			}
		})
	}
	c := must(cf.New("x"+s.Token, "admin@company.com", cf.BaseURL(s.URL+"/client/v4"), cf.HTTPClient(httpClient(t, s))))
	var unauthorized *cf.AuthorizationError
	if _, _, err := c.Account(t.Context(), s.AccountID); !errors.As(err, &unauthorized) {
		t.Errorf("another key: %v", err)
	}
}
