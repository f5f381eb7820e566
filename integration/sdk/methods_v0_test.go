package sdk_test

import (
	"encoding/base64"
	"testing"

	cf "github.com/cloudflare/cloudflare-go"

	"weft/control/controltest"
)

// The methods of v0 that the tests of the resources do not call.

func TestV0_SingleReads(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	g := must(c.CreateAccessGroup(ctx, account, cf.CreateAccessGroupParams{Name: "staff", Include: v0Include("a@b.c")}))
	if got := must(c.GetAccessGroup(ctx, account, g.ID)); got.Name != "staff" || len(got.Include) != 1 {
		t.Errorf("group %+v", got)
	}
	i := must(c.CreateDevicePostureIntegration(ctx, s.AccountID, cf.DevicePostureIntegration{
		Name: "crowd", Type: "crowdstrike_s2s", Interval: "10m", Config: cf.DevicePostureIntegrationConfig{ApiUrl: "https://x", ClientID: "i", ClientSecret: "hunter2", CustomerID: "c"},
	}))
	if got := must(c.DevicePostureIntegration(ctx, s.AccountID, i.IntegrationID)); got.Name != "crowd" || got.Config.CustomerID != "c" || got.Config.ClientSecret != "" {
		t.Errorf("integration %+v", got)
	}
	r := must(c.TeamsCreateRule(ctx, s.AccountID, cf.TeamsRule{Name: "close", Precedence: 10, Enabled: true, Action: cf.Block, Filters: []cf.TeamsFilterType{cf.L4Filter}, Traffic: "net.dst.port == 23"}))
	if got := must(c.TeamsRule(ctx, s.AccountID, r.ID)); got.Name != "close" || got.Traffic != r.Traffic || !got.Enabled {
		t.Errorf("rule %+v", got)
	}
}

func TestV0_FallbackDomainsOfAProfileArePutBack(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	p := must(c.CreateDeviceSettingsPolicy(ctx, account, cf.CreateDeviceSettingsPolicyParams{
		Name: cf.StringPtr("laptops"), Match: cf.StringPtr(`identity.email == "a@b.c"`), Precedence: cf.IntPtr(100),
	}))
	domains := []cf.FallbackDomain{{Suffix: "corp", DNSServer: []string{"10.0.0.53"}}}
	must(c.UpdateFallbackDomain(ctx, s.AccountID, domains))
	must(c.UpdateFallbackDomainDeviceSettingsPolicy(ctx, s.AccountID, *p.PolicyID, domains))
	if err := c.RestoreFallbackDomainDefaultsDeviceSettingsPolicy(ctx, s.AccountID, *p.PolicyID); err != nil {
		t.Fatal(err)
	}
	of, ofDefault := must(c.ListFallbackDomainsDeviceSettingsPolicy(ctx, s.AccountID, *p.PolicyID)), must(c.ListFallbackDomains(ctx, s.AccountID))
	if len(of) != 0 || len(ofDefault) != 1 {
		t.Errorf("the profile has %+v, the default %+v", of, ofDefault)
	}
}

// The names that tunnels had before.
func TestV0_ArgoTunnels(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	made := must(c.CreateArgoTunnel(ctx, s.AccountID, "lab", base64.StdEncoding.EncodeToString(make([]byte, 32))))
	if got := must(c.ArgoTunnel(ctx, s.AccountID, made.ID)); got.Name != "lab" || got.CreatedAt == nil {
		t.Errorf("tunnel %+v", got)
	}
	connect(t, s, must(c.GetTunnelToken(ctx, account, made.ID)))
	connectors := func() []cf.Connection { return must(c.ListTunnelConnections(ctx, account, made.ID)) }
	if got := connectors(); len(got) != 1 || got[0].RunAt == nil {
		t.Errorf("connectors %+v", got)
	}
	if err := c.CleanupArgoTunnelConnections(ctx, s.AccountID, made.ID); err != nil {
		t.Error(err)
	}
	await(t, "the connector to be gone", func() bool { return len(connectors()) == 0 })
	if err := c.DeleteArgoTunnel(ctx, s.AccountID, made.ID); err != nil {
		t.Error(err)
	}
	if left := must(c.ArgoTunnels(ctx, s.AccountID)); len(left) != 0 {
		t.Errorf("left %+v", left)
	}
}
