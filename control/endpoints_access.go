package control

// accessEndpoints adds the endpoints under /access of a path that are not applications, users' list or the gateway CA.
func (c *Control) accessEndpoints(to map[string]serveFunc, account string) {
	access := account + "/access"
	crud(c, to, access+"/groups", ruleGroups())
	crud(c, to, access+"/policies", reusablePolicies())
	to["PUT "+access+"/apps/{id}/policies/{policy}/make_reusable"] = c.makePolicyReusable
}
