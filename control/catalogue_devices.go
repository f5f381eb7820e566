package control

import (
	"weft/api"
	"weft/control/openapi"
)

func postureCatalogue() catalogue {
	const path = "~/devices/posture"
	all := entriesOf(path, "posture rule", openapi.Whole, api.PostureRuleWrite{}, api.PostureRule{}, deletedID{}, "PUT")
	all.with(entriesOf(path+"/integration", "posture integration", openapi.Whole, api.PostureIntegrationWrite{}, api.PostureIntegration{}, deletedID{}, "PATCH"))
	return all.with(catalogue{
		"PUT " + api.PathAgentPosture: {what: "Report the posture of a device", in: api.PostureReport{}, out: api.PostureAnswer{}},
	})
}

// profileCatalogue is the profiles and settings of devices.
func profileCatalogue() catalogue {
	const (
		one      = "~/devices/policy"
		settings = "~/devices/settings"
	)
	all := catalogue{
		"GET ~/devices/policies":                 {what: "List the device profiles besides the default one", out: api.DeviceProfile{}, list: openapi.Paged},
		"POST " + one:                            {what: "Create a device profile", in: api.DeviceProfile{}, out: api.DeviceProfile{}},
		"DELETE " + one + "/{id}":                {what: "Delete a device profile", out: api.DeviceProfile{}, list: openapi.Whole},
		"GET " + settings:                        {what: "Read the settings of all devices", out: api.DeviceSettings{}},
		"PATCH " + settings:                      {what: "Change the settings of all devices", in: api.DeviceSettings{}, out: api.DeviceSettings{}},
		"PUT " + settings:                        {what: "Replace the settings of all devices", in: api.DeviceSettings{}, out: api.DeviceSettings{}},
		"DELETE " + settings:                     {what: "Put the settings of all devices back", out: api.DeviceSettings{}},
		"DELETE ~/devices/registrations":         {what: "Delete registrations", query: []openapi.Parameter{{Name: "id", Repeated: true, Required: true}}},
		"DELETE ~/devices/registrations/{id}":    {what: "Delete a registration"},
		"DELETE ~/devices/physical-devices/{id}": {what: "Delete a device"},

		"GET ~/cfd_tunnel/{id}/connectors/{connector}": {what: "Read a connector that is in contact", out: api.TunnelConnection{}},
		"GET ~/cfd_tunnel/{id}/configurations":         {what: "Read what clients keep for a tunnel", out: api.TunnelConfiguration{}},
		"PUT ~/cfd_tunnel/{id}/configurations":         {what: "Keep a configuration for a tunnel", in: tunnelConfigurationInput{}, out: api.TunnelConfiguration{}},
		"POST ~/cfd_tunnel/{id}/management":            {what: "Refused: connectors have no management service", refused: true, note: "The body is not looked at."},
	}
	reset := kinds("boolean", "reset_defaults")
	for path, noun := range map[string]string{one: "the default device profile", one + "/{id}": "a device profile"} {
		var out any = api.DeviceProfile{}
		if path == one {
			out = defaultProfile{}
		}
		all.with(catalogue{
			"GET " + path:                          {what: "Read " + noun, out: out},
			"PATCH " + path:                        {what: "Change " + noun, in: api.DeviceProfile{}, out: out},
			"GET " + path + "/exclude":             {what: "List what " + noun + " leaves out of the tunnel", out: api.SplitTunnel{}, list: openapi.Whole},
			"PUT " + path + "/exclude":             {what: "Replace what " + noun + " leaves out of the tunnel", in: []api.SplitTunnel{}, bodyOptional: true, out: api.SplitTunnel{}, list: openapi.Whole, query: reset},
			"GET " + path + "/include":             {what: "List what " + noun + " takes into the tunnel", out: api.SplitTunnel{}, list: openapi.Whole},
			"PUT " + path + "/include":             {what: "Replace what " + noun + " takes into the tunnel", in: []api.SplitTunnel{}, bodyOptional: true, out: api.SplitTunnel{}, list: openapi.Whole, query: reset},
			"GET " + path + "/fallback_domains":    {what: "List the domains that others resolve for " + noun, out: api.FallbackDomain{}, list: openapi.Whole},
			"DELETE " + path + "/fallback_domains": {what: "Put the domains that others resolve for " + noun + " back", out: api.FallbackDomain{}, list: openapi.Whole, query: reset},
			"PUT " + path + "/fallback_domains":    {what: "Replace the domains that others resolve for " + noun, in: []api.FallbackDomain{}, bodyOptional: true, out: api.FallbackDomain{}, list: openapi.Whole, query: reset},
		})
	}
	return all
}
