package control

import (
	"context"
	"maps"
	"strings"

	"weft/api"
)

type serveFunc = func(context.Context, *call) (answer, error)

// routes builds the table of everything that is served.
func (c *Control) routes() *router {
	t := &router{}
	for pattern, serve := range c.managementEndpoints() {
		t.add(pattern, &endpoint{auth: authAPI, area: areaOf(pattern), reads: readsOnly(pattern), serve: serve})
	}
	for pattern, e := range map[string]*endpoint{
		"GET " + api.PathHealth:                         {auth: authNone, serve: c.health},
		"POST " + api.PathEnrolmentKeys:                 {auth: authAPI, area: areaWeft, serve: c.createEnrolmentKey},
		"POST " + api.PathEnrol:                         {auth: authEnrol, serve: c.enrol, stranger: true},
		"GET " + api.PathAgentSelf:                      {auth: authDevice, serve: c.agentSelf},
		"POST " + api.PathAgentKey:                      {auth: authDevice, serve: c.agentKey},
		"GET " + api.PathAgentDevices:                   {auth: authDevice, serve: c.agentDevices},
		"DELETE " + api.PathAgentSelf:                   {auth: authDevice, serve: c.agentDelete},
		"GET " + api.PathAgentSync:                      {auth: authDevice, stream: c.syncAgent},
		"POST " + api.PathGateways:                      {auth: authAPI, area: areaWeft, serve: c.createGateway},
		"PUT " + api.PathGatewaySelf:                    {auth: authGateway, serve: c.reportGateway},
		"GET " + api.PathGatewaySync:                    {auth: authGateway, stream: c.syncGateway},
		"POST " + api.PathGatewayCertificate:            {auth: authGateway, serve: c.signCertificate},
		"POST " + api.PathGatewayHostCertificate:        {auth: authGateway, serve: c.signHostCertificate},
		"GET " + api.PathSSHCAs:                         {auth: authAPI, area: areaSSH, reads: true, serve: c.listSSHCAs},
		"POST " + api.PathSSHHostCAs:                    {auth: authAPI, area: areaSSH, serve: c.createSSHHostCA},
		"DELETE " + api.PathSSHHostCAs + "/{id}":        {auth: authAPI, area: areaSSH, serve: c.deleteSSHHostCA},
		"POST " + api.PathSSHUserCAs:                    {auth: authAPI, area: areaSSH, serve: c.createSSHUserCA},
		"POST " + api.PathSSHUserCAs + "/{id}/activate": {auth: authAPI, area: areaSSH, serve: c.activateSSHUserCA},
		"DELETE " + api.PathSSHUserCAs + "/{id}":        {auth: authAPI, area: areaSSH, serve: c.deleteSSHUserCA},
		"POST " + api.PathSSHProbe:                      {auth: authAPI, area: areaSSH, serve: c.probeSSHCAs},
		"GET " + api.PathSSHTargetCAs:                   {auth: authAPI, area: areaSSH, reads: true, serve: c.listSSHTargetCAs},
		"POST " + api.PathSSHTargetCAs:                  {auth: authAPI, area: areaSSH, serve: c.createSSHTargetCA},
		"DELETE " + api.PathSSHTargetCAs + "/{id}":      {auth: authAPI, area: areaSSH, serve: c.deleteSSHTargetCA},
		"GET " + api.PathSSHKRL:                         {auth: authNone, stream: c.serveKRL},
		"POST " + api.PathSSHRevoke:                     {auth: authAPI, area: areaSSH, serve: c.revokeCertificates},
		"POST " + api.PathGatewaySSHRevoke:              {auth: authGateway, serve: c.revokeCertificates},
		"GET " + api.PathGatewayQuestions:               {auth: authGateway, stream: c.askGateway},
		"POST " + api.PathGatewayAnswers:                {auth: authGateway, serve: c.hearGateway},
		"GET " + api.PathAgentGateways:                  {auth: authDevice, serve: c.agentGateways},
		"POST " + api.PathExplain:                       {auth: authAPI, area: areaWeft, reads: true, serve: c.explain},
		"GET " + api.PathConnectorSync:                  {auth: authConnector, stream: c.syncConnector},
		"GET " + api.PathSessions:                       {auth: authAPI, area: areaZeroTrust, reads: true, serve: c.listSessions},
		"GET " + api.PathSessionsWatch:                  {auth: authAPI, area: areaZeroTrust, reads: true, stream: c.watchSessions},
		"DELETE " + api.PathSessions + "/{id}":          {auth: authAPI, area: areaZeroTrust, serve: c.killSession},
		"GET " + api.PathOpenAPI:                        {auth: authNone, stream: c.openAPI},
		"GET " + api.PathImpact:                         {auth: authAPI, area: areaWeft, reads: true, serve: c.impact},
		"PUT " + api.PathAgentPosture:                   {auth: authDevice, serve: c.reportPosture},
	} {
		t.add(pattern, e)
	}
	for pattern, e := range c.sessionSettingsEndpoints() {
		t.add(pattern, e)
	}
	for _, e := range t.served {
		e.role = schemeOf(e.auth)
	}
	return t
}

// readsOnly reports whether a permission to read is enough for a management endpoint. A tunnel's token is the credential of
// its connectors: whoever has it can stand between users and targets.
func readsOnly(pattern string) bool {
	return strings.HasPrefix(pattern, "GET ") && !strings.HasSuffix(pattern, "/cfd_tunnel/{id}/token")
}

// managementEndpoints are those of the public API that this one is compatible with.
func (c *Control) managementEndpoints() map[string]serveFunc {
	const (
		account  = api.PathManagement + "/accounts/{account}"
		targets  = account + "/infrastructure/targets"
		networks = account + "/teamnet/virtual_networks"
		routes   = account + "/teamnet/routes"
		tunnels  = account + "/cfd_tunnel"
		apps     = account + "/access/apps"
		cas      = account + "/access/gateway_ca"
		users    = account + "/access/users"
		devices  = account + "/devices"
		rules    = account + "/gateway/rules"
		lists    = account + "/gateway/lists"
	)
	endpoints := map[string]serveFunc{
		"GET " + api.PathManagement + "/user/tokens/verify": c.verifyToken,
		"GET " + account + "/tokens/verify":                 c.verifyToken,

		"GET " + targets:                    c.listTargets,
		"POST " + targets:                   c.createTarget,
		"PUT " + targets + "/batch":         c.createTargets,
		"DELETE " + targets + "/batch":      c.deleteTargets,
		"POST " + targets + "/batch_delete": c.deleteTargets,
		"GET " + targets + "/{id}":          c.getTarget,
		"PUT " + targets + "/{id}":          c.replaceTarget,
		"DELETE " + targets + "/{id}":       c.deleteTarget,

		"GET " + networks:              c.listNetworks,
		"POST " + networks:             c.createNetwork,
		"GET " + networks + "/{id}":    c.getNetwork,
		"PATCH " + networks + "/{id}":  c.updateNetwork,
		"DELETE " + networks + "/{id}": c.deleteNetwork,

		"GET " + routes:                           c.listRoutes,
		"POST " + routes:                          c.createRoute,
		"GET " + routes + "/{id}":                 c.getRoute,
		"PATCH " + routes + "/{id}":               c.updateRoute,
		"DELETE " + routes + "/{id}":              c.deleteRoute,
		"POST " + routes + "/network/{network}":   c.createRoute,
		"PATCH " + routes + "/network/{network}":  c.updateRoute,
		"DELETE " + routes + "/network/{network}": c.deleteRoute,
		"GET " + routes + "/ip/{addr}":            c.routeByAddr,

		"GET " + account + "/tunnels":                     c.listTunnels, // of every type; there is one
		"GET " + tunnels:                                  c.listTunnels,
		"POST " + tunnels:                                 c.createTunnel,
		"GET " + tunnels + "/{id}":                        c.getTunnel,
		"PATCH " + tunnels + "/{id}":                      c.updateTunnel,
		"DELETE " + tunnels + "/{id}":                     c.deleteTunnel,
		"GET " + tunnels + "/{id}/token":                  c.getTunnelToken,
		"GET " + tunnels + "/{id}/connections":            c.listTunnelConnections,
		"GET " + tunnels + "/{id}/connectors/{connector}": c.getConnector,
		"GET " + tunnels + "/{id}/configurations":         c.getTunnelConfiguration,
		"PUT " + tunnels + "/{id}/configurations":         c.setTunnelConfiguration,
		"POST " + tunnels + "/{id}/management":            c.manageTunnel,
		"DELETE " + tunnels + "/{id}/connections":         c.dropTunnelConnections,

		"GET " + apps:                                c.listApplications,
		"POST " + apps:                               c.createApplication,
		"GET " + apps + "/{id}":                      c.getApplication,
		"PUT " + apps + "/{id}":                      c.replaceApplication,
		"DELETE " + apps + "/{id}":                   c.deleteApplication,
		"GET " + apps + "/{id}/policies":             c.listPolicies,
		"POST " + apps + "/{id}/policies":            c.createPolicy,
		"GET " + apps + "/{id}/policies/{policy}":    c.getPolicy,
		"PUT " + apps + "/{id}/policies/{policy}":    c.replacePolicy,
		"DELETE " + apps + "/{id}/policies/{policy}": c.deletePolicy,

		"GET " + cas:              c.listGatewayCAs,
		"POST " + cas:             c.createGatewayCA,
		"DELETE " + cas + "/{id}": c.deleteGatewayCA,

		"GET " + devices:                                    c.listDevices,
		"POST " + devices + "/revoke":                       c.revokeDevices(false, false),
		"POST " + devices + "/unrevoke":                     c.revokeDevices(false, true),
		"GET " + devices + "/registrations":                 c.listRegistrations,
		"POST " + devices + "/registrations/revoke":         c.revokeDevices(true, false),
		"POST " + devices + "/registrations/unrevoke":       c.revokeDevices(true, true),
		"GET " + devices + "/registrations/{id}":            c.getRegistration,
		"GET " + devices + "/physical-devices":              c.listPhysicalDevices,
		"GET " + devices + "/physical-devices/{id}":         c.getPhysicalDevice,
		"POST " + devices + "/physical-devices/{id}/revoke": c.revokePhysicalDevice,
		"GET " + devices + "/{id}":                          c.getDevice,
		"DELETE " + devices + "/registrations":              c.deleteRegistrations,
		"DELETE " + devices + "/registrations/{id}":         c.deleteDevice,
		"DELETE " + devices + "/physical-devices/{id}":      c.deleteDevice,

		"GET " + rules:              c.listNetworkRules,
		"POST " + rules:             c.createNetworkRule,
		"GET " + rules + "/tenant":  c.listTenantRules,
		"GET " + rules + "/{id}":    c.getNetworkRule,
		"PUT " + rules + "/{id}":    c.replaceNetworkRule(false),
		"PATCH " + rules + "/{id}":  c.replaceNetworkRule(true),
		"DELETE " + rules + "/{id}": c.deleteNetworkRule,

		"GET " + lists:                 c.listLists,
		"POST " + lists:                c.createList,
		"GET " + lists + "/{id}":       c.getList,
		"PUT " + lists + "/{id}":       c.replaceList,
		"PATCH " + lists + "/{id}":     c.patchList,
		"DELETE " + lists + "/{id}":    c.deleteList,
		"GET " + lists + "/{id}/items": c.listItems,

		"GET " + users: c.listUsers,
		"POST " + account + "/access/organizations/revoke_user": c.revokeUser,
	}
	maps.Copy(endpoints, c.auditSSHEndpoints(account+"/gateway/audit_ssh_settings"))
	c.accessEndpoints(endpoints, account)

	c.accountEndpoints(endpoints)
	c.postureEndpoints(endpoints, devices)
	c.profileEndpoints(endpoints, devices)
	return endpoints
}

func (c *Control) health(context.Context, *call) (answer, error) {
	return answer{result: healthStatus{Status: "ok"}}, nil
}
