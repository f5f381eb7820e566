package sdk_test

import (
	"fmt"
	"testing"
	"time"

	cf "github.com/cloudflare/cloudflare-go/v6"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

// The filters that the tests of the resources do not use: with them, each that the SDK offers for what is served is sent
// somewhere, and changes what comes back.

const (
	longAgo = "2001-01-01T00:00:00Z"
	farOff  = "2999-01-01T00:00:00Z"
)

// filtered is a filter and how many objects it must leave.
type filtered[P any] struct {
	what   string
	params P
	want   int
}

func TestV6_RouteFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Networks.Routes
	tunnel, _ := s.Tunnel("lab")
	var ids []string
	for i := range 3 {
		r := must(c.New(t.Context(), zt.NetworkRouteNewParams{AccountID: account, Network: cf.F(fmt.Sprintf("10.%d.0.0/16", i)), TunnelID: cf.F(tunnel)}))
		ids = append(ids, r.ID)
	}
	must(c.Delete(t.Context(), ids[2], zt.NetworkRouteDeleteParams{AccountID: account}))
	type P = zt.NetworkRouteListParams
	for _, r := range []filtered[P]{
		{"its ID", P{RouteID: cf.F(ids[1])}, 1},
		{"deleted", P{IsDeleted: cf.F(true)}, 1},
		{"existed long ago", P{ExistedAt: cf.F(longAgo)}, 0},
		{"of connectors", P{TunTypes: cf.F([]zt.NetworkRouteListParamsTunType{zt.NetworkRouteListParamsTunTypeCfdTunnel})}, 2},
		{"of others", P{TunTypes: cf.F([]zt.NetworkRouteListParamsTunType{zt.NetworkRouteListParamsTunTypeWARPConnector})}, 0},
		{"small pages", P{PerPage: cf.F(1.0)}, 2},
	} {
		r.params.AccountID = account
		if got := all(t, c.ListAutoPaging(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("%s: %d routes, want %d", r.what, len(got), r.want)
		}
	}
}

func TestV6_TunnelFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Tunnels.Cloudflared
	s.Tunnel("lab-a")
	s.Tunnel("lab-b")
	gone, _ := s.Tunnel("office")
	must(c.Delete(t.Context(), gone, zt.TunnelCloudflaredDeleteParams{AccountID: account}))
	type P = zt.TunnelCloudflaredListParams
	past, err := time.Parse(time.RFC3339, longAgo)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []filtered[P]{
		{"without a prefix", P{ExcludePrefix: cf.F("lab-a"), IsDeleted: cf.F(false)}, 1},
		{"with a prefix", P{IncludePrefix: cf.F("lab"), IsDeleted: cf.F(false)}, 2},
		{"deleted", P{IsDeleted: cf.F(true)}, 1},
		{"existed long ago", P{ExistedAt: cf.F(longAgo)}, 0},
		{"active long ago", P{WasActiveAt: cf.F(past)}, 0},
		{"small pages", P{PerPage: cf.F(1.0), IsDeleted: cf.F(false)}, 2},
	} {
		r.params.AccountID = account
		if got := all(t, c.ListAutoPaging(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("%s: %d tunnels, want %d", r.what, len(got), r.want)
		}
	}
}

func TestV6_GroupAndListFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust
	everyone := []zt.AccessRuleUnionParam{zt.EveryoneRuleParam{Everyone: cf.F(zt.EveryoneRuleEveryoneParam{})}}
	for _, name := range []string{"ops", "ops europe", "staff"} {
		must(c.Access.Groups.New(t.Context(), zt.AccessGroupNewParams{AccountID: account, Name: cf.F(name), Include: cf.F(everyone)}))
	}
	for _, r := range []filtered[zt.AccessGroupListParams]{
		{"name", zt.AccessGroupListParams{Name: cf.F("staff")}, 1},
		{"search", zt.AccessGroupListParams{Search: cf.F("europe")}, 1},
		{"small pages", zt.AccessGroupListParams{PerPage: cf.F(int64(1))}, 3},
	} {
		r.params.AccountID = account
		if got := all(t, c.Access.Groups.ListAutoPaging(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("groups by %s: %d, want %d", r.what, len(got), r.want)
		}
	}
	must(c.Gateway.Lists.New(t.Context(), zt.GatewayListNewParams{AccountID: account, Name: cf.F("a"), Type: cf.F(zt.GatewayListNewParamsTypeIP)}))
	for kind, want := range map[zt.GatewayListListParamsType]int{zt.GatewayListListParamsTypeIP: 1, zt.GatewayListListParamsTypeEmail: 0} {
		if got := all(t, c.Gateway.Lists.ListAutoPaging(t.Context(), zt.GatewayListListParams{AccountID: account, Type: cf.F(kind)})); len(got) != want {
			t.Errorf("lists of %s: %d, want %d", kind, len(got), want)
		}
	}
}

func TestV6_TargetFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Access.Infrastructure.Targets
	for i := range 3 {
		must(c.New(t.Context(), zt.AccessInfrastructureTargetNewParams{AccountID: account, Hostname: cf.F("six"), IP: cf.F(zt.AccessInfrastructureTargetNewParamsIP{
			IPV6: cf.F(zt.AccessInfrastructureTargetNewParamsIPIPV6{IPAddr: cf.F(fmt.Sprintf("2001:db8::%d", i+1))}),
		})}))
	}
	past, err := time.Parse(time.RFC3339, longAgo)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []filtered[zt.AccessInfrastructureTargetListParams]{
		{"a range", zt.AccessInfrastructureTargetListParams{IPV6Start: cf.F("2001:db8::2"), IPV6End: cf.F("2001:db8::3")}, 2},
		{"changed before", zt.AccessInfrastructureTargetListParams{ModifiedBefore: cf.F(past)}, 0},
		{"from page 2", zt.AccessInfrastructureTargetListParams{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, 1},
	} {
		r.params.AccountID = account
		if got := all(t, c.ListAutoPaging(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("%s: %d targets, want %d", r.what, len(got), r.want)
		}
	}
}

func TestV6_DeviceFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Devices
	one := s.Enrol("a@b.c", "laptop-a")
	s.Enrol("b@b.c", "laptop-b")
	for _, r := range []filtered[zt.DeviceDeviceListParams]{
		{"ID", zt.DeviceDeviceListParams{ID: cf.F([]string{one.DeviceID})}, 1},
		{"search", zt.DeviceDeviceListParams{Search: cf.F("laptop-b")}, 1},
		{"seen after", zt.DeviceDeviceListParams{SeenAfter: cf.F(farOff)}, 0},
		{"seen before", zt.DeviceDeviceListParams{SeenBefore: cf.F(longAgo)}, 0},
		{"order", zt.DeviceDeviceListParams{SortBy: cf.F(zt.DeviceDeviceListParamsSortByName), SortOrder: cf.F(zt.DeviceDeviceListParamsSortOrderDesc)}, 2},
	} {
		r.params.AccountID = account
		got := all(t, c.Devices.ListAutoPaging(t.Context(), r.params))
		if len(got) != r.want || r.what == "order" && got[0].Name != "laptop-b" {
			t.Errorf("devices by %s: %+v, want %d", r.what, got, r.want)
		}
	}
	for _, r := range []filtered[zt.DeviceRegistrationListParams]{
		{"ID", zt.DeviceRegistrationListParams{ID: cf.F([]string{one.RegistrationID})}, 1},
		{"search", zt.DeviceRegistrationListParams{Search: cf.F("b@b.c")}, 1},
		{"seen after", zt.DeviceRegistrationListParams{SeenAfter: cf.F(farOff)}, 0},
		{"seen before", zt.DeviceRegistrationListParams{SeenBefore: cf.F(longAgo)}, 0},
	} {
		r.params.AccountID = account
		if got := all(t, c.Registrations.ListAutoPaging(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("registrations by %s: %d, want %d", r.what, len(got), r.want)
		}
	}
}

func TestV6_ApplicationNetworkAndLogFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust
	s.App("web", "web", "SSH", 22, "jdoe@company.com", "root")
	for _, r := range []filtered[zt.AccessApplicationListParams]{
		{"domain", zt.AccessApplicationListParams{Domain: cf.F("nowhere.example")}, 0},
		{"small pages", zt.AccessApplicationListParams{PerPage: cf.F(int64(1))}, 1},
	} {
		r.params.AccountID = account
		if got := all(t, c.Access.Applications.ListAutoPaging(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("applications by %s: %d, want %d", r.what, len(got), r.want)
		}
	}
	s.VNET("staging")
	if got := all(t, c.Networks.VirtualNetworks.ListAutoPaging(t.Context(), zt.NetworkVirtualNetworkListParams{AccountID: account, IsDefault: cf.F(true)})); len(got) != 1 {
		t.Errorf("default networks: %+v", got)
	}
	dev := s.Enrol("a@b.c", "laptop")
	users := all(t, c.Access.Users.ListAutoPaging(t.Context(), zt.AccessUserListParams{AccountID: account}))
	if len(users) != 1 || dev.DeviceID == "" {
		t.Fatalf("users %+v", users)
	}
	type P = zt.AccessLogAccessRequestListParams
	for _, r := range []filtered[P]{
		{"user", P{UserID: cf.F(users[0].ID)}, 1},
		{"another user", P{UserID: cf.F(users[0].ID), UserIDOp: cf.F(zt.AccessLogAccessRequestListParamsUserIDOpNeq)}, 0},
	} {
		r.params.AccountID = account
		if got := *must(c.Access.Logs.AccessRequests.List(t.Context(), r.params)); len(got) != r.want {
			t.Errorf("log by %s: %d, want %d", r.what, len(got), r.want)
		}
	}
}
