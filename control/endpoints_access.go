package control

// accessEndpoints adds what is under /access besides applications, the list of users and the gateway CA, and the logs.
func (c *Control) accessEndpoints(to map[string]serveFunc, account string) {
	access := account + "/access"
	crud(c, to, access+"/groups", ruleGroups())
	crud(c, to, access+"/policies", reusablePolicies())
	crud(c, to, access+"/service_tokens", serviceTokens())
	crud(c, to, access+"/identity_providers", identityProviders())
	crud(c, to, access+"/users", userWrites())
	for pattern, serve := range map[string]serveFunc{
		"PUT " + access + "/apps/{id}/policies/{policy}/make_reusable": c.makePolicyReusable,

		"GET " + access + "/apps/ca":         c.listApplicationCAs,
		"GET " + access + "/apps/{id}/ca":    c.getApplicationCA,
		"POST " + access + "/apps/{id}/ca":   c.createApplicationCA,
		"DELETE " + access + "/apps/{id}/ca": c.deleteApplicationCA,

		"POST " + access + "/service_tokens/{id}/rotate":  c.rotateServiceToken,
		"POST " + access + "/service_tokens/{id}/refresh": c.refreshServiceToken,

		"GET " + access + "/organizations":  c.getOrganization,
		"POST " + access + "/organizations": c.createOrganization,
		"PUT " + access + "/organizations":  c.replaceOrganization,

		"GET " + access + "/users/{id}/active_sessions":         c.listActiveSessions,
		"GET " + access + "/users/{id}/active_sessions/{nonce}": c.getActiveSession,
		"GET " + access + "/users/{id}/failed_logins":           c.listFailedLogins,
		"GET " + access + "/users/{id}/last_seen_identity":      c.lastSeenIdentity,

		"GET " + access + "/logs/access_requests": c.listAccessRequests,
		"GET " + access + "/logs/access-requests": c.listAccessRequests,

		"GET " + account + "/audit_logs": c.listAuditLogs,
		"GET " + account + "/logs/audit": c.listAuditEntries,
	} {
		to[pattern] = serve
	}
}
