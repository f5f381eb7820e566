package sdk_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	cf "github.com/cloudflare/cloudflare-go"

	"weft/control/controltest"
)

// v0 is a client of the hand-written SDK. Its own limit of four requests a second is lifted.
func v0(t *testing.T, s *controltest.Server) (*cf.API, *cf.ResourceContainer) {
	t.Helper()
	c, err := cf.NewWithAPIToken(s.Token, cf.BaseURL(s.URL+"/client/v4"), cf.HTTPClient(httpClient(t, s)), cf.UsingRateLimit(10_000))
	if err != nil {
		t.Fatal(err)
	}
	return c, cf.AccountIdentifier(s.AccountID)
}

// gone asks for the error that the SDK makes of a 404.
func gone(t *testing.T, what string, err error) {
	t.Helper()
	var not *cf.NotFoundError
	if !errors.As(err, &not) {
		t.Errorf("%s: %v, want the SDK's NotFoundError", what, err)
	}
}

func TestV0_Tokens(t *testing.T) {
	s := controltest.New(t)
	c, _ := v0(t, s)
	if got := must(c.VerifyAPIToken(t.Context())); got.Status != "active" || got.ID == "" {
		t.Errorf("%+v", got)
	}
	s.Token = strings.Repeat("x", 40)
	c, _ = v0(t, s)
	var unauthorized *cf.AuthorizationError
	if _, err := c.VerifyAPIToken(t.Context()); !errors.As(err, &unauthorized) {
		t.Errorf("an unknown token: %v", err)
	}
}

func TestV0_VirtualNetworks(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	n := must(c.CreateTunnelVirtualNetwork(ctx, account, cf.TunnelVirtualNetworkCreateParams{Name: "staging", Comment: "c"}))
	if n.Name != "staging" || n.Comment != "c" || n.IsDefaultNetwork || n.CreatedAt == nil {
		t.Errorf("made %+v", n)
	}
	list := must(c.ListTunnelVirtualNetworks(ctx, account, cf.TunnelVirtualNetworksListParams{ID: n.ID, IsDeleted: cf.BoolPtr(false)}))
	if len(list) != 1 || list[0] != n && list[0].ID != n.ID {
		t.Errorf("list %+v", list)
	}
	byName := must(c.ListTunnelVirtualNetworks(ctx, account, cf.TunnelVirtualNetworksListParams{Name: "staging"}))
	isDefault := must(c.ListTunnelVirtualNetworks(ctx, account, cf.TunnelVirtualNetworksListParams{IsDefault: cf.BoolPtr(true)}))
	if len(byName) != 1 || len(isDefault) != 1 || isDefault[0].ID == n.ID {
		t.Errorf("by name %+v, default %+v", byName, isDefault)
	}
	up := must(c.UpdateTunnelVirtualNetwork(ctx, account, cf.TunnelVirtualNetworkUpdateParams{VnetID: n.ID, Name: "stage", Comment: "d", IsDefaultNetwork: cf.BoolPtr(true)}))
	if up.Name != "stage" || !up.IsDefaultNetwork {
		t.Errorf("updated %+v", up)
	}
	if err := c.DeleteTunnelVirtualNetwork(ctx, account, n.ID); err == nil {
		t.Error("the default network was deleted")
	}
	must(c.UpdateTunnelVirtualNetwork(ctx, account, cf.TunnelVirtualNetworkUpdateParams{VnetID: isDefault[0].ID, IsDefaultNetwork: cf.BoolPtr(true)}))
	if err := c.DeleteTunnelVirtualNetwork(ctx, account, n.ID); err != nil {
		t.Error(err)
	}
	if list := must(c.ListTunnelVirtualNetworks(ctx, account, cf.TunnelVirtualNetworksListParams{ID: n.ID, IsDeleted: cf.BoolPtr(false)})); len(list) != 0 {
		t.Errorf("after the deletion %+v", list)
	}
}

func TestV0_TunnelsAndRoutes(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	secret := base64.StdEncoding.EncodeToString(make([]byte, 32))
	tunnel := must(c.CreateTunnel(ctx, account, cf.TunnelCreateParams{Name: "lab", Secret: secret}))
	if got := must(c.GetTunnel(ctx, account, tunnel.ID)); got.Name != "lab" || got.Secret != "" {
		t.Errorf("tunnel %+v", got)
	}
	if token := must(c.GetTunnelToken(ctx, account, tunnel.ID)); token == "" {
		t.Error("no token")
	}
	vnet := s.VNET("staging")
	r := must(c.CreateTunnelRoute(ctx, account, cf.TunnelRoutesCreateParams{Network: "10.9.0.0/16", TunnelID: tunnel.ID, VirtualNetworkID: vnet, Comment: "x"}))
	if r.Network != "10.9.0.0/16" || r.TunnelID != tunnel.ID {
		t.Errorf("route %+v", r)
	}
	exact := cf.TunnelRoutesListParams{NetworkSubset: "10.9.0.0/16", NetworkSuperset: "10.9.0.0/16", VirtualNetworkID: vnet, IsDeleted: cf.BoolPtr(false)}
	if l := must(c.ListTunnelRoutes(ctx, account, exact)); len(l) != 1 || l[0].TunnelName != "lab" {
		t.Errorf("routes %+v", l)
	}
	if got := must(c.GetTunnelRouteForIP(ctx, account, cf.TunnelRoutesForIPParams{Network: "10.9.3.4", VirtualNetworkID: vnet})); got.Network != "10.9.0.0/16" {
		t.Errorf("route of an address %+v", got)
	}
	up := must(c.UpdateTunnelRoute(ctx, account, cf.TunnelRoutesUpdateParams{Network: "10.9.0.0/16", TunnelID: tunnel.ID, VirtualNetworkID: vnet, Comment: "y"}))
	if up.Comment != "y" {
		t.Errorf("updated %+v", up)
	}
	if err := c.DeleteTunnelRoute(ctx, account, cf.TunnelRoutesDeleteParams{Network: "10.9.0.0/16", VirtualNetworkID: vnet}); err != nil {
		t.Error(err)
	}
	if l := must(c.ListTunnelRoutes(ctx, account, exact)); len(l) != 0 {
		t.Errorf("after the deletion %+v", l)
	}
	if err := c.CleanupTunnelConnections(ctx, account, tunnel.ID); err != nil {
		t.Error(err)
	}
	if err := c.DeleteTunnel(ctx, account, tunnel.ID); err != nil {
		t.Error(err)
	}
}

func v0Target(hostname, addr, vnet string) cf.InfrastructureAccessTargetParams {
	return cf.InfrastructureAccessTargetParams{
		Hostname: hostname, IP: cf.InfrastructureAccessTargetIPInfo{IPV4: &cf.InfrastructureAccessTargetIPDetails{IPAddr: addr, VirtualNetworkId: vnet}},
	}
}

func TestV0_Targets(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	made := must(c.CreateInfrastructureAccessTarget(ctx, account, cf.CreateInfrastructureAccessTargetParams{InfrastructureAccessTargetParams: v0Target("Infra-V0", "10.9.0.1", "")}))
	if made.Hostname != "Infra-V0" || made.IP.IPV4.VirtualNetworkId != s.DefaultVNET() {
		t.Errorf("made %+v", made)
	}
	up := must(c.UpdateInfrastructureAccessTarget(ctx, account, cf.UpdateInfrastructureAccessTargetParams{ID: made.ID, ModifyParams: v0Target("infra-2", "10.9.0.2", "")}))
	got := must(c.GetInfrastructureAccessTarget(ctx, account, made.ID))
	if up.CreatedAt != made.CreatedAt || got.Hostname != "infra-2" || got.IP.IPV4.IPAddr != "10.9.0.2" {
		t.Errorf("updated %+v, read %+v", up, got)
	}
	_, err := c.CreateInfrastructureAccessTarget(ctx, account, cf.CreateInfrastructureAccessTargetParams{InfrastructureAccessTargetParams: v0Target("other", "10.9.0.2", "")})
	var refused *cf.RequestError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "infra-2") {
		t.Errorf("an address that is taken: %v, want an error that names the target", err)
	}
	for i := range 60 { // more than two pages of 25
		must(c.CreateInfrastructureAccessTarget(ctx, account, cf.CreateInfrastructureAccessTargetParams{InfrastructureAccessTargetParams: v0Target("many", fmt.Sprintf("10.9.1.%d", i+1), "")}))
	}
	for _, tt := range []struct {
		filter cf.InfrastructureAccessTargetListParams
		want   int
	}{
		{cf.InfrastructureAccessTargetListParams{}, 61},
		{cf.InfrastructureAccessTargetListParams{Hostname: "MANY"}, 60},
		{cf.InfrastructureAccessTargetListParams{HostnameContains: "fra"}, 1},
		{cf.InfrastructureAccessTargetListParams{IPV4: "10.9.1.7"}, 1},
		{cf.InfrastructureAccessTargetListParams{VirtualNetworkId: s.DefaultVNET()}, 61},
		{cf.InfrastructureAccessTargetListParams{CreatedAfter: "2999-01-01T00:00:00Z"}, 0},
		{cf.InfrastructureAccessTargetListParams{ModifedAfter: "2001-01-01T00:00:00Z"}, 61},
	} {
		list, _, err := c.ListInfrastructureAccessTargets(ctx, account, tt.filter)
		if err != nil || len(list) != tt.want {
			t.Errorf("%+v: %d targets, %v; want %d", tt.filter, len(list), err, tt.want)
		}
	}
	if err := c.DeleteInfrastructureAccessTarget(ctx, account, made.ID); err != nil {
		t.Error(err)
	}
	_, err = c.GetInfrastructureAccessTarget(ctx, account, made.ID)
	gone(t, "target", err)
}

func TestV0_ApplicationsAndPolicies(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	criteria := &[]cf.AccessInfrastructureTargetContext{{TargetAttributes: map[string][]string{"hostname": {"infra-v0"}}, Port: 22, Protocol: cf.AccessInfrastructureSSH}}
	app := must(c.CreateAccessApplication(ctx, account, cf.CreateAccessApplicationParams{Name: "one", Type: cf.Infrastructure, TargetContexts: criteria}))
	if app.AUD == "" || len(*app.TargetContexts) != 1 {
		t.Errorf("application %+v", app)
	}
	include := []any{cf.AccessGroupEmail{Email: struct {
		Email string `json:"email"`
	}{"JDoe@company.com"}}}
	ssh := func(users ...string) *cf.AccessInfrastructureConnectionRules {
		return &cf.AccessInfrastructureConnectionRules{SSH: &cf.AccessInfrastructureConnectionRulesSSH{Usernames: users}}
	}
	p := must(c.CreateAccessPolicy(ctx, account, cf.CreateAccessPolicyParams{
		ApplicationID: app.ID, Precedence: 3, Decision: "allow", Name: "p", Include: include, InfrastructureConnectionRules: ssh("root", "ec2-user"),
	}))
	if p.Precedence != 3 || len(p.InfrastructureConnectionRules.SSH.Usernames) != 2 || !strings.Contains(fmt.Sprint(p.Include), "JDoe@company.com") {
		t.Errorf("policy %+v", p)
	}
	must(c.UpdateAccessApplication(ctx, account, cf.UpdateAccessApplicationParams{ID: app.ID, Name: "two", Type: cf.Infrastructure, TargetContexts: criteria}))
	if got := must(c.GetAccessPolicy(ctx, account, cf.GetAccessPolicyParams{ApplicationID: app.ID, PolicyID: p.ID})); got.ID != p.ID {
		t.Error("replacing the application without policies took them away")
	}
	up := must(c.UpdateAccessPolicy(ctx, account, cf.UpdateAccessPolicyParams{
		ApplicationID: app.ID, PolicyID: p.ID, Precedence: 4, Decision: "allow", Name: "q", Include: include, InfrastructureConnectionRules: ssh("root"),
	}))
	if up.Name != "q" || up.Precedence != 4 {
		t.Errorf("updated %+v", up)
	}
	if list, _, err := c.ListAccessPolicies(ctx, account, cf.ListAccessPoliciesParams{ApplicationID: app.ID}); err != nil || len(list) != 1 {
		t.Errorf("policies %+v, %v", list, err)
	}
	if list, _, err := c.ListAccessApplications(ctx, account, cf.ListAccessApplicationsParams{}); err != nil || len(list) != 1 || list[0].Name != "two" {
		t.Errorf("applications %+v, %v", list, err)
	}
	if err := c.DeleteAccessPolicy(ctx, account, cf.DeleteAccessPolicyParams{ApplicationID: app.ID, PolicyID: p.ID}); err != nil {
		t.Error(err)
	}
	_, err := c.GetAccessPolicy(ctx, account, cf.GetAccessPolicyParams{ApplicationID: app.ID, PolicyID: p.ID})
	gone(t, "policy", err)
	if err := c.DeleteAccessApplication(ctx, account, app.ID); err != nil {
		t.Error(err)
	}
	_, err = c.GetAccessApplication(ctx, account, app.ID)
	gone(t, "application", err)
}

func TestV0_Groups(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	include := []any{map[string]any{"email_domain": map[string]string{"domain": "company.com"}}}
	g := must(c.CreateAccessGroup(ctx, account, cf.CreateAccessGroupParams{Name: "staff", Include: include}))
	if g.Name != "staff" || len(g.Include) != 1 || g.CreatedAt == nil {
		t.Errorf("group %+v", g)
	}
	up := must(c.UpdateAccessGroup(ctx, account, cf.UpdateAccessGroupParams{ID: g.ID, Name: "people", Include: include, Exclude: include}))
	if up.Name != "people" || len(up.Exclude) != 1 {
		t.Errorf("updated %+v", up)
	}
	if list, _, err := c.ListAccessGroups(ctx, account, cf.ListAccessGroupsParams{}); err != nil || len(list) != 1 {
		t.Errorf("groups %+v, %v", list, err)
	}
	if err := c.DeleteAccessGroup(ctx, account, g.ID); err != nil {
		t.Error(err)
	}
	_, err := c.GetAccessGroup(ctx, account, g.ID)
	gone(t, "group", err)
}

func TestV0_NetworkRules(t *testing.T) {
	s := controltest.New(t)
	c, _ := v0(t, s)
	ctx := t.Context()
	rule := cf.TeamsRule{
		Name: "first", Precedence: 1000, Enabled: true, Action: cf.Allow, Filters: []cf.TeamsFilterType{cf.L4Filter}, Traffic: "access.target",
	}
	made := must(c.TeamsCreateRule(ctx, s.AccountID, rule))
	if made.Traffic != "access.target" || made.Precedence != 1000 || made.Version != 1 {
		t.Errorf("made %+v", made)
	}
	rule.Action, rule.Traffic = cf.Block, "net.dst.port in {23  25}"
	up := must(c.TeamsUpdateRule(ctx, s.AccountID, made.ID, rule))
	if up.Traffic != rule.Traffic || up.Version != 2 {
		t.Errorf("updated %+v", up)
	}
	patched := must(c.TeamsPatchRule(ctx, s.AccountID, made.ID, cf.TeamsRulePatchRequest{ID: made.ID, Name: "first", Precedence: 7, Action: cf.Block}))
	if patched.Precedence != 7 || patched.Enabled || patched.Traffic != rule.Traffic {
		t.Errorf("patched %+v", patched)
	}
	if list := must(c.TeamsRules(ctx, s.AccountID)); len(list) != 1 {
		t.Errorf("rules %+v", list)
	}
	if err := c.TeamsDeleteRule(ctx, s.AccountID, made.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.TeamsRule(ctx, s.AccountID, made.ID); err == nil || !strings.Contains(err.Error(), "invalid rule id") {
		t.Errorf("after the deletion: %v", err)
	}
}

func TestV0_Lists(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	l := must(c.CreateTeamsList(ctx, account, cf.CreateTeamsListParams{Name: "servers", Type: "IP", Items: []cf.TeamsListItem{{Value: "10.0.0.1"}}}))
	must(c.PatchTeamsList(ctx, account, cf.PatchTeamsListParams{ID: l.ID, Append: []cf.TeamsListItem{{Value: "10.0.0.2"}}, Remove: []string{"10.0.0.1"}}))
	items, _, err := c.ListTeamsListItems(ctx, account, cf.ListTeamsListItemsParams{ListID: l.ID})
	if err != nil || len(items) != 1 || items[0].Value != "10.0.0.2" {
		t.Errorf("items %+v, %v", items, err)
	}
	up := must(c.UpdateTeamsList(ctx, account, cf.UpdateTeamsListParams{ID: l.ID, Name: "hosts", Type: "IP"}))
	if got := must(c.GetTeamsList(ctx, account, l.ID)); up.Name != "hosts" || got.Count != 1 {
		t.Errorf("updated %+v, read %+v", up, got)
	}
	if all, _, err := c.ListTeamsLists(ctx, account, cf.ListTeamListsParams{}); err != nil || len(all) != 1 {
		t.Errorf("lists %+v, %v", all, err)
	}
	if err := c.DeleteTeamsList(ctx, account, l.ID); err != nil {
		t.Error(err)
	}
	_, err = c.GetTeamsList(ctx, account, l.ID)
	gone(t, "list", err)
}

func TestV0_DevicesAndUsers(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	one, two := s.Enrol("a@company.com", "laptop"), s.Enrol("b@company.com", "desktop")
	devices := must(c.ListTeamsDevices(ctx, s.AccountID))
	if len(devices) != 2 {
		t.Errorf("devices %+v", devices)
	}
	if d := must(c.GetTeamsDeviceDetails(ctx, s.AccountID, one.DeviceID)); d.Name != "laptop" || d.User.Email != "a@company.com" {
		t.Errorf("device %+v", d)
	}
	must(c.RevokeTeamsDevices(ctx, s.AccountID, []string{one.DeviceID}))
	if d := must(c.GetTeamsDeviceDetails(ctx, s.AccountID, one.DeviceID)); d.RevokedAt == "" {
		t.Errorf("revoked device %+v", d)
	}
	users, _, err := c.ListAccessUsers(ctx, account, cf.AccessUserParams{})
	if err != nil || len(users) != 2 {
		t.Errorf("users %+v, %v", users, err)
	}
	if err := c.RevokeAccessUserTokens(ctx, account, cf.RevokeAccessUserTokensParams{Email: "b@company.com"}); err != nil {
		t.Error(err)
	}
	if d := must(c.GetTeamsDeviceDetails(ctx, s.AccountID, two.DeviceID)); d.RevokedAt == "" {
		t.Errorf("device of a revoked user %+v", d)
	}
}
