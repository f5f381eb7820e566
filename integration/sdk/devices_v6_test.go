package sdk_test

import (
	"fmt"
	"testing"

	cf "github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/accounts"
	"github.com/cloudflare/cloudflare-go/v6/memberships"
	"github.com/cloudflare/cloudflare-go/v6/option"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

func TestV6_PostureRules(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Devices.Posture, cf.F(s.AccountID)
	ctx := t.Context()
	made := must(c.New(ctx, zt.DevicePostureNewParams{
		AccountID: account, Name: cf.F("kernel"), Type: cf.F(zt.DevicePostureNewParamsTypeOSVersion), Schedule: cf.F("5m"), Description: cf.F("d"),
		Match: cf.F([]zt.DeviceMatchParam{{Platform: cf.F(zt.DeviceMatchPlatformLinux)}}),
		Input: cf.F[zt.DeviceInputUnionParam](zt.OSVersionInputParam{
			OperatingSystem: cf.F(zt.OSVersionInputOperatingSystemWindows), Operator: cf.F(zt.OSVersionInputOperatorGreaterOrEquals), Version: cf.F("10.0.1"),
		}),
	}))
	got := must(c.Get(ctx, made.ID, zt.DevicePostureGetParams{AccountID: account}))
	if got.Name != "kernel" || got.Type != zt.DevicePostureRuleTypeOSVersion || got.Schedule != "5m" || got.Input.Version != "10.0.1" || len(got.Match) != 1 {
		t.Errorf("%+v", got)
	}
	if got := must(c.Update(ctx, made.ID, zt.DevicePostureUpdateParams{
		AccountID: account, Name: cf.F("file"), Type: cf.F(zt.DevicePostureUpdateParamsTypeFile),
		Input: cf.F[zt.DeviceInputUnionParam](zt.FileInputParam{OperatingSystem: cf.F(zt.FileInputOperatingSystemLinux), Path: cf.F("/etc/x"), Exists: cf.F(true)}),
	})); got.Name != "file" || got.Input.Path != "/etc/x" {
		t.Errorf("%+v", got)
	}
	if list := all(t, c.ListAutoPaging(ctx, zt.DevicePostureListParams{AccountID: account})); len(list) != 1 {
		t.Errorf("%d rules", len(list))
	}
	if gone := must(c.Delete(ctx, made.ID, zt.DevicePostureDeleteParams{AccountID: account})); gone.ID != made.ID {
		t.Errorf("%+v", gone)
	}
	_, err := c.Get(ctx, made.ID, zt.DevicePostureGetParams{AccountID: account})
	status(t, "deleted", err, 404)
	_, err = c.New(ctx, zt.DevicePostureNewParams{AccountID: account, Name: cf.F("x"), Type: cf.F(zt.DevicePostureNewParamsTypeFile)})
	status(t, "without a path", err, 400)
}

func TestV6_PostureIntegrations(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Devices.Posture.Integrations, cf.F(s.AccountID)
	ctx := t.Context()
	made := must(c.New(ctx, zt.DevicePostureIntegrationNewParams{
		AccountID: account, Name: cf.F("crowd"), Type: cf.F(zt.DevicePostureIntegrationNewParamsTypeCrowdstrikeS2s), Interval: cf.F("10m"),
		Config: cf.F[zt.DevicePostureIntegrationNewParamsConfigUnion](zt.DevicePostureIntegrationNewParamsConfigTeamsDevicesCrowdstrikeConfigRequest{
			APIURL: cf.F("https://x"), ClientID: cf.F("i"), ClientSecret: cf.F("hunter2"), CustomerID: cf.F("c"),
		}),
	}))
	if got := must(c.Edit(ctx, made.ID, zt.DevicePostureIntegrationEditParams{AccountID: account, Interval: cf.F("1h")})); got.Interval != "1h" || got.Name != "crowd" {
		t.Errorf("%+v", got)
	}
	if list := all(t, c.ListAutoPaging(ctx, zt.DevicePostureIntegrationListParams{AccountID: account})); len(list) != 1 {
		t.Errorf("%d integrations", len(list))
	}
	must(c.Delete(ctx, made.ID, zt.DevicePostureIntegrationDeleteParams{AccountID: account}))
	_, err := c.Get(ctx, made.ID, zt.DevicePostureIntegrationGetParams{AccountID: account})
	status(t, "deleted", err, 404)
}

func TestV6_DeviceProfiles(t *testing.T) {
	s := controltest.New(t)
	devices, account := v6(t, s).ZeroTrust.Devices, cf.F(s.AccountID)
	c := devices.Policies
	ctx := t.Context()
	staging := s.VNET("staging")
	made := must(c.Custom.New(ctx, zt.DevicePolicyCustomNewParams{
		AccountID: account, Name: cf.F("laptops"), Match: cf.F(`identity.email == "a@b.c"`), Precedence: cf.F(100.0), SwitchLocked: cf.F(true),
		ServiceModeV2: cf.F(zt.DevicePolicyCustomNewParamsServiceModeV2{Mode: cf.F("proxy"), Port: cf.F(3000.0)}), CaptivePortal: cf.F(120.0),
		Exclude: cf.F([]zt.SplitTunnelExcludeUnionParam{zt.SplitTunnelExcludeTeamsDevicesExcludeSplitTunnelWithAddressParam{Address: cf.F("192.0.2.0/24"), Description: cf.F("d")}}),
	}, option.WithJSONSet("virtual_networks", map[string]any{"allowed": []string{staging}, "default": staging})))
	if made.Name != "laptops" || !made.SwitchLocked || made.Precedence != 100 || made.ServiceModeV2.Port != 3000 || len(made.Exclude) != 1 || made.CaptivePortal != 120 {
		t.Errorf("%+v", made)
	}
	if made.JSON.ExtraFields["virtual_networks"].Raw() != fmt.Sprintf(`{"allowed":[%q],"default":%q}`, staging, staging) {
		t.Errorf("networks %s", made.JSON.ExtraFields["virtual_networks"].Raw())
	}
	if got := must(c.Custom.Edit(ctx, made.PolicyID, zt.DevicePolicyCustomEditParams{AccountID: account, Enabled: cf.F(false)})); got.Enabled || got.Match != made.Match {
		t.Errorf("%+v", got)
	}
	if got := must(c.Custom.Get(ctx, made.PolicyID, zt.DevicePolicyCustomGetParams{AccountID: account})); got.PolicyID != made.PolicyID {
		t.Errorf("%+v", got)
	}
	if list := all(t, c.Custom.ListAutoPaging(ctx, zt.DevicePolicyCustomListParams{AccountID: account})); len(list) != 1 {
		t.Errorf("%d profiles", len(list))
	}
	if got := must(c.Default.Edit(ctx, zt.DevicePolicyDefaultEditParams{AccountID: account, AllowedToLeave: cf.F(false)})); got.AllowedToLeave || !got.Default {
		t.Errorf("%+v", got)
	}
	if got := must(c.Default.Get(ctx, zt.DevicePolicyDefaultGetParams{AccountID: account})); got.AllowedToLeave {
		t.Errorf("%+v", got)
	}
	must(c.Custom.Includes.Update(ctx, made.PolicyID, zt.DevicePolicyCustomIncludeUpdateParams{
		AccountID: account, Body: []zt.SplitTunnelIncludeUnionParam{zt.SplitTunnelIncludeTeamsDevicesIncludeSplitTunnelWithHostParam{Host: cf.F("*.example.com")}},
	}))
	if list := all(t, c.Custom.Includes.GetAutoPaging(ctx, made.PolicyID, zt.DevicePolicyCustomIncludeGetParams{AccountID: account})); len(list) != 1 || list[0].Host != "*.example.com" {
		t.Errorf("%+v", list)
	}
	if list := all(t, c.Custom.Excludes.GetAutoPaging(ctx, made.PolicyID, zt.DevicePolicyCustomExcludeGetParams{AccountID: account})); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	must(c.Default.FallbackDomains.Update(ctx, zt.DevicePolicyDefaultFallbackDomainUpdateParams{
		AccountID: account, Domains: []zt.FallbackDomainParam{{Suffix: cf.F("corp"), DNSServer: cf.F([]string{"10.0.0.53"})}},
	}))
	if list := all(t, c.Default.FallbackDomains.GetAutoPaging(ctx, zt.DevicePolicyDefaultFallbackDomainGetParams{AccountID: account})); len(list) != 1 || list[0].Suffix != "corp" {
		t.Errorf("%+v", list)
	}
	must(c.Custom.Delete(ctx, made.PolicyID, zt.DevicePolicyCustomDeleteParams{AccountID: account}))
	_, err := c.Custom.Get(ctx, made.PolicyID, zt.DevicePolicyCustomGetParams{AccountID: account})
	status(t, "deleted", err, 404)

	if got := must(devices.Settings.Edit(ctx, zt.DeviceSettingEditParams{AccountID: account, DeviceSettings: zt.DeviceSettingsParam{GatewayProxyEnabled: cf.F(true)}})); !got.GatewayProxyEnabled {
		t.Errorf("%+v", got)
	}
	if got := must(devices.Settings.Update(ctx, zt.DeviceSettingUpdateParams{AccountID: account, DeviceSettings: zt.DeviceSettingsParam{DisableForTime: cf.F(60.0)}})); got.GatewayProxyEnabled || got.DisableForTime != 60 {
		t.Errorf("%+v", got)
	}
	must(devices.Settings.Delete(ctx, zt.DeviceSettingDeleteParams{AccountID: account}))
	if got := must(devices.Settings.Get(ctx, zt.DeviceSettingGetParams{AccountID: account})); got.DisableForTime != 0 {
		t.Errorf("%+v", got)
	}
}

func TestV6_DeviceListsInPages(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Devices, cf.F(s.AccountID)
	ctx := t.Context()
	for i := range 5 {
		s.Enrol(fmt.Sprintf("u%d@b.c", i), fmt.Sprintf("laptop-%d", i))
	}
	regs := all(t, c.Registrations.ListAutoPaging(ctx, zt.DeviceRegistrationListParams{
		AccountID: account, PerPage: cf.F(int64(2)), SortBy: cf.F(zt.DeviceRegistrationListParamsSortByUserEmail), SortOrder: cf.F(zt.DeviceRegistrationListParamsSortOrderDesc), Include: cf.F("policy"),
	}))
	if len(regs) != 5 || regs[0].User.Email != "u4@b.c" || regs[4].User.Email != "u0@b.c" || regs[0].Policy.ID != "default" || regs[0].KeyType != "curve25519" {
		t.Errorf("%+v", regs)
	}
	one := all(t, c.Registrations.ListAutoPaging(ctx, zt.DeviceRegistrationListParams{
		AccountID: account, User: cf.F(zt.DeviceRegistrationListParamsUser{ID: cf.F([]string{regs[1].User.ID})}), Device: cf.F(zt.DeviceRegistrationListParamsDevice{ID: cf.F(regs[1].Device.ID)}),
	}))
	if len(one) != 1 || one[0].ID != regs[1].ID {
		t.Errorf("%+v", one)
	}
	must(c.Registrations.Revoke(ctx, zt.DeviceRegistrationRevokeParams{AccountID: account, ID: cf.F([]string{regs[0].ID, regs[1].ID})}))
	must(c.Registrations.Unrevoke(ctx, zt.DeviceRegistrationUnrevokeParams{AccountID: account, ID: cf.F([]string{regs[0].ID})}))
	if list := all(t, c.Registrations.ListAutoPaging(ctx, zt.DeviceRegistrationListParams{AccountID: account, Status: cf.F(zt.DeviceRegistrationListParamsStatusRevoked)})); len(list) != 1 || list[0].ID != regs[1].ID {
		t.Errorf("%+v", list)
	}
	must(c.Registrations.Delete(ctx, regs[1].ID, zt.DeviceRegistrationDeleteParams{AccountID: account}))
	must(c.Registrations.BulkDelete(ctx, zt.DeviceRegistrationBulkDeleteParams{AccountID: account, ID: cf.F([]string{regs[0].ID})}))
	must(c.Devices.Delete(ctx, regs[2].Device.ID, zt.DeviceDeviceDeleteParams{AccountID: account}))
	physical := all(t, c.Devices.ListAutoPaging(ctx, zt.DeviceDeviceListParams{
		AccountID: account, PerPage: cf.F(int64(1)), SortBy: cf.F(zt.DeviceDeviceListParamsSortByName), ActiveRegistrations: cf.F(zt.DeviceDeviceListParamsActiveRegistrationsInclude), Include: cf.F("last_seen_registration.policy"),
	}))
	if len(physical) != 2 || physical[0].Name != "laptop-0" || physical[0].LastSeenRegistration.Policy.ID != "default" {
		t.Errorf("%+v", physical)
	}
	if list := all(t, c.Devices.ListAutoPaging(ctx, zt.DeviceDeviceListParams{AccountID: account, LastSeenUser: cf.F(zt.DeviceDeviceListParamsLastSeenUser{Email: cf.F("u1@b.c")})})); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	_, err := c.Registrations.Get(ctx, regs[1].ID, zt.DeviceRegistrationGetParams{AccountID: account})
	status(t, "deleted", err, 404)
}

func TestV6_TunnelConfigurations(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Tunnels.Cloudflared, cf.F(s.AccountID)
	ctx := t.Context()
	id, _ := s.Tunnel("office")
	must(c.Configurations.Update(ctx, id, zt.TunnelCloudflaredConfigurationUpdateParams{AccountID: account, Config: cf.F(zt.TunnelCloudflaredConfigurationUpdateParamsConfig{
		Ingress: cf.F([]zt.TunnelCloudflaredConfigurationUpdateParamsConfigIngress{{Hostname: cf.F("a.example.com"), Service: cf.F("http://localhost")}}),
	})}))
	got := must(c.Configurations.Get(ctx, id, zt.TunnelCloudflaredConfigurationGetParams{AccountID: account}))
	if got.Version != 1 || got.TunnelID != id || len(got.Config.Ingress) != 1 || got.CreatedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	if list := all(t, c.ListAutoPaging(ctx, zt.TunnelCloudflaredListParams{AccountID: account, Status: cf.F(zt.TunnelCloudflaredListParamsStatusInactive), UUID: cf.F(id)})); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	_, err := c.Connectors.Get(ctx, id, "00000000-0000-0000-0000-000000000000", zt.TunnelCloudflaredConnectorGetParams{AccountID: account})
	status(t, "a connector that is not there", err, 404)
	_, err = c.Management.New(ctx, id, zt.TunnelCloudflaredManagementNewParams{AccountID: account, Resources: cf.F([]zt.TunnelCloudflaredManagementNewParamsResource{zt.TunnelCloudflaredManagementNewParamsResourceLogs})})
	status(t, "management", err, 400)
}

func TestV6_AccountsAndOlderCredentials(t *testing.T) {
	s := controltest.New(t)
	base := []option.RequestOption{option.WithBaseURL(s.URL + "/client/v4"), option.WithHTTPClient(httpClient(t, s))}
	for name, with := range map[string][]option.RequestOption{
		"a token": {option.WithAPIToken(s.Token)}, "a key and an e-mail address": {option.WithAPIKey(s.Token), option.WithAPIEmail("admin@company.com")},
		"a service key": {option.WithUserServiceKey(s.Token)},
	} {
		t.Run(name, func(t *testing.T) {
			c := cf.NewClient(append(base, with...)...)
			if a := must(c.Accounts.Get(t.Context(), accounts.AccountGetParams{AccountID: cf.F(s.AccountID)})); a.ID != s.AccountID {
				t.Errorf("%+v", a)
			}
			if list := all(t, c.Accounts.ListAutoPaging(t.Context(), accounts.AccountListParams{})); len(list) != 1 {
				t.Errorf("%+v", list)
			}
			if list := all(t, c.Memberships.ListAutoPaging(t.Context(), memberships.MembershipListParams{})); len(list) != 1 || list[0].Account.ID != s.AccountID {
				t.Errorf("%+v", list)
			}
			if got := must(c.User.Tokens.Verify(t.Context())); got.Status != "active" {
				t.Errorf("%+v", got)
			}
		})
	}
}
