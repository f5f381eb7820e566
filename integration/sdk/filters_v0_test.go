package sdk_test

import (
	"fmt"
	"net/http"
	"testing"

	cf "github.com/cloudflare/cloudflare-go"

	"weft/control/controltest"
)

// v0 asks for pages of 25 and follows them, unless it is asked for a page itself.

func pageOf(number, size int) cf.ResultInfo { return cf.ResultInfo{Page: number, PerPage: size} }

func TestV0_NetworkFilters(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	first, gone := s.VNET("a-staging"), s.VNET("b-old")
	if err := c.DeleteTunnelVirtualNetwork(t.Context(), account, gone); err != nil {
		t.Fatal(err)
	}
	type P = cf.TunnelVirtualNetworksListParams
	effects(t, func(p P, _ with) ([]string, error) {
		l, err := c.ListTunnelVirtualNetworks(t.Context(), account, p)
		return keys(l, err, func(n cf.TunnelVirtualNetwork) string { return n.Name })
	},
		row[P]{what: "none", want: "a-staging default"},
		row[P]{what: "ID", params: P{ID: first}, want: "a-staging"},
		row[P]{what: "name", params: P{Name: "a-staging"}, want: "a-staging"},
		row[P]{what: "the default", params: P{IsDefault: cf.BoolPtr(true)}, want: "default"},
		row[P]{what: "others", params: P{IsDefault: cf.BoolPtr(false)}, want: "a-staging"},
		row[P]{what: "deleted", params: P{IsDeleted: cf.BoolPtr(true)}, want: "b-old"},
		row[P]{what: "the second page", params: P{PaginationOptions: cf.PaginationOptions{Page: 2, PerPage: 1}}, want: "default"},
	)
}

func TestV0_RouteFilters(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	lab, _ := s.Tunnel("lab")
	office, _ := s.Tunnel("office")
	staging := s.VNET("z-staging")
	for _, r := range []cf.TunnelRoutesCreateParams{
		{Network: "10.0.0.0/8", TunnelID: lab, Comment: "wide"},
		{Network: "10.1.0.0/16", TunnelID: office},
		{Network: "10.1.2.0/24", TunnelID: lab},
		{Network: "10.1.0.0/16", TunnelID: lab, VirtualNetworkID: staging},
		{Network: "10.2.0.0/16", TunnelID: lab},
	} {
		must(c.CreateTunnelRoute(ctx, account, r))
	}
	if err := c.DeleteTunnelRoute(ctx, account, cf.TunnelRoutesDeleteParams{Network: "10.2.0.0/16", VirtualNetworkID: s.DefaultVNET()}); err != nil {
		t.Fatal(err)
	}
	type P = cf.TunnelRoutesListParams
	list := func(p P, _ with) ([]string, error) {
		l, err := c.ListTunnelRoutes(ctx, account, p)
		return keys(l, err, func(r cf.TunnelRoute) string { return r.Network + "=" + r.TunnelName })
	}
	effects(t, list,
		row[P]{what: "none", want: "10.0.0.0/8=lab 10.1.0.0/16=office 10.1.2.0/24=lab 10.1.0.0/16=lab"},
		row[P]{what: "comment", params: P{Comment: "wide"}, want: "10.0.0.0/8=lab"},
		row[P]{what: "deleted", params: P{IsDeleted: cf.BoolPtr(true)}, want: "10.2.0.0/16=lab"},
		row[P]{what: "existed long ago", params: P{ExistedAt: &past}, want: ""},
		row[P]{what: "exactly", params: P{NetworkSubset: "10.1.0.0/16", NetworkSuperset: "10.1.0.0/16"}, want: "10.1.0.0/16=office 10.1.0.0/16=lab"},
		row[P]{what: "tunnel", params: P{TunnelID: office}, want: "10.1.0.0/16=office"},
		row[P]{what: "network", params: P{VirtualNetworkID: staging}, want: "10.1.0.0/16=lab"},
		row[P]{what: "the second page", params: P{PaginationOptions: cf.PaginationOptions{Page: 2, PerPage: 3}}, want: "10.1.0.0/16=lab"},
	)
	type Of = cf.TunnelRoutesForIPParams
	effects(t, func(p Of, _ with) ([]string, error) {
		p.Network = "10.1.9.9"
		r, err := c.GetTunnelRouteForIP(ctx, account, p)
		return []string{r.TunnelName}, err
	}, row[Of]{what: "the default network", want: "office"}, row[Of]{what: "another network", params: Of{VirtualNetworkID: staging}, want: "lab"})

	if err := c.DeleteTunnelRoute(ctx, account, cf.TunnelRoutesDeleteParams{Network: "10.1.0.0/16", VirtualNetworkID: staging}); err != nil {
		t.Fatal(err)
	}
	if left, _ := list(P{NetworkSubset: "10.1.0.0/16", NetworkSuperset: "10.1.0.0/16"}, nil); fmt.Sprint(left) != "[10.1.0.0/16=office]" {
		t.Errorf("left %v", left)
	}
	proved[cf.TunnelRoutesDeleteParams](t, "VirtualNetworkID")
}

func TestV0_TunnelFilters(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	a, _ := s.Tunnel("lab-a")
	s.Tunnel("lab-b")
	gone, _ := s.Tunnel("office")
	if err := c.DeleteTunnel(t.Context(), account, gone); err != nil {
		t.Fatal(err)
	}
	type P = cf.TunnelListParams
	effects(t, func(p P, _ with) ([]string, error) {
		l, _, err := c.ListTunnels(t.Context(), account, p)
		return keys(l, err, func(x cf.Tunnel) string { return x.Name })
	},
		row[P]{what: "none", want: "lab-a lab-b"},
		row[P]{what: "name", params: P{Name: "lab-b"}, want: "lab-b"},
		row[P]{what: "ID", params: P{UUID: a}, want: "lab-a"},
		row[P]{what: "deleted", params: P{IsDeleted: cf.BoolPtr(true)}, want: "office"},
		row[P]{what: "existed long ago", params: P{ExistedAt: &past}, want: ""},
		row[P]{what: "with a prefix", params: P{IncludePrefix: "lab-a"}, want: "lab-a"},
		row[P]{what: "without a prefix", params: P{ExcludePrefix: "lab-a"}, want: "lab-b"},
		row[P]{what: "the second page", params: P{ResultInfo: pageOf(2, 1)}, want: "lab-b"},
	)
}

func TestV0_TargetFilters(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	staging := s.VNET("staging")
	for _, x := range []struct{ hostname, v4, v6, vnet string }{
		{"db-2", "10.0.0.2", "2001:db8::2", s.DefaultVNET()}, {"db-1", "10.0.0.1", "2001:db8::1", s.DefaultVNET()}, {"web-1", "10.0.1.3", "2001:db8::3", staging},
	} {
		p := v0Target(x.hostname, x.v4, x.vnet)
		p.IP.IPV6 = &cf.InfrastructureAccessTargetIPDetails{IPAddr: x.v6, VirtualNetworkId: x.vnet}
		must(c.CreateInfrastructureAccessTarget(t.Context(), account, cf.CreateInfrastructureAccessTargetParams{InfrastructureAccessTargetParams: p}))
	}
	type P = cf.InfrastructureAccessTargetListParams
	effects(t, func(p P, _ with) ([]string, error) {
		l, _, err := c.ListInfrastructureAccessTargets(t.Context(), account, p)
		return keys(l, err, func(x cf.InfrastructureAccessTarget) string { return x.Hostname })
	},
		row[P]{what: "none", want: "db-2 db-1 web-1"},
		row[P]{what: "hostname", params: P{Hostname: "DB-1"}, want: "db-1"},
		row[P]{what: "part of the hostname", params: P{HostnameContains: "EB"}, want: "web-1"},
		row[P]{what: "IPv4", params: P{IPV4: "10.0.0.1"}, want: "db-1"},
		row[P]{what: "IPv6", params: P{IPV6: "2001:db8:0::2"}, want: "db-2"},
		row[P]{what: "made later", params: P{CreatedAfter: farOff}, want: ""},
		row[P]{what: "changed later", params: P{ModifedAfter: farOff}, want: ""},
		row[P]{what: "network", params: P{VirtualNetworkId: staging}, want: "web-1"},
		row[P]{what: "the second page", params: P{ResultInfo: pageOf(2, 2)}, want: "web-1"},
	)
}

// The rest of the lists take nothing but a page.
func TestV0_Pages(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	web := s.App("one", "web", "SSH", 22, "", "root").ID
	for _, name := range []string{"two", "three"} {
		s.App(name, "host-"+name, "SSH", 22, "", "root")
		must(c.CreateAccessPolicy(ctx, account, cf.CreateAccessPolicyParams{ApplicationID: web, Name: name, Decision: "allow", Include: v0Include("a@b.c")}))
	}
	var items []cf.TeamsListItem
	for i, name := range []string{"one", "two", "three"} {
		must(c.CreateAccessPolicy(ctx, account, cf.CreateAccessPolicyParams{Name: name, Decision: "allow", Include: v0Include("a@b.c")}))
		must(c.CreateAccessGroup(ctx, account, cf.CreateAccessGroupParams{Name: name, Include: v0Include("a@b.c")}))
		must(c.CreateAccessIdentityProvider(ctx, account, cf.CreateAccessIdentityProviderParams{
			Name: name, Type: "github", Config: cf.AccessIdentityProviderConfiguration{ClientID: "id", ClientSecret: "hush"},
		}))
		must(c.CreateDeviceSettingsPolicy(ctx, account, cf.CreateDeviceSettingsPolicyParams{
			Name: cf.StringPtr(name), Match: cf.StringPtr(`identity.email == "a@b.c"`), Precedence: cf.IntPtr(100 + i),
		}))
		s.Enrol(name+"@b.c", "laptop")
		items = append(items, cf.TeamsListItem{Value: fmt.Sprintf("10.0.0.%d", i+1)})
	}
	list := must(c.CreateTeamsList(ctx, account, cf.CreateTeamsListParams{Name: "servers", Type: "IP", Items: items}))

	type A = cf.ListAccessApplicationsParams
	effects(t, func(p A, _ with) ([]string, error) {
		l, _, err := c.ListAccessApplications(ctx, account, p)
		return keys(l, err, func(x cf.AccessApplication) string { return x.Name })
	}, row[A]{what: "applications", want: "one two three"}, row[A]{what: "applications of page 2", params: A{ResultInfo: pageOf(2, 2)}, want: "three"})

	type P = cf.ListAccessPoliciesParams
	policies := func(of string) lister[P] {
		return func(p P, _ with) ([]string, error) {
			p.ApplicationID = of
			l, _, err := c.ListAccessPolicies(ctx, account, p)
			return keys(l, err, func(x cf.AccessPolicy) string { return x.Name })
		}
	}
	effects(t, policies(""), row[P]{what: "policies", want: "one two three"}, row[P]{what: "policies of page 2", params: P{ResultInfo: pageOf(2, 2)}, want: "three"})
	effects(t, policies(web), row[P]{what: "its policies", want: "allow two three"}, row[P]{what: "its policies of page 2", params: P{ResultInfo: pageOf(2, 2)}, want: "three"})

	type G = cf.ListAccessGroupsParams
	effects(t, func(p G, _ with) ([]string, error) {
		l, _, err := c.ListAccessGroups(ctx, account, p)
		return keys(l, err, func(x cf.AccessGroup) string { return x.Name })
	}, row[G]{what: "groups", want: "one three two"}, row[G]{what: "groups of page 2", params: G{ResultInfo: pageOf(2, 2)}, want: "two"})

	type I = cf.ListAccessIdentityProvidersParams
	effects(t, func(p I, _ with) ([]string, error) {
		l, _, err := c.ListAccessIdentityProviders(ctx, account, p)
		return keys(l, err, func(x cf.AccessIdentityProvider) string { return x.Name })
	}, row[I]{what: "providers", want: "one two three"}, row[I]{what: "providers of page 2", params: I{ResultInfo: pageOf(2, 2)}, want: "three"})

	type D = cf.ListDeviceSettingsPoliciesParams
	effects(t, func(p D, _ with) ([]string, error) {
		l, _, err := c.ListDeviceSettingsPolicies(ctx, account, p)
		return keys(l, err, func(x cf.DeviceSettingsPolicy) string { return *x.Name })
	}, row[D]{what: "profiles", want: "one two three"}, row[D]{what: "profiles of page 2", params: D{ResultInfo: pageOf(2, 2)}, want: "three"})

	type U = cf.AccessUserParams
	effects(t, func(p U, _ with) ([]string, error) {
		l, _, err := c.ListAccessUsers(ctx, account, p)
		return keys(l, err, func(x cf.AccessUser) string { return x.Email })
	}, row[U]{what: "users", want: "one@b.c three@b.c two@b.c"}, row[U]{what: "users of page 2", params: U{ResultInfo: pageOf(2, 2)}, want: "two@b.c"})

	type L = cf.ListTeamsListItemsParams
	effects(t, func(p L, _ with) ([]string, error) {
		p.ListID = list.ID
		l, _, err := c.ListTeamsListItems(ctx, account, p)
		return keys(l, err, func(x cf.TeamsListItem) string { return x.Value })
	}, row[L]{what: "items", want: "10.0.0.1 10.0.0.2 10.0.0.3"}, row[L]{what: "items of page 2", params: L{ResultInfo: pageOf(2, 2)}, want: "10.0.0.3"})
}

func TestV0_LogAndAccountFilters(t *testing.T) {
	s := controltest.New(t)
	c, _ := v0(t, s)
	ctx := t.Context()
	changes(t, s)
	type P = cf.AuditLogFilter
	deleted := ""
	list := func(p P, _ with) ([]string, error) {
		l, err := c.GetOrganizationAuditLogs(ctx, s.AccountID, p)
		return keys(l.Result, err, func(e cf.AuditLog) string {
			if e.Action.Type == "virtual_network.delete" {
				deleted = e.ID
			}
			return e.Action.Type
		})
	}
	effects(t, list, row[P]{what: "none", want: everyChange()})
	effects(t, list,
		row[P]{what: "ID", params: P{ID: deleted}, want: "virtual_network.delete"},
		row[P]{what: "address", params: P{ActorIP: "192.0.2.1"}, want: ""},
		row[P]{what: "actor", params: P{ActorEmail: "b@b.c"}, want: "device.enrol user.create"},
		row[P]{what: "without users", params: P{HideUserLogs: true}, want: "enrolment_key.create enrolment_key.create virtual_network.delete virtual_network.create " + firstChanges()},
		row[P]{what: "zone", params: P{ZoneName: "example.com"}, want: ""},
		row[P]{what: "since", params: P{Since: farOff}, want: ""},
		row[P]{what: "before", params: P{Before: longAgo}, want: ""},
		row[P]{what: "oldest first", params: P{Direction: "asc", PerPage: 1}, want: "virtual_network.create"},
		row[P]{what: "the second page", params: P{Page: 2, PerPage: 2}, want: "enrolment_key.create device.enrol"},
	)
	type A = cf.AccessAuditLogFilterOptions
	effects(t, func(p A, _ with) ([]string, error) {
		l, err := c.AccessAuditLogs(ctx, s.AccountID, p)
		return keys(l, err, func(e cf.AccessAuditLogRecord) string { return e.UserEmail })
	},
		row[A]{what: "none", want: "b@b.c a@b.c"},
		row[A]{what: "oldest first", params: A{Direction: "asc"}, want: "a@b.c b@b.c"},
		row[A]{what: "since", params: A{Since: &future}, want: ""},
		row[A]{what: "until", params: A{Until: &past}, want: ""},
		row[A]{what: "some", params: A{Limit: 1}, want: "b@b.c"},
	)
	type N = cf.AccountsListParams
	effects(t, func(p N, _ with) ([]string, error) {
		l, _, err := c.Accounts(ctx, p)
		return keys(l, err, func(x cf.Account) string { return x.Name })
	},
		row[N]{what: "accounts", want: "weft"},
		row[N]{what: "accounts by name", params: N{Name: "another"}, want: ""},
		row[N]{what: "accounts of page 2", params: N{PaginationOptions: cf.PaginationOptions{Page: 2}}, want: ""},
	)
}

// What v0 reads in one request is whole in one answer.
func TestV0_ReadsWholeLists(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	tunnel, _ := s.Tunnel("lab")
	const many = 60 // more than a page elsewhere
	enrolment := s.Enrolment("a@b.c")
	must(s.TryEnrol(enrolment, "laptop"))
	for i := range many {
		s.Route(fmt.Sprintf("10.%d.0.0/16", i), s.DefaultVNET(), tunnel)
		s.Call(http.MethodPost, s.Account("/gateway/lists"), map[string]any{"name": fmt.Sprintf("list-%d", i), "type": "IP"}, nil)
		s.VNET(fmt.Sprintf("net-%d", i))
		if _, err := s.TryEnrol(enrolment, "laptop"); err == nil {
			t.Fatal("an enrolment string was used twice")
		}
	}
	if l := must(c.ListTunnelRoutes(ctx, account, cf.TunnelRoutesListParams{})); len(l) != many {
		t.Errorf("%d routes", len(l))
	}
	if l, _, err := c.ListTeamsLists(ctx, account, cf.ListTeamListsParams{}); err != nil || len(l) != many {
		t.Errorf("%d lists, %v", len(l), err)
	}
	if l := must(c.ListTunnelVirtualNetworks(ctx, account, cf.TunnelVirtualNetworksListParams{})); len(l) != many+1 {
		t.Errorf("%d networks", len(l))
	}
	users, _, err := c.ListAccessUsers(ctx, account, cf.AccessUserParams{})
	if err != nil {
		t.Fatal(err)
	}
	if l := must(c.GetAccessUserFailedLogins(ctx, account, users[0].ID)); len(l) != many {
		t.Errorf("%d failed logins", len(l))
	}
}
