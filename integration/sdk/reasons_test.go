package sdk_test

// filesV0 begin the names of v0's files about the product that Weft stands in for; the other hundred are about DNS, caches,
// workers and the like.
var filesV0 = []string{
	"access_", "accounts", "api_token", "argo_tunnel", "auditlogs", "device_", "devices_", "fallback_domain", "gateway_", "infrastructure_access", "split_tunnel",
	"teams_", "tunnel", "user",
}

// servicesV6 are the services of v6's client for the same.
var servicesV6 = []string{"ZeroTrust", "AuditLogs", "Accounts", "Memberships", "User"}

var notDriven = map[string]string{}

var noEffect = map[string]string{}
