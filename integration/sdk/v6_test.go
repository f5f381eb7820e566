package sdk_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	cf "github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/option"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

// v6 is a client of the generated SDK.
func v6(t *testing.T, s *controltest.Server) *cf.Client {
	t.Helper()
	return cf.NewClient(option.WithBaseURL(s.URL+"/client/v4"), option.WithAPIToken(s.Token), option.WithHTTPClient(httpClient(t, s)))
}

// status asks for the SDK's error with an HTTP status and an entry in errors.
func status(t *testing.T, what string, err error, want int) {
	t.Helper()
	var e *cf.Error
	if !errors.As(err, &e) || e.StatusCode != want || len(e.Errors) == 0 {
		t.Errorf("%s: %v, want status %d with an error", what, err, want)
	}
}

// pager is what the SDK's lists have in common.
type pager[T any] interface {
	Next() bool
	Current() T
	Err() error
}

func all[T any](t *testing.T, p pager[T]) []T {
	t.Helper()
	var list []T
	for p.Next() {
		list = append(list, p.Current())
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestV6_VirtualNetworks(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Networks.VirtualNetworks, cf.F(s.AccountID)
	ctx := t.Context()
	n := must(c.New(ctx, zt.NetworkVirtualNetworkNewParams{AccountID: account, Name: cf.F("staging"), Comment: cf.F("c"), IsDefaultNetwork: cf.F(false)}))
	got := must(c.Get(ctx, n.ID, zt.NetworkVirtualNetworkGetParams{AccountID: account}))
	if got.Name != "staging" || got.Comment != "c" || got.IsDefaultNetwork || got.CreatedAt.IsZero() {
		t.Errorf("read %+v", got)
	}
	up := must(c.Edit(ctx, n.ID, zt.NetworkVirtualNetworkEditParams{AccountID: account, Comment: cf.F("changed")}))
	if up.Name != "staging" || up.Comment != "changed" {
		t.Errorf("changed %+v", up)
	}
	for _, tt := range []struct {
		filter zt.NetworkVirtualNetworkListParams
		want   int
	}{
		{zt.NetworkVirtualNetworkListParams{}, 2},
		{zt.NetworkVirtualNetworkListParams{ID: cf.F(n.ID)}, 1},
		{zt.NetworkVirtualNetworkListParams{Name: cf.F("staging")}, 1},
		{zt.NetworkVirtualNetworkListParams{IsDefaultNetwork: cf.F(true)}, 1},
		{zt.NetworkVirtualNetworkListParams{IsDeleted: cf.F(true)}, 0},
	} {
		tt.filter.AccountID = account
		if l := all(t, c.ListAutoPaging(ctx, tt.filter)); len(l) != tt.want {
			t.Errorf("%+v: %d networks, want %d", tt.filter, len(l), tt.want)
		}
	}
	if d := must(c.Delete(ctx, n.ID, zt.NetworkVirtualNetworkDeleteParams{AccountID: account})); d.ID != n.ID {
		t.Errorf("deleted %+v", d)
	}
	_, err := c.Get(ctx, n.ID, zt.NetworkVirtualNetworkGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_TunnelsAndRoutes(t *testing.T) {
	s := controltest.New(t)
	client, account := v6(t, s).ZeroTrust, cf.F(s.AccountID)
	ctx := t.Context()
	tunnel := must(client.Tunnels.Cloudflared.New(ctx, zt.TunnelCloudflaredNewParams{
		AccountID: account, Name: cf.F("lab"), TunnelSecret: cf.F(base64.StdEncoding.EncodeToString(make([]byte, 32))), ConfigSrc: cf.F(zt.TunnelCloudflaredNewParamsConfigSrcLocal),
	}))
	if token := must(client.Tunnels.Cloudflared.Token.Get(ctx, tunnel.ID, zt.TunnelCloudflaredTokenGetParams{AccountID: account})); *token == "" {
		t.Error("no token")
	}
	if l := all(t, client.Tunnels.Cloudflared.ListAutoPaging(ctx, zt.TunnelCloudflaredListParams{AccountID: account, Name: cf.F("lab")})); len(l) != 1 {
		t.Errorf("tunnels %+v", l)
	}
	if up := must(client.Tunnels.Cloudflared.Edit(ctx, tunnel.ID, zt.TunnelCloudflaredEditParams{AccountID: account, Name: cf.F("lab-2")})); up.Name != "lab-2" {
		t.Errorf("renamed %+v", up)
	}
	vnet := s.VNET("staging")
	routes := client.Networks.Routes
	r := must(routes.New(ctx, zt.NetworkRouteNewParams{AccountID: account, Network: cf.F("10.9.0.0/16"), TunnelID: cf.F(tunnel.ID), VirtualNetworkID: cf.F(vnet), Comment: cf.F("x")}))
	if got := must(routes.Get(ctx, r.ID, zt.NetworkRouteGetParams{AccountID: account})); got.Network != "10.9.0.0/16" || got.VirtualNetworkID != vnet {
		t.Errorf("route %+v", got)
	}
	if up := must(routes.Edit(ctx, r.ID, zt.NetworkRouteEditParams{AccountID: account, Comment: cf.F("y")})); up.Comment != "y" {
		t.Errorf("changed %+v", up)
	}
	if got := must(routes.IPs.Get(ctx, "10.9.1.1", zt.NetworkRouteIPGetParams{AccountID: account, VirtualNetworkID: cf.F(vnet)})); got.ID != r.ID || got.TunnelName != "lab-2" {
		t.Errorf("route of an address %+v", got)
	}
	for _, tt := range []struct {
		filter zt.NetworkRouteListParams
		want   int
	}{
		{zt.NetworkRouteListParams{}, 1},
		{zt.NetworkRouteListParams{VirtualNetworkID: cf.F(vnet), NetworkSubset: cf.F("10.0.0.0/8")}, 1},
		{zt.NetworkRouteListParams{NetworkSuperset: cf.F("10.9.1.0/24")}, 1},
		{zt.NetworkRouteListParams{NetworkSubset: cf.F("10.9.1.0/24")}, 0},
		{zt.NetworkRouteListParams{TunnelID: cf.F(tunnel.ID), Comment: cf.F("y")}, 1},
		{zt.NetworkRouteListParams{VirtualNetworkID: cf.F(s.DefaultVNET())}, 0},
	} {
		tt.filter.AccountID = account
		if l := all(t, routes.ListAutoPaging(ctx, tt.filter)); len(l) != tt.want {
			t.Errorf("%+v: %d routes, want %d", tt.filter, len(l), tt.want)
		}
	}
	must(routes.Delete(ctx, r.ID, zt.NetworkRouteDeleteParams{AccountID: account}))
	_, err := routes.Get(ctx, r.ID, zt.NetworkRouteGetParams{AccountID: account})
	status(t, "route after its deletion", err, http.StatusNotFound)
	must(client.Tunnels.Cloudflared.Delete(ctx, tunnel.ID, zt.TunnelCloudflaredDeleteParams{AccountID: account}))
}

func v6Target(account, hostname, addr string) zt.AccessInfrastructureTargetNewParams {
	return zt.AccessInfrastructureTargetNewParams{
		AccountID: cf.F(account), Hostname: cf.F(hostname),
		IP: cf.F(zt.AccessInfrastructureTargetNewParamsIP{IPV4: cf.F(zt.AccessInfrastructureTargetNewParamsIPIPV4{IPAddr: cf.F(addr)})}),
	}
}

func TestV6_Targets(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.Infrastructure.Targets, cf.F(s.AccountID)
	ctx := t.Context()
	made := must(c.New(ctx, v6Target(s.AccountID, "Infra-V6", "10.9.5.5")))
	if made.Hostname != "Infra-V6" || made.IP.IPV4.VirtualNetworkID != s.DefaultVNET() {
		t.Errorf("made %+v", made)
	}
	up := must(c.Update(ctx, made.ID, zt.AccessInfrastructureTargetUpdateParams{
		AccountID: account, Hostname: cf.F("infra-v6"),
		IP: cf.F(zt.AccessInfrastructureTargetUpdateParamsIP{IPV6: cf.F(zt.AccessInfrastructureTargetUpdateParamsIPIPV6{IPAddr: cf.F("2001:db8::5")})}),
	}))
	got := must(c.Get(ctx, made.ID, zt.AccessInfrastructureTargetGetParams{AccountID: account}))
	if !up.CreatedAt.Equal(made.CreatedAt) || got.IP.IPV6.IPAddr != "2001:db8::5" || got.IP.IPV4.IPAddr != "" {
		t.Errorf("updated %+v, read %+v", up, got)
	}
	var bodies []zt.AccessInfrastructureTargetBulkUpdateParamsBody
	for i := range 120 {
		bodies = append(bodies, zt.AccessInfrastructureTargetBulkUpdateParamsBody{
			Hostname: cf.F("many"),
			IP: cf.F(zt.AccessInfrastructureTargetBulkUpdateParamsBodyIP{
				IPV4: cf.F(zt.AccessInfrastructureTargetBulkUpdateParamsBodyIPIPV4{IPAddr: cf.F(fmt.Sprintf("10.9.1.%d", i+1))}),
			}),
		})
	}
	many := must(c.BulkUpdate(ctx, zt.AccessInfrastructureTargetBulkUpdateParams{AccountID: account, Body: bodies})).Result
	if len(many) != len(bodies) {
		t.Errorf("made %d at once", len(many))
	}
	for _, tt := range []struct {
		name   string
		filter zt.AccessInfrastructureTargetListParams
		want   int
	}{
		{"none", zt.AccessInfrastructureTargetListParams{}, 121},
		{"small pages", zt.AccessInfrastructureTargetListParams{PerPage: cf.F(int64(7))}, 121},
		{"hostname", zt.AccessInfrastructureTargetListParams{Hostname: cf.F("INFRA-v6")}, 1},
		{"part of the hostname", zt.AccessInfrastructureTargetListParams{HostnameContains: cf.F("an")}, 120},
		{"IPv4", zt.AccessInfrastructureTargetListParams{IPV4: cf.F("10.9.1.7")}, 1},
		{"IPv6", zt.AccessInfrastructureTargetListParams{IPV6: cf.F("2001:db8::5")}, 1},
		{"several", zt.AccessInfrastructureTargetListParams{IPs: cf.F([]string{"10.9.1.7", "10.9.1.8", "10.9.9.9"})}, 2},
		{"pattern", zt.AccessInfrastructureTargetListParams{IPLike: cf.F("10.9.1.1*")}, 32},
		{"range", zt.AccessInfrastructureTargetListParams{IPV4Start: cf.F("10.9.1.5"), IPV4End: cf.F("10.9.1.9")}, 5},
		{"IDs", zt.AccessInfrastructureTargetListParams{TargetIDs: cf.F([]string{many[0].ID, made.ID})}, 2},
		{"network", zt.AccessInfrastructureTargetListParams{VirtualNetworkID: cf.F(s.DefaultVNET())}, 121},
		{"made later", zt.AccessInfrastructureTargetListParams{CreatedAfter: cf.F(time.Now().Add(time.Hour))}, 0},
		{"made before", zt.AccessInfrastructureTargetListParams{CreatedBefore: cf.F(time.Now().Add(time.Hour))}, 121},
		{"changed since", zt.AccessInfrastructureTargetListParams{ModifiedAfter: cf.F(made.CreatedAt.Add(-time.Minute))}, 121},
	} {
		tt.filter.AccountID = account
		if l := all(t, c.ListAutoPaging(ctx, tt.filter)); len(l) != tt.want {
			t.Errorf("%s: %d targets, want %d", tt.name, len(l), tt.want)
		}
	}
	ordered := all(t, c.ListAutoPaging(ctx, zt.AccessInfrastructureTargetListParams{
		AccountID: account, Order: cf.F(zt.AccessInfrastructureTargetListParamsOrderHostname), Direction: cf.F(zt.AccessInfrastructureTargetListParamsDirectionDesc),
	}))
	if ordered[len(ordered)-1].Hostname != "infra-v6" {
		t.Errorf("the last by name descending is %q", ordered[len(ordered)-1].Hostname)
	}
	_, err := c.New(ctx, v6Target(s.AccountID, "other", "10.9.1.7"))
	status(t, "an address that is taken", err, http.StatusBadRequest)
	var ids []string
	for _, x := range many {
		ids = append(ids, x.ID)
	}
	if err := c.BulkDeleteV2(ctx, zt.AccessInfrastructureTargetBulkDeleteV2Params{AccountID: account, TargetIDs: cf.F(ids)}); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, made.ID, zt.AccessInfrastructureTargetDeleteParams{AccountID: account}); err != nil {
		t.Error(err)
	}
	_, err = c.Get(ctx, made.ID, zt.AccessInfrastructureTargetGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
	if l := all(t, c.ListAutoPaging(ctx, zt.AccessInfrastructureTargetListParams{AccountID: account})); len(l) != 0 {
		t.Errorf("%d are left", len(l))
	}
}

func TestV6_ApplicationsAndPolicies(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access, cf.F(s.AccountID)
	ctx := t.Context()
	email := func(s string) zt.AccessRuleUnionParam {
		return zt.EmailRuleParam{Email: cf.F(zt.EmailRuleEmailParam{Email: cf.F(s)})}
	}
	made := must(c.Applications.New(ctx, zt.AccessApplicationNewParams{AccountID: account, Body: zt.AccessApplicationNewParamsBodyInfrastructureApplication{
		Name: cf.F("ssh"), Type: cf.F(zt.ApplicationTypeInfrastructure),
		TargetCriteria: cf.F([]zt.AccessApplicationNewParamsBodyInfrastructureApplicationTargetCriterion{{
			Port: cf.F(int64(22)), Protocol: cf.F(zt.AccessApplicationNewParamsBodyInfrastructureApplicationTargetCriteriaProtocolSSH),
			TargetAttributes: cf.F(map[string][]string{"hostname": {"web-1", "web-2"}}),
		}}),
		Policies: cf.F([]zt.AccessApplicationNewParamsBodyInfrastructureApplicationPolicy{{
			Name: cf.F("ops"), Decision: cf.F(zt.DecisionAllow), Include: cf.F([]zt.AccessRuleUnionParam{email("JDoe@company.com")}),
			ConnectionRules: cf.F(zt.AccessApplicationNewParamsBodyInfrastructureApplicationPoliciesConnectionRules{
				SSH: cf.F(zt.AccessApplicationNewParamsBodyInfrastructureApplicationPoliciesConnectionRulesSSH{Usernames: cf.F([]string{"root", "ec2-user"}), AllowEmailAlias: cf.F(true)}),
			}),
		}}),
	}}))
	if _, ok := made.AsUnion().(zt.AccessApplicationNewResponseInfrastructureApplication); !ok {
		t.Errorf("the SDK takes the answer for a %T", made.AsUnion())
	}
	got := must(c.Applications.Get(ctx, zt.AppIDParam(made.ID), zt.AccessApplicationGetParams{AccountID: account}))
	app, ok := got.AsUnion().(zt.AccessApplicationGetResponseInfrastructureApplication)
	if !ok || len(app.Policies) != 1 || len(app.TargetCriteria) != 1 || len(app.Policies[0].ConnectionRules.SSH.Usernames) != 2 || !app.Policies[0].ConnectionRules.SSH.AllowEmailAlias {
		t.Errorf("read %T %+v", got.AsUnion(), app)
	}
	for _, tt := range []struct {
		filter zt.AccessApplicationListParams
		want   int
	}{
		{zt.AccessApplicationListParams{}, 1},
		{zt.AccessApplicationListParams{Name: cf.F("ss")}, 1},
		{zt.AccessApplicationListParams{Name: cf.F("ss"), Exact: cf.F(true)}, 0},
		{zt.AccessApplicationListParams{AUD: cf.F(app.AUD)}, 1},
		{zt.AccessApplicationListParams{Search: cf.F("SSH")}, 1},
		{zt.AccessApplicationListParams{TargetAttributes: cf.F("hostname=web-2")}, 1},
		{zt.AccessApplicationListParams{TargetAttributes: cf.F("hostname=web-3")}, 0},
	} {
		tt.filter.AccountID = account
		if l := all(t, c.Applications.ListAutoPaging(ctx, tt.filter)); len(l) != tt.want {
			t.Errorf("%+v: %d applications, want %d", tt.filter, len(l), tt.want)
		}
	}
	policy := must(c.Applications.Policies.New(ctx, app.ID, zt.AccessApplicationPolicyNewParams{AccountID: account},
		option.WithJSONSet("name", "more"), option.WithJSONSet("decision", "allow"),
		option.WithJSONSet("include", []any{map[string]any{"everyone": map[string]any{}}}),
		option.WithJSONSet("connection_rules", map[string]any{"ssh": map[string]any{"usernames": []string{"guest"}}})))
	if policy.ID == "" || policy.Precedence != 2 {
		t.Errorf("policy %+v", policy)
	}
	if l := all(t, c.Applications.Policies.ListAutoPaging(ctx, app.ID, zt.AccessApplicationPolicyListParams{AccountID: account})); len(l) != 2 {
		t.Errorf("%d policies", len(l))
	}
	if d := must(c.Applications.Policies.Delete(ctx, app.ID, policy.ID, zt.AccessApplicationPolicyDeleteParams{AccountID: account})); d.ID != policy.ID {
		t.Errorf("deleted policy %+v", d)
	}
	if d := must(c.Applications.Delete(ctx, zt.AppIDParam(app.ID), zt.AccessApplicationDeleteParams{AccountID: account})); d.ID != app.ID {
		t.Errorf("deleted %+v", d)
	}
	_, err := c.Applications.Get(ctx, zt.AppIDParam(app.ID), zt.AccessApplicationGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_Groups(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.Groups, cf.F(s.AccountID)
	ctx := t.Context()
	everyone := []zt.AccessRuleUnionParam{zt.EveryoneRuleParam{Everyone: cf.F(zt.EveryoneRuleEveryoneParam{})}}
	g := must(c.New(ctx, zt.AccessGroupNewParams{AccountID: account, Name: cf.F("staff"), Include: cf.F(everyone)}))
	up := must(c.Update(ctx, g.ID, zt.AccessGroupUpdateParams{AccountID: account, Name: cf.F("people"), Include: cf.F(everyone), Exclude: cf.F(everyone)}))
	if up.Name != "people" || len(up.Exclude) != 1 {
		t.Errorf("updated %+v", up)
	}
	if l := all(t, c.ListAutoPaging(ctx, zt.AccessGroupListParams{AccountID: account})); len(l) != 1 || l[0].Name != "people" {
		t.Errorf("groups %+v", l)
	}
	if d := must(c.Delete(ctx, g.ID, zt.AccessGroupDeleteParams{AccountID: account})); d.ID != g.ID {
		t.Errorf("deleted %+v", d)
	}
	_, err := c.Get(ctx, g.ID, zt.AccessGroupGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_NetworkRulesAndLists(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Gateway, cf.F(s.AccountID)
	ctx := t.Context()
	list := must(c.Lists.New(ctx, zt.GatewayListNewParams{
		AccountID: account, Name: cf.F("servers"), Type: cf.F(zt.GatewayListNewParamsTypeIP), Items: cf.F([]zt.GatewayListNewParamsItem{{Value: cf.F("10.0.0.1")}}),
	}))
	edited := must(c.Lists.Edit(ctx, list.ID, zt.GatewayListEditParams{
		AccountID: account, Append: cf.F([]zt.GatewayListEditParamsAppend{{Value: cf.F("10.0.1.0/24")}}), Remove: cf.F([]string{"10.0.0.1"}),
	}))
	if got := must(c.Lists.Get(ctx, list.ID, zt.GatewayListGetParams{AccountID: account})); edited.Count != 1 || got.Items[0].Value != "10.0.1.0/24" {
		t.Errorf("edited %+v, read %+v", edited, got)
	}
	if up := must(c.Lists.Update(ctx, list.ID, zt.GatewayListUpdateParams{AccountID: account, Name: cf.F("hosts")})); up.Name != "hosts" || up.Count != 1 {
		t.Errorf("updated list %+v", up)
	}
	traffic := fmt.Sprintf("net.dst.ip in $%s", list.ID)
	rule := must(c.Rules.New(ctx, zt.GatewayRuleNewParams{
		AccountID: account, Name: cf.F("close"), Action: cf.F(zt.GatewayRuleNewParamsActionBlock), Filters: cf.F([]zt.GatewayFilter{zt.GatewayFilterL4}),
		Traffic: cf.F(traffic), Enabled: cf.F(true), Precedence: cf.F(int64(100)),
	}))
	if rule.Traffic != traffic || rule.Precedence != 100 || rule.Version != 1 {
		t.Errorf("rule %+v", rule)
	}
	up := must(c.Rules.Update(ctx, rule.ID, zt.GatewayRuleUpdateParams{
		AccountID: account, Name: cf.F("open"), Action: cf.F(zt.GatewayRuleUpdateParamsActionAllow), Filters: cf.F([]zt.GatewayFilter{zt.GatewayFilterL4}),
		Traffic: cf.F("access.target"), Precedence: cf.F(int64(50)),
	}))
	if got := must(c.Rules.Get(ctx, rule.ID, zt.GatewayRuleGetParams{AccountID: account})); up.Traffic != "access.target" || got.Precedence != 50 {
		t.Errorf("updated %+v, read %+v", up, got)
	}
	if l := all(t, c.Rules.ListAutoPaging(ctx, zt.GatewayRuleListParams{AccountID: account})); len(l) != 1 {
		t.Errorf("%d rules", len(l))
	}
	must(c.Rules.Delete(ctx, rule.ID, zt.GatewayRuleDeleteParams{AccountID: account}))
	_, err := c.Rules.Get(ctx, rule.ID, zt.GatewayRuleGetParams{AccountID: account})
	status(t, "rule after its deletion", err, http.StatusNotFound)
	must(c.Lists.Delete(ctx, list.ID, zt.GatewayListDeleteParams{AccountID: account}))
	if l := all(t, c.Lists.ListAutoPaging(ctx, zt.GatewayListListParams{AccountID: account})); len(l) != 0 {
		t.Errorf("%d lists are left", len(l))
	}
}

func TestV6_GatewayCA(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.GatewayCA, cf.F(s.AccountID)
	ctx := t.Context()
	ca := must(c.New(ctx, zt.AccessGatewayCANewParams{AccountID: account}))
	if l := all(t, c.ListAutoPaging(ctx, zt.AccessGatewayCAListParams{AccountID: account})); len(l) != 1 || l[0].PublicKey != ca.PublicKey {
		t.Errorf("authorities %+v", l)
	}
	must(c.Delete(ctx, ca.ID, zt.AccessGatewayCADeleteParams{AccountID: account}))
}

func TestV6_DevicesAndUsers(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust, cf.F(s.AccountID)
	ctx := t.Context()
	one, two := s.Enrol("a@company.com", "laptop"), s.Enrol("b@company.com", "desktop")
	if l := all(t, c.Devices.ListAutoPaging(ctx, zt.DeviceListParams{AccountID: account})); len(l) != 2 {
		t.Errorf("%d devices", len(l))
	}
	if l := all(t, c.Devices.Devices.ListAutoPaging(ctx, zt.DeviceDeviceListParams{AccountID: account})); len(l) != 2 {
		t.Errorf("%d physical devices", len(l))
	}
	regs := all(t, c.Devices.Registrations.ListAutoPaging(ctx, zt.DeviceRegistrationListParams{AccountID: account}))
	if len(regs) != 2 {
		t.Fatalf("%d registrations", len(regs))
	}
	must(c.Devices.Registrations.Revoke(ctx, zt.DeviceRegistrationRevokeParams{AccountID: account, ID: cf.F([]string{one.DeviceID})}))
	got := must(c.Devices.Registrations.Get(ctx, one.DeviceID, zt.DeviceRegistrationGetParams{AccountID: account}))
	if got.RevokedAt == "" || got.User.Email != "a@company.com" {
		t.Errorf("revoked registration %+v", got)
	}
	must(c.Devices.Registrations.Unrevoke(ctx, zt.DeviceRegistrationUnrevokeParams{AccountID: account, ID: cf.F([]string{one.DeviceID})}))
	users := all(t, c.Access.Users.ListAutoPaging(ctx, zt.AccessUserListParams{AccountID: account, Email: cf.F("b@company.com")}))
	if len(users) != 1 || users[0].Email != "b@company.com" {
		t.Errorf("users %+v", users)
	}
	if ok := must(c.Organizations.RevokeUsers(ctx, zt.OrganizationRevokeUsersParams{AccountID: account, Email: cf.F("b@company.com"), QueryDevices: cf.F(true)})); !*ok {
		t.Error("the user was not revoked")
	}
	if got := must(c.Devices.Registrations.Get(ctx, two.DeviceID, zt.DeviceRegistrationGetParams{AccountID: account})); got.RevokedAt == "" {
		t.Errorf("registration of a revoked user %+v", got)
	}
}
