package control

import (
	"weft/api"
	"weft/control/openapi"
	"weft/control/store"
)

func targetCatalogue() catalogue {
	filters := params(
		text("hostname", "hostname_contains", "ip_like", "virtual_network_id"),
		kinds("address", "ip_v4", "ip_v6", "ipv4_start", "ipv4_end", "ipv6_start", "ipv6_end"),
		kinds("time", "created_after", "created_before", "modified_after", "modified_before"),
		[]openapi.Parameter{
			{Name: "ips", Type: "address", Repeated: true},
			{Name: "target_ids", Repeated: true},
			{Name: "tag", Repeated: true, What: "key:value"},
			{Name: "tags", Repeated: true, What: "the same as tag"},
			{Name: "order", What: "hostname, created_at, or tag:KEY, which puts targets without that tag last"},
			{Name: "direction", Enum: []string{"asc", "desc"}},
		})
	const path = "~/infrastructure/targets"
	return entriesOf(path, "target", openapi.Paged, api.TargetWrite{}, api.Target{}, deletedID{}, "PUT", filters...).with(catalogue{
		"PUT " + path + "/batch":         {what: "Create up to 1000 targets, all or none", in: []api.TargetWrite{}, out: api.Target{}, list: openapi.Whole},
		"DELETE " + path + "/batch":      {what: "Delete up to 1000 targets, all or none (older form)", in: api.TargetIDs{}},
		"POST " + path + "/batch_delete": {what: "Delete up to 1000 targets, all or none", in: api.TargetIDs{}},
	})
}

func networkCatalogue() catalogue {
	const (
		networks = "~/teamnet/virtual_networks"
		routes   = "~/teamnet/routes"
		tunnels  = "~/cfd_tunnel"
	)
	all := entriesOf(networks, "virtual network", openapi.Whole, api.VirtualNetworkWrite{}, api.VirtualNetwork{}, api.VirtualNetwork{}, "PATCH",
		params(text("id", "name"), kinds("boolean", "is_default", "is_default_network", "is_deleted"),
			[]openapi.Parameter{{Name: "page", Type: "integer", What: "without it and per_page the list is whole"}, {Name: "per_page", Type: "integer", What: "1 to 1000"}})...)
	types := []openapi.Parameter{{Name: "tun_types", Repeated: true, What: "or separated by commas; only cfd_tunnel has any"}}
	all.with(entriesOf(routes, "route", openapi.Paged, api.RouteWrite{}, api.Route{}, api.Route{}, "PATCH", params(
		text("route_id", "tunnel_id", "virtual_network_id", "comment"), kinds("boolean", "is_deleted"), kinds("prefix", "network_subset", "network_superset"),
		kinds("time", "existed_at"), types)...))
	ofTunnels := params(text("name", "uuid", "include_prefix", "exclude_prefix"), kinds("boolean", "is_deleted"), kinds("time", "existed_at", "was_active_at", "was_inactive_at"),
		[]openapi.Parameter{{Name: "status", Enum: []string{"inactive", "degraded", "healthy", "down"}}}, types)
	all.with(entriesOf(tunnels, "tunnel", openapi.Paged, tunnelInput{}, api.Tunnel{}, api.Tunnel{}, "PATCH", ofTunnels...))
	return all.with(catalogue{
		"GET ~/tunnels":                           {what: "List the tunnels of every type: there is one type", out: api.Tunnel{}, list: openapi.Paged, query: ofTunnels},
		"POST " + routes + "/network/{network}":   {what: "Create a route (older form)", in: api.RouteWrite{}, out: api.Route{}},
		"PATCH " + routes + "/network/{network}":  {what: "Change a route by its prefix", in: api.RouteWrite{}, bodyOptional: true, out: api.Route{}, query: text("tunnel_id", "tun_type")},
		"DELETE " + routes + "/network/{network}": {what: "Delete a route by its prefix", out: api.Route{}, query: text("virtual_network_id", "tunnel_id", "tun_type")},
		"GET " + routes + "/ip/{addr}": {
			what: "Find the route that leads to an address", out: api.Route{}, query: params(text("virtual_network_id"), kinds("boolean", "default_virtual_network_fallback")),
		},
		"DELETE " + tunnels + "/{id}":          {what: "Delete a tunnel", out: api.Tunnel{}, query: kinds("boolean", "cascade")},
		"GET " + tunnels + "/{id}/token":       {what: "Read the token of a tunnel's connectors", out: "", note: "The token is the credential of the connectors, so it takes the permission to write."},
		"GET " + tunnels + "/{id}/connections": {what: "List the connectors of a tunnel that are in contact", out: api.TunnelConnection{}, list: openapi.Whole},
		"DELETE " + tunnels + "/{id}/connections": {
			what: "End the streams of a tunnel's connectors; they come back while it exists", query: []openapi.Parameter{{Name: "client_id", What: "only of this connector"}},
		},
	})
}

func applicationCatalogue() catalogue {
	const (
		apps   = "~/access/apps"
		groups = "~/access/groups"
	)
	all := entriesOf(apps, "application", openapi.Paged, api.ApplicationWrite{}, api.Application{}, deletedID{}, "PUT", params(
		text("name", "aud", "search", "domain"), kinds("boolean", "exact"), []openapi.Parameter{{Name: "target_attributes", Repeated: true, What: "key=value"}})...)
	all.with(entriesOf(groups, "rule group", openapi.Paged, api.RuleGroupWrite{}, api.RuleGroup{}, deletedID{}, "PUT", text("name", "search")...))
	return all.with(catalogue{
		"GET " + apps + "/{id}/policies":             {what: "List the policies of an application", out: api.Policy{}, list: openapi.Paged},
		"POST " + apps + "/{id}/policies":            {what: "Create a policy of an application", in: api.PolicyWrite{}, out: api.Policy{}},
		"GET " + apps + "/{id}/policies/{policy}":    {what: "Read a policy of an application", out: api.Policy{}},
		"PUT " + apps + "/{id}/policies/{policy}":    {what: "Replace a policy of an application", in: api.PolicyWrite{}, out: api.Policy{}},
		"DELETE " + apps + "/{id}/policies/{policy}": {what: "Delete a policy of an application", out: deletedID{}},
		"GET ~/access/gateway_ca":                    {what: "List the SSH CA: none or one", out: api.GatewayCA{}, list: openapi.Whole},
		"POST ~/access/gateway_ca":                   {what: "Create the SSH CA", out: api.GatewayCA{}},
		"DELETE ~/access/gateway_ca/{id}":            {what: "Delete the SSH CA", out: deletedID{}},
		"GET ~/access/users":                         {what: "List the users", out: api.User{}, list: openapi.Paged, query: text("email", "name", "search")},
		"GET ~/access/users/{id}":                    {what: "Read a user", out: api.User{}},
		"POST ~/access/organizations/revoke_user":    {what: "Revoke a user with all devices", in: api.RevokeUser{}, out: true, query: []openapi.Parameter{{Name: "devices", Type: "boolean", What: "makes no difference"}}},
		"GET /client/v4/user/tokens/verify":          {what: "Say whether the token of the request is good", out: api.TokenStatus{}},
		"GET ~/tokens/verify":                        {what: "Say whether the token of the request is good", out: api.TokenStatus{}},
	})
}

func deviceCatalogue() catalogue {
	filters := params(text("device.id", "search"), kinds("time", "seen_after", "seen_before"), []openapi.Parameter{
		{Name: "id", Repeated: true},
		{Name: "user.id", Repeated: true},
		{Name: "sort_order", Enum: []string{"asc", "desc"}},
	})
	ofRegistrations := params(filters, text("user.email"), []openapi.Parameter{
		{Name: "status", Enum: []string{"active", "revoked", "all"}},
		{Name: "sort_by", Enum: []string{"id", "user.name", "user.email", "last_seen_at", "created_at"}},
		{Name: "include", What: "policy adds the profile of each"},
	})
	ofDevices := params(filters, text("last_seen_user.email"), []openapi.Parameter{
		{Name: "active_registrations", Enum: []string{"only", "exclude", "include"}},
		{Name: "sort_by", Enum: []string{"id", "name", "client_version", "last_seen_user.email", "last_seen_at", "active_registrations", "created_at"}},
		{Name: "include", What: "last_seen_registration.policy adds the profile of each"},
	})
	named := []openapi.Parameter{{Name: "id", Repeated: true, Required: true}}
	return catalogue{
		"GET ~/devices":                               {what: "List the devices (older form)", out: api.Device{}, list: openapi.Whole},
		"GET ~/devices/{id}":                          {what: "Read a device (older form)", out: api.Device{}},
		"POST ~/devices/revoke":                       {what: "Revoke registrations (older form)", in: []string{}},
		"POST ~/devices/unrevoke":                     {what: "Take a revocation back (older form)", in: []string{}},
		"GET ~/devices/registrations":                 {what: "List the registrations", out: api.Registration{}, list: openapi.Cursor, query: ofRegistrations},
		"GET ~/devices/registrations/{id}":            {what: "Read a registration", out: api.Registration{}, query: text("include")},
		"POST ~/devices/registrations/revoke":         {what: "Revoke registrations", query: named},
		"POST ~/devices/registrations/unrevoke":       {what: "Take a revocation back", query: named},
		"GET ~/devices/physical-devices":              {what: "List the devices", out: api.PhysicalDevice{}, list: openapi.Cursor, query: ofDevices},
		"GET ~/devices/physical-devices/{id}":         {what: "Read a device", out: api.PhysicalDevice{}, query: text("include")},
		"POST ~/devices/physical-devices/{id}/revoke": {what: "Revoke a device"},
	}
}

func ruleCatalogue() catalogue {
	const (
		rules = "~/gateway/rules"
		lists = "~/gateway/lists"
	)
	all := entriesOf(rules, "network rule", openapi.Whole, api.NetworkRuleWrite{}, api.NetworkRule{}, struct{}{}, "PUT")
	all.with(entriesOf(lists, "list", openapi.Whole, api.ListWrite{}, api.List{}, struct{}{}, "PUT", openapi.Parameter{Name: "type", Enum: store.ListTypes()}))
	return all.with(catalogue{
		"GET " + rules + "/tenant":     {what: "List the rules from above the account: there are none", out: api.NetworkRule{}, list: openapi.Whole},
		"PATCH " + rules + "/{id}":     {what: "Change a network rule", in: api.NetworkRuleWrite{}, out: api.NetworkRule{}},
		"PATCH " + lists + "/{id}":     {what: "Add values to a list and remove some", in: api.ListPatch{}, out: api.List{}},
		"GET " + lists + "/{id}/items": {what: "List the values of a list", out: api.ListItem{}, list: openapi.Paged},
	})
}
