package sdk_test

import (
	"fmt"
	"strings"
	"testing"

	cf "github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/option"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

func query(name, value string) option.RequestOption { return option.WithQuery(name, value) }

func TestV6_NetworkFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Networks.VirtualNetworks
	first, gone := s.VNET("a-staging"), s.VNET("b-old")
	must(c.Delete(t.Context(), gone, zt.NetworkVirtualNetworkDeleteParams{AccountID: account}))
	type P = zt.NetworkVirtualNetworkListParams
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(n zt.VirtualNetwork) string { return n.Name })
	}
	effects(t, list,
		row[P]{what: "none", want: "a-staging default"},
		row[P]{what: "ID", params: P{ID: cf.F(first)}, want: "a-staging"},
		row[P]{what: "name", params: P{Name: cf.F("a-staging")}, want: "a-staging"},
		row[P]{what: "the default, as it is called", params: P{IsDefaultNetwork: cf.F(true)}, want: "default"},
		row[P]{what: "the default, as it was called", params: P{IsDefault: cf.F(true)}, want: "default"},
		row[P]{what: "others", params: P{IsDefaultNetwork: cf.F(false)}, want: "a-staging"},
		row[P]{what: "deleted", params: P{IsDeleted: cf.F(true)}, want: "b-old"},
	)
}

func TestV6_RouteFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Networks.Routes
	lab, _ := s.Tunnel("lab")
	office, _ := s.Tunnel("office")
	staging := s.VNET("z-staging")
	ids := map[string]string{}
	for _, r := range []struct{ prefix, tunnel, vnet, comment string }{
		{"10.0.0.0/8", lab, s.DefaultVNET(), "wide"}, {"10.1.0.0/16", office, s.DefaultVNET(), ""}, {"10.1.2.0/24", lab, s.DefaultVNET(), ""}, {"10.2.0.0/16", lab, s.DefaultVNET(), "old"}, {"192.0.2.0/24", lab, staging, ""},
	} {
		ids[r.prefix] = must(c.New(t.Context(), zt.NetworkRouteNewParams{
			AccountID: account, Network: cf.F(r.prefix), TunnelID: cf.F(r.tunnel), VirtualNetworkID: cf.F(r.vnet), Comment: cf.F(r.comment),
		})).ID
	}
	must(c.Delete(t.Context(), ids["10.2.0.0/16"], zt.NetworkRouteDeleteParams{AccountID: account}))
	type P = zt.NetworkRouteListParams
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(r zt.Teamnet) string { return r.Network })
	}
	effects(t, list,
		row[P]{what: "none", want: "10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 192.0.2.0/24"},
		row[P]{what: "ID", params: P{RouteID: cf.F(ids["10.1.0.0/16"])}, want: "10.1.0.0/16"},
		row[P]{what: "comment", params: P{Comment: cf.F("wide")}, want: "10.0.0.0/8"},
		row[P]{what: "deleted", params: P{IsDeleted: cf.F(true)}, want: "10.2.0.0/16"},
		row[P]{what: "existed long ago", params: P{ExistedAt: cf.F(longAgo)}, want: ""},
		row[P]{what: "inside", params: P{NetworkSubset: cf.F("10.0.0.0/9")}, want: "10.1.0.0/16 10.1.2.0/24"},
		row[P]{what: "around", params: P{NetworkSuperset: cf.F("10.1.0.0/16")}, want: "10.0.0.0/8 10.1.0.0/16"},
		row[P]{what: "exactly", params: P{NetworkSubset: cf.F("10.1.0.0/16"), NetworkSuperset: cf.F("10.1.0.0/16")}, want: "10.1.0.0/16"},
		row[P]{what: "tunnel", params: P{TunnelID: cf.F(office)}, want: "10.1.0.0/16"},
		row[P]{what: "network", params: P{VirtualNetworkID: cf.F(staging)}, want: "192.0.2.0/24"},
		row[P]{what: "of other tunnels", params: P{TunTypes: cf.F([]zt.NetworkRouteListParamsTunType{zt.NetworkRouteListParamsTunTypeWARPConnector})}, want: ""},
		row[P]{what: "a page", params: P{PerPage: cf.F(1.0)}, want: "10.0.0.0/8"},
		row[P]{what: "the second page", params: P{PerPage: cf.F(2.0), Page: cf.F(2.0)}, want: "10.1.2.0/24 192.0.2.0/24"},
	)
}

// A prefix that is routed in two networks is found, changed and deleted in the one that is meant.
func TestV6_RoutesByPrefix(t *testing.T) {
	s := controltest.New(t)
	account, staging := cf.F(s.AccountID), s.VNET("staging")
	routes := v6(t, s).ZeroTrust.Networks.Routes
	c := routes.Networks
	ctx := t.Context()
	lab, _ := s.Tunnel("lab")
	office, _ := s.Tunnel("office")
	const prefix, escaped = "10.9.0.0/16", "10.9.0.0%2F16"
	for vnet, tunnel := range map[string]string{s.DefaultVNET(): lab, staging: office} {
		if r := must(c.New(ctx, escaped, zt.NetworkRouteNetworkNewParams{AccountID: account, TunnelID: cf.F(tunnel), VirtualNetworkID: cf.F(vnet)})); r.Network != prefix {
			t.Errorf("made %+v", r)
		}
	}
	type Of = zt.NetworkRouteIPGetParams
	by := func(p Of, also with) ([]string, error) {
		p.AccountID = account
		r, err := routes.IPs.Get(ctx, "10.9.1.1", p, also...)
		if err != nil {
			return nil, err
		}
		return []string{r.TunnelName}, nil
	}
	effects(t, by, row[Of]{what: "the default network", want: "lab"}, row[Of]{what: "another network", params: Of{VirtualNetworkID: cf.F(staging)}, want: "office"})
	_, err := by(Of{DefaultVirtualNetworkFallback: cf.F(false)}, nil)
	status(t, "routes outside of networks", err, 404)
	proved[Of](t, "DefaultVirtualNetworkFallback")

	if r := must(c.Edit(ctx, escaped, zt.NetworkRouteNetworkEditParams{AccountID: account})); r.TunnelID != lab {
		t.Errorf("changed %+v", r)
	}
	type D = zt.NetworkRouteNetworkDeleteParams
	for what, p := range map[string]D{
		"by another tunnel": {VirtualNetworkID: cf.F(staging), TunnelID: cf.F(lab)},
		"by another type":   {VirtualNetworkID: cf.F(staging), TunType: cf.F(zt.NetworkRouteNetworkDeleteParamsTunTypeWARPConnector)},
	} {
		p.AccountID = account
		_, err := c.Delete(ctx, escaped, p)
		status(t, what, err, 404)
	}
	r := must(c.Delete(ctx, escaped, D{
		AccountID: account, VirtualNetworkID: cf.F(staging), TunnelID: cf.F(office), TunType: cf.F(zt.NetworkRouteNetworkDeleteParamsTunTypeCfdTunnel),
	}))
	if left := all(t, routes.ListAutoPaging(ctx, zt.NetworkRouteListParams{AccountID: account})); r.TunnelID != office || len(left) != 1 || left[0].TunnelID != lab {
		t.Errorf("deleted %+v, left %+v", r, left)
	}
	proved[D](t, "VirtualNetworkID", "TunnelID", "TunType")
}

func TestV6_TunnelFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Tunnels.Cloudflared
	a, token := s.Tunnel("lab-a")
	s.Tunnel("lab-b")
	gone, _ := s.Tunnel("office")
	must(c.Delete(t.Context(), gone, zt.TunnelCloudflaredDeleteParams{AccountID: account}))
	connect(t, s, token)
	type P = zt.TunnelCloudflaredListParams
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.CloudflareTunnel) string { return x.Name })
	}
	effects(t, list,
		row[P]{what: "none", want: "lab-a lab-b"},
		row[P]{what: "name", params: P{Name: cf.F("lab-b")}, want: "lab-b"},
		row[P]{what: "ID", params: P{UUID: cf.F(a)}, want: "lab-a"},
		row[P]{what: "without a prefix", params: P{ExcludePrefix: cf.F("lab-a")}, want: "lab-b"},
		row[P]{what: "with a prefix", params: P{IncludePrefix: cf.F("lab-a")}, want: "lab-a"},
		row[P]{what: "deleted", params: P{IsDeleted: cf.F(true)}, want: "office"},
		row[P]{what: "existed long ago", params: P{ExistedAt: cf.F(longAgo)}, want: ""},
		row[P]{what: "healthy", params: P{Status: cf.F(zt.TunnelCloudflaredListParamsStatusHealthy)}, want: "lab-a"},
		row[P]{what: "inactive", params: P{Status: cf.F(zt.TunnelCloudflaredListParamsStatusInactive)}, want: "lab-b"},
		row[P]{what: "active then", params: P{WasActiveAt: cf.F(future)}, want: "lab-a"},
		row[P]{what: "inactive then", params: P{WasInactiveAt: cf.F(future)}, want: "lab-b"},
		row[P]{what: "a page", params: P{PerPage: cf.F(1.0)}, want: "lab-a"},
		row[P]{what: "the second page", params: P{PerPage: cf.F(1.0), Page: cf.F(2.0)}, want: "lab-b"},
	)
	type Q = zt.TunnelListParams
	every := func(p Q, also with) ([]string, error) {
		p.AccountID = account
		l, err := v6(t, s).ZeroTrust.Tunnels.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.TunnelListResponse) string { return x.Name })
	}
	effects(t, every,
		row[Q]{what: "of every type", want: "lab-a lab-b"},
		row[Q]{what: "of other types", params: Q{TunTypes: cf.F([]zt.TunnelListParamsTunType{zt.TunnelListParamsTunTypeWARPConnector, zt.TunnelListParamsTunTypeMagic})}, want: ""},
		row[Q]{what: "name", params: Q{Name: cf.F("lab-b")}, want: "lab-b"},
		row[Q]{what: "ID", params: Q{UUID: cf.F(a)}, want: "lab-a"},
		row[Q]{what: "without a prefix", params: Q{ExcludePrefix: cf.F("lab-a")}, want: "lab-b"},
		row[Q]{what: "with a prefix", params: Q{IncludePrefix: cf.F("lab-a")}, want: "lab-a"},
		row[Q]{what: "deleted", params: Q{IsDeleted: cf.F(true)}, want: "office"},
		row[Q]{what: "existed long ago", params: Q{ExistedAt: cf.F(longAgo)}, want: ""},
		row[Q]{what: "healthy", params: Q{Status: cf.F(zt.TunnelListParamsStatusHealthy)}, want: "lab-a"},
		row[Q]{what: "active then", params: Q{WasActiveAt: cf.F(future)}, want: "lab-a"},
		row[Q]{what: "inactive then", params: Q{WasInactiveAt: cf.F(future)}, want: "lab-b"},
		row[Q]{what: "the second page", params: Q{PerPage: cf.F(1.0), Page: cf.F(2.0)}, want: "lab-b"},
	)
}

func TestV6_GroupTokenAndUserFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Access
	ctx := t.Context()
	everyone := []zt.AccessRuleUnionParam{zt.EveryoneRuleParam{Everyone: cf.F(zt.EveryoneRuleEveryoneParam{})}}
	for _, name := range []string{"ops", "ops-europe", "staff"} {
		must(c.Groups.New(ctx, zt.AccessGroupNewParams{AccountID: account, Name: cf.F(name), Include: cf.F(everyone)}))
		must(c.ServiceTokens.New(ctx, zt.AccessServiceTokenNewParams{AccountID: account, Name: cf.F(name)}))
		must(c.Users.New(ctx, zt.AccessUserNewParams{AccountID: account, Email: cf.F(name + "@b.c"), Name: cf.F("The " + name)}))
	}
	type G = zt.AccessGroupListParams
	groups := func(p G, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Groups.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.AccessGroupListResponse) string { return x.Name })
	}
	effects(t, groups,
		row[G]{what: "none", want: "ops ops-europe staff"},
		row[G]{what: "name", params: G{Name: cf.F("ops")}, want: "ops"},
		row[G]{what: "search", params: G{Search: cf.F("EURO")}, want: "ops-europe"},
		row[G]{what: "the second page", params: G{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "staff"},
	)
	type K = zt.AccessServiceTokenListParams
	tokens := func(p K, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.ServiceTokens.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.ServiceToken) string { return x.Name })
	}
	effects(t, tokens,
		row[K]{what: "none", want: "ops ops-europe staff"},
		row[K]{what: "name", params: K{Name: cf.F("ops")}, want: "ops"},
		row[K]{what: "search", params: K{Search: cf.F("EURO")}, want: "ops-europe"},
		row[K]{what: "the second page", params: K{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "staff"},
	)
	type U = zt.AccessUserListParams
	users := func(p U, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Users.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.AccessUserListResponse) string { return x.Email })
	}
	effects(t, users,
		row[U]{what: "email", params: U{Email: cf.F("OPS@b.c")}, want: "ops@b.c"},
		row[U]{what: "name", params: U{Name: cf.F("The staff")}, want: "staff@b.c"},
		row[U]{what: "search", params: U{Search: cf.F("europe@")}, want: "ops-europe@b.c"},
		row[U]{what: "the second page", params: U{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "staff@b.c"},
	)
}

func TestV6_ListAndProviderFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust
	ctx := t.Context()
	for name, kind := range map[string]zt.GatewayListNewParamsType{"a": zt.GatewayListNewParamsTypeIP, "b": zt.GatewayListNewParamsTypeEmail} {
		must(c.Gateway.Lists.New(ctx, zt.GatewayListNewParams{AccountID: account, Name: cf.F(name), Type: cf.F(kind)}))
	}
	type L = zt.GatewayListListParams
	lists := func(p L, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Gateway.Lists.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.GatewayList) string { return x.Name })
	}
	effects(t, lists, row[L]{what: "none", want: "a b"}, row[L]{what: "type", params: L{Type: cf.F(zt.GatewayListListParamsTypeEmail)}, want: "b"})

	for i, name := range []string{"one", "two", "three"} {
		must(c.IdentityProviders.New(ctx, zt.IdentityProviderNewParams{AccountID: account, IdentityProvider: zt.IdentityProviderAccessGitHubParam{
			Name: cf.F(name), Type: cf.F(zt.IdentityProviderTypeGitHub), SCIMConfig: cf.F(zt.IdentityProviderSCIMConfigParam{Enabled: cf.F(i == 1)}), Config: cf.F(zt.GenericOAuthConfigParam{ClientID: cf.F("id"), ClientSecret: cf.F("hush")}),
		}}))
	}
	type I = zt.IdentityProviderListParams
	providers := func(p I, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.IdentityProviders.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.IdentityProviderListResponse) string { return x.Name })
	}
	effects(t, providers,
		row[I]{what: "none", want: "one two three"},
		row[I]{what: "with SCIM", params: I{SCIMEnabled: cf.F("true")}, want: "two"},
		row[I]{what: "the second page", params: I{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "three"},
	)
}

func TestV6_TargetFilters(t *testing.T) {
	s := controltest.New(t)
	account, staging := cf.F(s.AccountID), s.VNET("staging")
	c := v6(t, s).ZeroTrust.Access.Infrastructure.Targets
	ids := map[string]string{}
	for _, x := range []struct{ hostname, v4, v6, env, vnet string }{
		{"db-2", "10.0.0.2", "2001:db8::2", "prod", ""}, {"db-1", "10.0.0.1", "2001:db8::1", "test", ""}, {"web-1", "10.0.1.3", "2001:db8::3", "", staging},
	} {
		p := zt.AccessInfrastructureTargetNewParams{AccountID: account, Hostname: cf.F(x.hostname), IP: cf.F(zt.AccessInfrastructureTargetNewParamsIP{
			IPV4: cf.F(zt.AccessInfrastructureTargetNewParamsIPIPV4{IPAddr: cf.F(x.v4)}), IPV6: cf.F(zt.AccessInfrastructureTargetNewParamsIPIPV6{IPAddr: cf.F(x.v6)}),
		})}
		if x.vnet != "" {
			p.IP.Value.IPV4.Value.VirtualNetworkID, p.IP.Value.IPV6.Value.VirtualNetworkID = cf.F(x.vnet), cf.F(x.vnet)
		}
		var tags []option.RequestOption // of which the SDK knows nothing
		if x.env != "" {
			tags = append(tags, option.WithJSONSet("tags", map[string]string{"env": x.env}))
		}
		made := must(c.New(t.Context(), p, tags...))
		if got := made.JSON.ExtraFields["tags"].Raw(); x.env != "" && got != fmt.Sprintf(`{"env":%q}`, x.env) {
			t.Errorf("tags %s", got)
		}
		ids[x.hostname] = made.ID
	}
	type P = zt.AccessInfrastructureTargetListParams
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.AccessInfrastructureTargetListResponse) string { return x.Hostname })
	}
	const byName, desc = zt.AccessInfrastructureTargetListParamsOrderHostname, zt.AccessInfrastructureTargetListParamsDirectionDesc
	effects(t, list,
		row[P]{what: "none", want: "db-2 db-1 web-1"},
		row[P]{what: "hostname", params: P{Hostname: cf.F("DB-1")}, want: "db-1"},
		row[P]{what: "part of the hostname", params: P{HostnameContains: cf.F("EB")}, want: "web-1"},
		row[P]{what: "IPv4", params: P{IPV4: cf.F("10.0.0.1")}, want: "db-1"},
		row[P]{what: "IPv6", params: P{IPV6: cf.F("2001:db8:0::2")}, want: "db-2"},
		row[P]{what: "several addresses", params: P{IPs: cf.F([]string{"10.0.0.2", "2001:db8::3"})}, want: "db-2 web-1"},
		row[P]{what: "pattern", params: P{IPLike: cf.F("10.0.1.*")}, want: "web-1"},
		row[P]{what: "a range", params: P{IPV4Start: cf.F("10.0.0.2"), IPV4End: cf.F("10.0.1.3")}, want: "db-2 web-1"},
		row[P]{what: "a range of IPv6", params: P{IPV6Start: cf.F("2001:db8::1"), IPV6End: cf.F("2001:db8::2")}, want: "db-2 db-1"},
		row[P]{what: "IDs", params: P{TargetIDs: cf.F([]string{ids["db-1"], ids["web-1"]})}, want: "db-1 web-1"},
		row[P]{what: "network", params: P{VirtualNetworkID: cf.F(staging)}, want: "web-1"},
		row[P]{what: "made later", params: P{CreatedAfter: cf.F(future)}, want: ""},
		row[P]{what: "made before", params: P{CreatedBefore: cf.F(past)}, want: ""},
		row[P]{what: "changed later", params: P{ModifiedAfter: cf.F(future)}, want: ""},
		row[P]{what: "changed before", params: P{ModifiedBefore: cf.F(past)}, want: ""},
		row[P]{what: "by name", params: P{Order: cf.F(byName)}, want: "db-1 db-2 web-1"},
		row[P]{what: "by name, the last first", params: P{Order: cf.F(byName), Direction: cf.F(desc)}, want: "web-1 db-2 db-1"},
		row[P]{what: "the last first", params: P{Direction: cf.F(desc)}, want: "web-1 db-1 db-2"},
		row[P]{what: "a page", params: P{PerPage: cf.F(int64(2))}, want: "db-2 db-1"},
		row[P]{what: "the second page", params: P{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "web-1"},
		row[P]{what: "tag", also: with{query("tag", "env:test")}, want: "db-1"},
		row[P]{what: "by tag", also: with{query("order", "tag:env")}, want: "db-2 db-1 web-1"},
		row[P]{what: "by tag, the last first", also: with{query("order", "tag:env")}, params: P{Direction: cf.F(desc)}, want: "db-1 db-2 web-1"},
	)
}

func TestV6_DeviceFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Devices
	a, b, old := s.Enrol("b@b.c", "laptop-a"), s.Enrol("a@b.c", "laptop-b"), s.Enrol("c@b.c", "old")
	must(c.Registrations.Revoke(t.Context(), zt.DeviceRegistrationRevokeParams{AccountID: account, ID: cf.F([]string{old.RegistrationID})}))
	type P = zt.DeviceDeviceListParams
	const byName, byEmail, desc = zt.DeviceDeviceListParamsSortByName, zt.DeviceDeviceListParamsSortByLastSeenUserEmail, zt.DeviceDeviceListParamsSortOrderDesc
	cursor := ""
	devices := func(p P, also with) ([]string, error) {
		p.AccountID = account
		if !p.SortBy.Present {
			p.SortBy = cf.F(byName) // the order of IDs, which is the default, is another in each run
		}
		l, err := c.Devices.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		cursor = l.ResultInfo.Cursor
		return keys(l.Result, nil, func(x zt.DeviceDeviceListResponse) string {
			if x.LastSeenRegistration.Policy.ID != "" {
				return x.Name + "+" + x.LastSeenRegistration.Policy.ID
			}
			return x.Name
		})
	}
	effects(t, devices,
		row[P]{what: "ID", params: P{ID: cf.F([]string{a.DeviceID})}, want: "laptop-a"},
		row[P]{what: "search", params: P{Search: cf.F("laptop-b")}, want: "laptop-b"},
		row[P]{what: "user", params: P{LastSeenUser: cf.F(zt.DeviceDeviceListParamsLastSeenUser{Email: cf.F("a@b.c")})}, want: "laptop-b"},
		row[P]{what: "seen after", params: P{SeenAfter: cf.F(farOff)}, want: ""},
		row[P]{what: "seen before", params: P{SeenBefore: cf.F(longAgo)}, want: ""},
		row[P]{what: "without registration", params: P{ActiveRegistrations: cf.F(zt.DeviceDeviceListParamsActiveRegistrationsExclude)}, want: "old"},
		row[P]{what: "the last name first", params: P{SortOrder: cf.F(desc)}, want: "laptop-b laptop-a"},
		row[P]{what: "by user", params: P{SortBy: cf.F(byEmail)}, want: "laptop-b laptop-a"},
		row[P]{what: "with its profile", params: P{Include: cf.F("last_seen_registration.policy"), Search: cf.F("laptop-b")}, want: "laptop-b+default"},
		row[P]{what: "a page", params: P{PerPage: cf.F(int64(1))}, want: "laptop-a"},
	)
	if _, err := devices(P{PerPage: cf.F(int64(1))}, nil); err != nil || cursor == "" {
		t.Fatalf("cursor %q, %v", cursor, err)
	}
	effects(t, devices, row[P]{what: "what follows", params: P{Cursor: cf.F(cursor)}, want: "laptop-b"})

	type R = zt.DeviceRegistrationListParams
	const byUser, byAge, last = zt.DeviceRegistrationListParamsSortByUserEmail, zt.DeviceRegistrationListParamsSortByCreatedAt, zt.DeviceRegistrationListParamsSortOrderDesc
	registrations := func(p R, also with) ([]string, error) {
		p.AccountID = account
		if !p.SortBy.Present {
			p.SortBy = cf.F(byUser)
		}
		l, err := c.Registrations.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		cursor = l.ResultInfo.Cursor
		return keys(l.Result, nil, func(x zt.DeviceRegistrationListResponse) string {
			if x.Policy.ID != "" {
				return x.User.Email + "+" + x.Policy.ID
			}
			return x.User.Email
		})
	}
	user := must(c.Registrations.Get(t.Context(), a.RegistrationID, zt.DeviceRegistrationGetParams{AccountID: account})).User.ID
	effects(t, registrations,
		row[R]{what: "ID", params: R{ID: cf.F([]string{b.RegistrationID})}, want: "a@b.c"},
		row[R]{what: "search", params: R{Search: cf.F("b@b.c")}, want: "b@b.c"},
		row[R]{what: "device", params: R{Device: cf.F(zt.DeviceRegistrationListParamsDevice{ID: cf.F(a.DeviceID)})}, want: "b@b.c"},
		row[R]{what: "user", params: R{User: cf.F(zt.DeviceRegistrationListParamsUser{ID: cf.F([]string{user})})}, want: "b@b.c"},
		row[R]{what: "seen after", params: R{SeenAfter: cf.F(farOff)}, want: ""},
		row[R]{what: "seen before", params: R{SeenBefore: cf.F(longAgo)}, want: ""},
		row[R]{what: "revoked", params: R{Status: cf.F(zt.DeviceRegistrationListParamsStatusRevoked)}, want: "c@b.c"},
		row[R]{what: "all, the last first", params: R{Status: cf.F(zt.DeviceRegistrationListParamsStatusAll), SortOrder: cf.F(last)}, want: "c@b.c b@b.c a@b.c"},
		row[R]{what: "with its profile", params: R{Include: cf.F("policy"), Search: cf.F("b@b.c")}, want: "b@b.c+default"},
		row[R]{what: "a page", params: R{PerPage: cf.F(int64(1))}, want: "a@b.c"},
		row[R]{what: "by age", params: R{SortBy: cf.F(byAge)}, want: "b@b.c a@b.c"},
	)
	if _, err := registrations(R{PerPage: cf.F(int64(1))}, nil); err != nil || cursor == "" {
		t.Fatalf("cursor %q, %v", cursor, err)
	}
	effects(t, registrations, row[R]{what: "what follows", params: R{Cursor: cf.F(cursor)}, want: "b@b.c"})

	type G = zt.DeviceDeviceGetParams
	effects(t, func(p G, also with) ([]string, error) {
		p.AccountID = account
		x, err := c.Devices.Get(t.Context(), a.DeviceID, p, also...)
		if err != nil {
			return nil, err
		}
		return []string{x.Name + strings.TrimSpace(" "+x.LastSeenRegistration.Policy.ID)}, nil
	}, row[G]{what: "a device with its profile", params: G{Include: cf.F("last_seen_registration.policy")}, want: "laptop-adefault"})
	type GR = zt.DeviceRegistrationGetParams
	effects(t, func(p GR, also with) ([]string, error) {
		p.AccountID = account
		x, err := c.Registrations.Get(t.Context(), a.RegistrationID, p, also...)
		if err != nil {
			return nil, err
		}
		return []string{x.Policy.ID}, nil
	}, row[GR]{what: "a registration with its profile", params: GR{Include: cf.F("policy")}, want: "default"})
}

func TestV6_ApplicationAndPolicyFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Access
	ctx := t.Context()
	apps := map[string]string{}
	for _, name := range []string{"web", "web-2", "db"} {
		app := s.App(name, "host-"+name, "SSH", 22, "jdoe@company.com", "root")
		apps[name] = app.ID
		must(c.Policies.New(ctx, zt.AccessPolicyNewParams{AccountID: account, Name: cf.F(name), Decision: cf.F(zt.DecisionAllow), Include: cf.F(v6Include("a@b.c"))}))
		must(c.Applications.Policies.New(ctx, apps["web"], zt.AccessApplicationPolicyNewParams{AccountID: account}, option.WithJSONSet("name", "of "+name),
			option.WithJSONSet("decision", "allow"), option.WithJSONSet("include", []any{map[string]any{"everyone": map[string]any{}}})))
	}
	type P = zt.AccessApplicationListParams
	audience := ""
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Applications.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.AccessApplicationListResponse) string {
			if x.Name == "db" {
				audience = x.AUD
			}
			return x.Name
		})
	}
	effects(t, list, row[P]{what: "none", want: "web web-2 db"})
	effects(t, list,
		row[P]{what: "audience", params: P{AUD: cf.F(audience)}, want: "db"},
		row[P]{what: "part of the name", params: P{Name: cf.F("web")}, want: "web web-2"},
		row[P]{what: "name", params: P{Name: cf.F("web"), Exact: cf.F(true)}, want: "web"},
		row[P]{what: "domain", params: P{Domain: cf.F("nowhere.example")}, want: ""},
		row[P]{what: "search", params: P{Search: cf.F("DB")}, want: "db"},
		row[P]{what: "target", params: P{TargetAttributes: cf.F("hostname=host-db")}, want: "db"},
		row[P]{what: "a page", params: P{PerPage: cf.F(int64(2))}, want: "web web-2"},
		row[P]{what: "the second page", params: P{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "db"},
	)
	type R = zt.AccessPolicyListParams
	reusable := func(p R, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Policies.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.AccessPolicyListResponse) string { return x.Name })
	}
	effects(t, reusable,
		row[R]{what: "none", want: "web web-2 db"},
		row[R]{what: "the second page", params: R{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, want: "db"},
	)
	type A = zt.AccessApplicationPolicyListParams
	of := func(p A, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Applications.Policies.List(ctx, apps["web"], p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.AccessApplicationPolicyListResponse) string { return strings.ReplaceAll(x.Name, " ", "_") })
	}
	effects(t, of,
		row[A]{what: "none", want: "allow of_web of_web-2 of_db"},
		row[A]{what: "the second page", params: A{PerPage: cf.F(int64(3)), Page: cf.F(int64(2))}, want: "of_db"},
	)
}
