package sdk_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	cf "github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/accounts"
	"github.com/cloudflare/cloudflare-go/v6/option"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

// The methods of v6 that the tests of the resources do not call.

func TestV6_ApplicationAndPolicyUpdates(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.Applications, cf.F(s.AccountID)
	ctx := t.Context()
	app := s.App("ssh", "web-1", "SSH", 22, "jdoe@company.com", "root").ID
	before := must(c.Get(ctx, zt.AppIDParam(app), zt.AccessApplicationGetParams{AccountID: account}))
	up := must(c.Update(ctx, zt.AppIDParam(app), zt.AccessApplicationUpdateParams{AccountID: account, Body: zt.AccessApplicationUpdateParamsBodyInfrastructureApplication{
		Name: cf.F("secure shell"), Type: cf.F(zt.ApplicationTypeInfrastructure),
		TargetCriteria: cf.F([]zt.AccessApplicationUpdateParamsBodyInfrastructureApplicationTargetCriterion{{
			Port: cf.F(int64(2222)), Protocol: cf.F(zt.AccessApplicationUpdateParamsBodyInfrastructureApplicationTargetCriteriaProtocolSSH),
			TargetAttributes: cf.F(map[string][]string{"hostname": {"web-2"}}),
		}}),
	}}))
	infra, ok := up.AsUnion().(zt.AccessApplicationUpdateResponseInfrastructureApplication)
	if !ok || infra.Name != "secure shell" || infra.AUD != before.AUD || infra.TargetCriteria[0].Port != 2222 || len(infra.Policies) != 1 {
		t.Errorf("updated %T %+v", up.AsUnion(), infra)
	}
	p := must(c.Policies.Get(ctx, app, infra.Policies[0].ID, zt.AccessApplicationPolicyGetParams{AccountID: account}))
	if p.Name != "allow" || p.Precedence != 1 || len(p.Include) != 1 {
		t.Errorf("policy %+v", p)
	}
	changed := must(c.Policies.Update(ctx, app, p.ID, zt.AccessApplicationPolicyUpdateParams{AccountID: account, Precedence: cf.F(int64(7))},
		option.WithJSONSet("name", "all"), option.WithJSONSet("decision", "allow"), option.WithJSONSet("include", []any{map[string]any{"everyone": map[string]any{}}}),
		option.WithJSONSet("connection_rules", map[string]any{"ssh": map[string]any{"usernames": []string{"guest"}}})))
	if changed.ID != p.ID || changed.Name != "all" || changed.Precedence != 7 {
		t.Errorf("changed %+v", changed)
	}
}

func TestV6_SingleReads(t *testing.T) {
	s := controltest.New(t)
	client, account := v6(t, s), cf.F(s.AccountID)
	c := client.ZeroTrust
	ctx := t.Context()
	everyone := []zt.AccessRuleUnionParam{zt.EveryoneRuleParam{Everyone: cf.F(zt.EveryoneRuleEveryoneParam{})}}
	g := must(c.Access.Groups.New(ctx, zt.AccessGroupNewParams{AccountID: account, Name: cf.F("staff"), Include: cf.F(everyone)}))
	if got := must(c.Access.Groups.Get(ctx, g.ID, zt.AccessGroupGetParams{AccountID: account})); got.Name != "staff" || len(got.Include) != 1 {
		t.Errorf("group %+v", got)
	}
	p := must(c.Access.Policies.New(ctx, zt.AccessPolicyNewParams{AccountID: account, Name: cf.F("ops"), Decision: cf.F(zt.DecisionAllow), Include: cf.F(everyone)}))
	if got := must(c.Access.Policies.Get(ctx, p.ID, zt.AccessPolicyGetParams{AccountID: account})); got.Name != "ops" || !bool(got.Reusable) {
		t.Errorf("policy %+v", got)
	}
	k := must(c.Access.ServiceTokens.New(ctx, zt.AccessServiceTokenNewParams{AccountID: account, Name: cf.F("ci")}))
	if got := must(c.Access.ServiceTokens.Get(ctx, k.ID, zt.AccessServiceTokenGetParams{AccountID: account})); got.ClientID != k.ClientID || got.Name != "ci" {
		t.Errorf("service token %+v", got)
	}
	tunnel, _ := s.Tunnel("lab")
	if got := must(c.Tunnels.Cloudflared.Get(ctx, tunnel, zt.TunnelCloudflaredGetParams{AccountID: account})); got.Name != "lab" || got.AccountTag != s.AccountID || got.Status != "inactive" {
		t.Errorf("tunnel %+v", got)
	}
	i := must(c.Devices.Posture.Integrations.New(ctx, zt.DevicePostureIntegrationNewParams{
		AccountID: account, Name: cf.F("crowd"), Type: cf.F(zt.DevicePostureIntegrationNewParamsTypeCrowdstrikeS2s), Interval: cf.F("10m"),
		Config: cf.F[zt.DevicePostureIntegrationNewParamsConfigUnion](zt.DevicePostureIntegrationNewParamsConfigTeamsDevicesCrowdstrikeConfigRequest{
			APIURL: cf.F("https://x"), ClientID: cf.F("i"), ClientSecret: cf.F("hunter2"), CustomerID: cf.F("c"),
		}),
	}))
	if got := must(c.Devices.Posture.Integrations.Get(ctx, i.ID, zt.DevicePostureIntegrationGetParams{AccountID: account})); got.Name != "crowd" || got.Interval != "10m" {
		t.Errorf("integration %+v", got)
	}
	if got := must(client.User.Get(ctx)); got.ID == "" || len(got.Organizations) != 1 || got.Organizations[0].ID != s.AccountID {
		t.Errorf("user %+v", got)
	}
	if got := must(client.Accounts.Tokens.Verify(ctx, accounts.TokenVerifyParams{AccountID: account})); got.Status != "active" || got.ID == "" {
		t.Errorf("token %+v", got)
	}
	if got := all(t, c.Gateway.Rules.ListTenantAutoPaging(ctx, zt.GatewayRuleListTenantParams{AccountID: account})); len(got) != 0 {
		t.Errorf("rules from above %+v", got)
	}
}

// v6 takes the items for a list of lists and then has none; v0 and the Terraform providers need them as they are. A v6 program
// has them from the list itself.
func TestV6_ListItems(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Gateway.Lists, cf.F(s.AccountID)
	list := must(c.New(t.Context(), zt.GatewayListNewParams{
		AccountID: account, Name: cf.F("servers"), Type: cf.F(zt.GatewayListNewParamsTypeIP),
		Items: cf.F([]zt.GatewayListNewParamsItem{{Value: cf.F("10.0.0.1"), Description: cf.F("one")}, {Value: cf.F("10.0.0.2")}}),
	}))
	raw := must(c.Items.List(t.Context(), list.ID, zt.GatewayListItemListParams{AccountID: account})).JSON.RawJSON()
	got := must(c.Get(t.Context(), list.ID, zt.GatewayListGetParams{AccountID: account}))
	for _, value := range []string{"10.0.0.1", "10.0.0.2"} {
		if !strings.Contains(raw, fmt.Sprintf(`"value":%q`, value)) {
			t.Errorf("%s is not in %s", value, raw)
		}
	}
	if len(got.Items) != 2 || got.Items[0].Value != "10.0.0.1" || got.Items[0].Description != "one" {
		t.Errorf("the list has %+v", got.Items)
	}
}

// The oldest calls name a device by its registration.
func TestV6_OldestDevices(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Devices, cf.F(s.AccountID)
	ctx := t.Context()
	one, two := s.Enrol("a@b.c", "laptop"), s.Enrol("b@b.c", "desktop")
	revoked := func(id string) bool {
		for _, d := range all(t, c.ListAutoPaging(ctx, zt.DeviceListParams{AccountID: account})) {
			if d.ID == id {
				return !d.RevokedAt.IsZero()
			}
		}
		t.Fatalf("%s is not in the list", id)
		return false
	}
	if got := must(c.Get(ctx, one.RegistrationID, zt.DeviceGetParams{AccountID: account})); got.Name != "laptop" || got.User.Email != "a@b.c" || got.Created.IsZero() {
		t.Errorf("device %+v", got)
	}
	must(c.Revoke.New(ctx, zt.DeviceRevokeNewParams{AccountID: account, Body: []string{one.RegistrationID}}))
	if !revoked(one.RegistrationID) || revoked(two.RegistrationID) {
		t.Error("not the one registration was revoked")
	}
	must(c.Unrevoke.New(ctx, zt.DeviceUnrevokeNewParams{AccountID: account, Body: []string{one.RegistrationID}}))
	if revoked(one.RegistrationID) {
		t.Error("the revocation was not taken back")
	}
	must(c.Devices.Revoke(ctx, two.DeviceID, zt.DeviceDeviceRevokeParams{AccountID: account}))
	if revoked(one.RegistrationID) || !revoked(two.RegistrationID) {
		t.Error("not the one device was revoked")
	}
}

// What is named in the query is revoked, taken back and deleted, and nothing else.
func TestV6_RegistrationsByID(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Devices.Registrations, cf.F(s.AccountID)
	ctx := t.Context()
	ids := []string{s.Enrol("a@b.c", "a").RegistrationID, s.Enrol("b@b.c", "b").RegistrationID, s.Enrol("c@b.c", "c").RegistrationID}
	with := func(status zt.DeviceRegistrationListParamsStatus) (users string) {
		for _, r := range all(t, c.ListAutoPaging(ctx, zt.DeviceRegistrationListParams{AccountID: account, Status: cf.F(status), SortBy: cf.F(zt.DeviceRegistrationListParamsSortByUserEmail)})) {
			users += r.User.Email[:1]
		}
		return users
	}
	const revoked, every = zt.DeviceRegistrationListParamsStatusRevoked, zt.DeviceRegistrationListParamsStatusAll
	must(c.Revoke(ctx, zt.DeviceRegistrationRevokeParams{AccountID: account, ID: cf.F(ids[:2])}))
	if got := with(revoked); got != "ab" {
		t.Errorf("revoked %q", got)
	}
	proved[zt.DeviceRegistrationRevokeParams](t, "ID")
	must(c.Unrevoke(ctx, zt.DeviceRegistrationUnrevokeParams{AccountID: account, ID: cf.F(ids[1:2])}))
	if got := with(revoked); got != "a" {
		t.Errorf("revoked %q after one was taken back", got)
	}
	proved[zt.DeviceRegistrationUnrevokeParams](t, "ID")
	must(c.BulkDelete(ctx, zt.DeviceRegistrationBulkDeleteParams{AccountID: account, ID: cf.F(ids[:2])}))
	if got := with(every); got != "c" {
		t.Errorf("left %q", got)
	}
	proved[zt.DeviceRegistrationBulkDeleteParams](t, "ID")
}

func TestV6_ListsOfProfiles(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Devices.Policies, cf.F(s.AccountID)
	ctx := t.Context()
	id := must(c.Custom.New(ctx, zt.DevicePolicyCustomNewParams{AccountID: account, Name: cf.F("laptops"), Match: cf.F(`identity.email == "a@b.c"`), Precedence: cf.F(100.0)})).PolicyID
	out := func(addr string) []zt.SplitTunnelExcludeUnionParam {
		return []zt.SplitTunnelExcludeUnionParam{zt.SplitTunnelExcludeTeamsDevicesExcludeSplitTunnelWithAddressParam{Address: cf.F(addr), Description: cf.F("d")}}
	}
	must(c.Custom.Excludes.Update(ctx, id, zt.DevicePolicyCustomExcludeUpdateParams{AccountID: account, Body: out("192.0.2.0/24")}))
	must(c.Default.Excludes.Update(ctx, zt.DevicePolicyDefaultExcludeUpdateParams{AccountID: account, Body: out("198.51.100.0/24")}))
	for want, got := range map[string][]zt.SplitTunnelExclude{
		"192.0.2.0/24":    all(t, c.Custom.Excludes.GetAutoPaging(ctx, id, zt.DevicePolicyCustomExcludeGetParams{AccountID: account})),
		"198.51.100.0/24": all(t, c.Default.Excludes.GetAutoPaging(ctx, zt.DevicePolicyDefaultExcludeGetParams{AccountID: account})),
	} {
		if len(got) != 1 || got[0].Address != want || got[0].Description != "d" {
			t.Errorf("%s: %+v", want, got)
		}
	}
	// A profile has one of the two lists.
	must(c.Default.Includes.Update(ctx, zt.DevicePolicyDefaultIncludeUpdateParams{
		AccountID: account, Body: []zt.SplitTunnelIncludeUnionParam{zt.SplitTunnelIncludeTeamsDevicesIncludeSplitTunnelWithAddressParam{Address: cf.F("10.0.0.0/8")}},
	}))
	if got := all(t, c.Default.Includes.GetAutoPaging(ctx, zt.DevicePolicyDefaultIncludeGetParams{AccountID: account})); len(got) != 1 || got[0].Address != "10.0.0.0/8" {
		t.Errorf("%+v", got)
	}
	must(c.Custom.FallbackDomains.Update(ctx, id, zt.DevicePolicyCustomFallbackDomainUpdateParams{
		AccountID: account, Domains: []zt.FallbackDomainParam{{Suffix: cf.F("corp"), DNSServer: cf.F([]string{"10.0.0.53"}), Description: cf.F("d")}},
	}))
	if got := all(t, c.Custom.FallbackDomains.GetAutoPaging(ctx, id, zt.DevicePolicyCustomFallbackDomainGetParams{AccountID: account})); len(got) != 1 || got[0].Suffix != "corp" || got[0].DNSServer[0] != "10.0.0.53" {
		t.Errorf("%+v", got)
	}
	if got := all(t, c.Default.FallbackDomains.GetAutoPaging(ctx, zt.DevicePolicyDefaultFallbackDomainGetParams{AccountID: account})); len(got) != 0 {
		t.Errorf("of the default profile %+v", got)
	}
}

func TestV6_TunnelConnections(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Tunnels.Cloudflared, cf.F(s.AccountID)
	ctx := t.Context()
	id, token := s.Tunnel("lab")
	connect(t, s, token)
	connect(t, s, token)
	connectors := func() []zt.Client {
		return all(t, c.Connections.GetAutoPaging(ctx, id, zt.TunnelCloudflaredConnectionGetParams{AccountID: account}))
	}
	both := connectors()
	if len(both) != 2 || both[0].ID == both[1].ID || both[0].RunAt.IsZero() {
		t.Fatalf("connectors %+v", both)
	}
	if got := must(c.Connectors.Get(ctx, id, both[1].ID, zt.TunnelCloudflaredConnectorGetParams{AccountID: account})); got.ID != both[1].ID || !got.RunAt.Equal(both[1].RunAt) {
		t.Errorf("connector %+v", got)
	}
	must(c.Connections.Delete(ctx, id, zt.TunnelCloudflaredConnectionDeleteParams{AccountID: account, ClientID: cf.F(both[0].ID)}))
	await(t, "one connector to be gone", func() bool { return len(connectors()) == 1 })
	if left := connectors(); left[0].ID != both[1].ID {
		t.Errorf("left is %+v", left)
	}
	proved[zt.TunnelCloudflaredConnectionDeleteParams](t, "ClientID")
	must(c.Connections.Delete(ctx, id, zt.TunnelCloudflaredConnectionDeleteParams{AccountID: account}))
	await(t, "all connectors to be gone", func() bool { return len(connectors()) == 0 })
}

// await asks again and again until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("30 s were not enough for %s", what)
		}
	}
}

// The older form of the bulk deletion has no field for what is to go; a program adds it by hand.
func TestV6_TargetsInBulk_OlderForm(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.Infrastructure.Targets, cf.F(s.AccountID)
	ctx := t.Context()
	one, two := must(c.New(ctx, v6Target(s.AccountID, "one", "10.9.5.1"))), must(c.New(ctx, v6Target(s.AccountID, "two", "10.9.5.2")))
	status(t, "nothing is named", c.BulkDelete(ctx, zt.AccessInfrastructureTargetBulkDeleteParams{AccountID: account}), http.StatusBadRequest)
	if err := c.BulkDelete(ctx, zt.AccessInfrastructureTargetBulkDeleteParams{AccountID: account}, option.WithRequestBody("application/json", fmt.Appendf(nil, `{"target_ids":[%q]}`, one.ID))); err != nil {
		t.Error(err)
	}
	if left := all(t, c.ListAutoPaging(ctx, zt.AccessInfrastructureTargetListParams{AccountID: account})); len(left) != 1 || left[0].ID != two.ID {
		t.Errorf("left %+v", left)
	}
}
