package sdk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	cf0 "github.com/cloudflare/cloudflare-go"
	cf "github.com/cloudflare/cloudflare-go/v6"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

// populate makes as many of everything that is listed in pages, all called x-0, x-1, ... It returns an application with as
// many policies, and a list of as many items.
func populate(t *testing.T, s *controltest.Server, many int) (app, list string) {
	t.Helper()
	c, account := v0(t, s)
	ctx := t.Context()
	tunnel, _ := s.Tunnel("x-0")
	var items []cf0.TeamsListItem
	for i := range many {
		name := fmt.Sprintf("x-%d", i)
		if i > 0 {
			s.Tunnel(name)
		}
		s.Route(fmt.Sprintf("10.%d.0.0/16", i), s.DefaultVNET(), tunnel)
		s.Target(name, fmt.Sprintf("10.0.0.%d", i+1), s.DefaultVNET())
		made := s.App(name, name, "SSH", 22, "", "root")
		if i == 0 {
			app = made.ID
		} else {
			must(c.CreateAccessPolicy(ctx, account, cf0.CreateAccessPolicyParams{ApplicationID: app, Name: name, Decision: "allow", Include: v0Include("a@b.c")}))
		}
		must(c.CreateAccessPolicy(ctx, account, cf0.CreateAccessPolicyParams{Name: name, Decision: "allow", Include: v0Include("a@b.c")}))
		must(c.CreateAccessGroup(ctx, account, cf0.CreateAccessGroupParams{Name: name, Include: v0Include("a@b.c")}))
		must(c.CreateAccessServiceToken(ctx, account, cf0.CreateAccessServiceTokenParams{Name: name}))
		must(c.CreateAccessIdentityProvider(ctx, account, cf0.CreateAccessIdentityProviderParams{
			Name: name, Type: "github", Config: cf0.AccessIdentityProviderConfiguration{ClientID: "id", ClientSecret: "hush"},
		}))
		must(c.CreateDeviceSettingsPolicy(ctx, account, cf0.CreateDeviceSettingsPolicyParams{
			Name: cf0.StringPtr(name), Match: cf0.StringPtr(`identity.email == "a@b.c"`), Precedence: cf0.IntPtr(100 + i),
		}))
		s.Enrol(name+"@b.c", name)
		items = append(items, cf0.TeamsListItem{Value: fmt.Sprintf("10.0.0.%d", i+1)})
	}
	return app, must(c.CreateTeamsList(ctx, account, cf0.CreateTeamsListParams{Name: "servers", Type: "IP", Items: items})).ID
}

// whole checks that a list has every one of many objects once.
func whole[T any](t *testing.T, what string, list []T, err error, many int, name func(T) string) {
	t.Helper()
	var got []string
	for _, x := range list {
		got = append(got, name(x))
	}
	slices.Sort(got)
	if err != nil || len(slices.Compact(slices.Clone(got))) != many || len(got) != many {
		t.Errorf("%s: %d objects (%s), %v; want %d, each once", what, len(got), strings.Join(got, " "), err, many)
	}
}

// v0 asks for 25 at a time, for 50 items.
func TestV0_FollowsPages(t *testing.T) {
	const many = 30
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	app, list := populate(t, s, many)

	tunnels, _, err := c.ListTunnels(ctx, account, cf0.TunnelListParams{})
	whole(t, "tunnels", tunnels, err, many, func(x cf0.Tunnel) string { return x.Name })
	routes, err := c.ListTunnelRoutes(ctx, account, cf0.TunnelRoutesListParams{})
	whole(t, "routes", routes, err, many, func(x cf0.TunnelRoute) string { return x.Network })
	targets, _, err := c.ListInfrastructureAccessTargets(ctx, account, cf0.InfrastructureAccessTargetListParams{})
	whole(t, "targets", targets, err, many, func(x cf0.InfrastructureAccessTarget) string { return x.Hostname })
	apps, _, err := c.ListAccessApplications(ctx, account, cf0.ListAccessApplicationsParams{})
	whole(t, "applications", apps, err, many, func(x cf0.AccessApplication) string { return x.Name })
	policies, _, err := c.ListAccessPolicies(ctx, account, cf0.ListAccessPoliciesParams{ApplicationID: app})
	whole(t, "policies of an application", policies, err, many, func(x cf0.AccessPolicy) string { return x.Name })
	reusable, _, err := c.ListAccessPolicies(ctx, account, cf0.ListAccessPoliciesParams{})
	whole(t, "reusable policies", reusable, err, many, func(x cf0.AccessPolicy) string { return x.Name })
	groups, _, err := c.ListAccessGroups(ctx, account, cf0.ListAccessGroupsParams{})
	whole(t, "groups", groups, err, many, func(x cf0.AccessGroup) string { return x.Name })
	tokens, _, err := c.ListAccessServiceTokens(ctx, account, cf0.ListAccessServiceTokensParams{})
	whole(t, "service tokens", tokens, err, many, func(x cf0.AccessServiceToken) string { return x.Name })
	providers, _, err := c.ListAccessIdentityProviders(ctx, account, cf0.ListAccessIdentityProvidersParams{})
	whole(t, "identity providers", providers, err, many, func(x cf0.AccessIdentityProvider) string { return x.Name })
	users, _, err := c.ListAccessUsers(ctx, account, cf0.AccessUserParams{})
	whole(t, "users", users, err, many, func(x cf0.AccessUser) string { return x.Email })
	profiles, _, err := c.ListDeviceSettingsPolicies(ctx, account, cf0.ListDeviceSettingsPoliciesParams{})
	whole(t, "profiles", profiles, err, many, func(x cf0.DeviceSettingsPolicy) string { return *x.PolicyID })
	items, _, err := c.ListTeamsListItems(ctx, account, cf0.ListTeamsListItemsParams{ListID: list})
	whole(t, "items", items, err, many, func(x cf0.TeamsListItem) string { return x.Value })
	devices, err := c.ListTeamsDevices(ctx, s.AccountID)
	whole(t, "devices", devices, err, many, func(x cf0.TeamsDeviceListItem) string { return x.Name })
}

// v6 asks for what comes without a size, and then for the next page until one is empty; here for one object at a time.
func TestV6_FollowsPages(t *testing.T) {
	const many = 3
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust, cf.F(s.AccountID)
	ctx := t.Context()
	app, _ := populate(t, s, many)
	one, one64 := cf.F(1.0), cf.F(int64(1))

	whole(t, "tunnels", all(t, c.Tunnels.Cloudflared.ListAutoPaging(ctx, zt.TunnelCloudflaredListParams{AccountID: account, PerPage: one})), nil, many,
		func(x zt.CloudflareTunnel) string { return x.Name })
	whole(t, "tunnels of every type", all(t, c.Tunnels.ListAutoPaging(ctx, zt.TunnelListParams{AccountID: account, PerPage: one})), nil, many,
		func(x zt.TunnelListResponse) string { return x.Name })
	whole(t, "routes", all(t, c.Networks.Routes.ListAutoPaging(ctx, zt.NetworkRouteListParams{AccountID: account, PerPage: one})), nil, many,
		func(x zt.Teamnet) string { return x.Network })
	whole(t, "targets", all(t, c.Access.Infrastructure.Targets.ListAutoPaging(ctx, zt.AccessInfrastructureTargetListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.AccessInfrastructureTargetListResponse) string { return x.Hostname })
	whole(t, "applications", all(t, c.Access.Applications.ListAutoPaging(ctx, zt.AccessApplicationListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.AccessApplicationListResponse) string { return x.Name })
	whole(t, "policies of an application", all(t, c.Access.Applications.Policies.ListAutoPaging(ctx, app, zt.AccessApplicationPolicyListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.AccessApplicationPolicyListResponse) string { return x.Name })
	whole(t, "reusable policies", all(t, c.Access.Policies.ListAutoPaging(ctx, zt.AccessPolicyListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.AccessPolicyListResponse) string { return x.Name })
	whole(t, "groups", all(t, c.Access.Groups.ListAutoPaging(ctx, zt.AccessGroupListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.AccessGroupListResponse) string { return x.Name })
	whole(t, "service tokens", all(t, c.Access.ServiceTokens.ListAutoPaging(ctx, zt.AccessServiceTokenListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.ServiceToken) string { return x.Name })
	whole(t, "users", all(t, c.Access.Users.ListAutoPaging(ctx, zt.AccessUserListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.AccessUserListResponse) string { return x.Email })
	whole(t, "identity providers", all(t, c.IdentityProviders.ListAutoPaging(ctx, zt.IdentityProviderListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.IdentityProviderListResponse) string { return x.Name })
	whole(t, "devices", all(t, c.Devices.Devices.ListAutoPaging(ctx, zt.DeviceDeviceListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.DeviceDeviceListResponse) string { return x.Name })
	whole(t, "registrations", all(t, c.Devices.Registrations.ListAutoPaging(ctx, zt.DeviceRegistrationListParams{AccountID: account, PerPage: one64})), nil, many,
		func(x zt.DeviceRegistrationListResponse) string { return x.User.Email })
	whole(t, "profiles", all(t, c.Devices.Policies.Custom.ListAutoPaging(ctx, zt.DevicePolicyCustomListParams{AccountID: account})), nil, many,
		func(x zt.SettingsPolicy) string { return x.Name })
	whole(t, "devices in the oldest form", all(t, c.Devices.ListAutoPaging(ctx, zt.DeviceListParams{AccountID: account})), nil, many, func(x zt.Device) string { return x.Name })
}
