package sdk_test

// filesV0 begin the names of v0's files about the product that Weft stands in for; the other hundred are about DNS, caches,
// workers and the like.
var filesV0 = []string{
	"access_", "accounts", "api_token", "argo_tunnel", "auditlogs", "device_", "devices_", "fallback_domain", "gateway_", "infrastructure_access", "split_tunnel",
	"teams_", "tunnel", "user.",
}

// servicesV6 are the services of v6's client for the same.
var servicesV6 = []string{"ZeroTrust", "AuditLogs", "Accounts", "Memberships", "User"}

// What several of the reasons are.
const (
	oneAccount  = "there is one account, which the operator of the control plane makes"
	tokensOwn   = "tokens are made by `weft token create`, so that none can make another"
	noBilling   = "nothing is paid for"
	noHTTP      = "of web applications; Weft has infrastructure applications"
	noSCIM      = "users come from enrolments; what is said of SCIM is kept and does nothing"
	noProxy     = "of the web and DNS proxy"
	noScan      = "of the scan of contents"
	noProbes    = "of the monitoring of users' experience; `warp-cli diag` and `weft probe` look for what is wrong"
	noScores    = "nobody is scored"
	noWARPPeers = "a device does not route for a network here; connectors do"
	noMTLS      = "no application asks browsers for certificates"
)

// notDriven are the groups and methods without success, by the way to them, with the reason.
var notDriven = map[string]string{
	"Accounts.New":                                    oneAccount,
	"Accounts.Update":                                 oneAccount,
	"Accounts.Delete":                                 oneAccount,
	"Accounts.AccountOrganizations":                   oneAccount,
	"Accounts.AccountProfile":                         oneAccount,
	"Accounts.Members":                                "people hold tokens; the account has no members",
	"Accounts.Roles":                                  "a token has permissions, not roles",
	"Accounts.Subscriptions":                          noBilling,
	"Accounts.Tokens.New":                             tokensOwn,
	"Accounts.Tokens.List":                            tokensOwn,
	"Accounts.Tokens.Get":                             tokensOwn,
	"Accounts.Tokens.Update":                          tokensOwn,
	"Accounts.Tokens.Delete":                          tokensOwn,
	"Accounts.Tokens.Value":                           tokensOwn,
	"Accounts.Tokens.PermissionGroups":                tokensOwn,
	"Memberships.Get":                                 oneAccount,
	"Memberships.Update":                              oneAccount,
	"Memberships.Delete":                              oneAccount,
	"User.Edit":                                       "what stands in for the user is the token of the request",
	"User.AuditLogs":                                  "a token belongs to no person who would have a log of their own",
	"User.Billing":                                    noBilling,
	"User.Invites":                                    "a token belongs to no person who could be invited",
	"User.Organizations":                              oneAccount,
	"User.Subscriptions":                              noBilling,
	"User.Tokens.New":                                 tokensOwn,
	"User.Tokens.List":                                tokensOwn,
	"User.Tokens.Get":                                 tokensOwn,
	"User.Tokens.Update":                              tokensOwn,
	"User.Tokens.Delete":                              tokensOwn,
	"User.Tokens.Value":                               tokensOwn,
	"User.Tokens.PermissionGroups":                    tokensOwn,
	"ZeroTrust.Access.AIControls":                     noHTTP,
	"ZeroTrust.Access.Applications.Settings":          noHTTP,
	"ZeroTrust.Access.Applications.RevokeTokens":      "an infrastructure application gives out no tokens; `weft session kill` ends sessions",
	"ZeroTrust.Access.Applications.PolicyTests":       "`weft explain` and `weft impact` say what policies do",
	"ZeroTrust.Access.Applications.UserPolicyChecks":  "`weft explain` and `weft impact` say what policies do",
	"ZeroTrust.Access.Bookmarks":                      noHTTP,
	"ZeroTrust.Access.Certificates":                   noMTLS,
	"ZeroTrust.Access.CustomPages":                    noHTTP,
	"ZeroTrust.Access.Keys":                           noHTTP,
	"ZeroTrust.Access.Logs.SCIM":                      noSCIM,
	"ZeroTrust.Access.Tags":                           noHTTP,
	"ZeroTrust.ConnectivitySettings":                  noProxy,
	"ZeroTrust.DEX":                                   noProbes,
	"ZeroTrust.DLP":                                   noScan,
	"ZeroTrust.Devices.DEXTests":                      noProbes,
	"ZeroTrust.Devices.FleetStatus":                   noProbes,
	"ZeroTrust.Devices.IPProfiles":                    noWARPPeers,
	"ZeroTrust.Devices.Networks":                      "agents do not look for managed networks",
	"ZeroTrust.Devices.OverrideCodes":                 "agents take no override codes",
	"ZeroTrust.Devices.Policies.Default.Certificates": "of zones, which Weft has not",
	"ZeroTrust.Devices.Resilience":                    "a gateway drains and a registration is revoked; not all clients at once",
	"ZeroTrust.Gateway.AppTypes":                      noProxy,
	"ZeroTrust.Gateway.Categories":                    noProxy,
	"ZeroTrust.Gateway.Certificates":                  noProxy,
	"ZeroTrust.Gateway.Configurations":                noProxy,
	"ZeroTrust.Gateway.List":                          noProxy,
	"ZeroTrust.Gateway.New":                           noProxy,
	"ZeroTrust.Gateway.Locations":                     noProxy,
	"ZeroTrust.Gateway.Logging":                       noProxy,
	"ZeroTrust.Gateway.Pacfiles":                      noProxy,
	"ZeroTrust.Gateway.ProxyEndpoints":                noProxy,
	"ZeroTrust.Gateway.Rules.ResetExpiration":         "a rule does not expire; one that should is refused",
	"ZeroTrust.IdentityProviders.SCIM":                noSCIM,
	"ZeroTrust.Networks.HostnameRoutes":               "routes are prefixes; targets have names",
	"ZeroTrust.Networks.Subnets":                      noWARPPeers,
	"ZeroTrust.Organizations.DOH":                     noProxy,
	"ZeroTrust.RiskScoring":                           noScores,
	"ZeroTrust.Seats":                                 noBilling,
	"ZeroTrust.Tunnels.Cloudflared.Management":        "connectors have no management service: refused, with that said",
	"ZeroTrust.Tunnels.WARPConnector":                 noWARPPeers,

	"access_application.RevokeAccessApplicationTokens": "an infrastructure application gives out no tokens; `weft session kill` ends sessions",
	"access_bookmark":    noHTTP,
	"access_custom_page": noHTTP,
	"access_identity_provider.ListAccessIdentityProviderAuthContexts":   "of Entra ID's conditional access",
	"access_identity_provider.UpdateAccessIdentityProviderAuthContexts": "of Entra ID's conditional access",
	"access_keys":                                                noHTTP,
	"access_mutual_tls_certificates":                             noMTLS,
	"access_seats":                                               noBilling,
	"access_tag":                                                 noHTTP,
	"accounts.CreateAccount":                                     oneAccount,
	"accounts.UpdateAccount":                                     oneAccount,
	"accounts.DeleteAccount":                                     oneAccount,
	"api_token.APITokens":                                        tokensOwn,
	"api_token.CreateAPIToken":                                   tokensOwn,
	"api_token.DeleteAPIToken":                                   tokensOwn,
	"api_token.GetAPIToken":                                      tokensOwn,
	"api_token.ListAPITokensPermissionGroups":                    tokensOwn,
	"api_token.RollAPIToken":                                     tokensOwn,
	"api_token.UpdateAPIToken":                                   tokensOwn,
	"auditlogs.GetUserAuditLogs":                                 "a token belongs to no person who would have a log of their own",
	"devices_dex":                                                noProbes,
	"devices_managed_networks":                                   "agents do not look for managed networks",
	"devices_policy.GetDeviceClientCertificates":                 "of zones, which Weft has not",
	"devices_policy.UpdateDeviceClientCertificates":              "of zones, which Weft has not",
	"gateway_categories":                                         noProxy,
	"teams_accounts.TeamsAccount":                                noProxy,
	"teams_accounts.TeamsAccountConfiguration":                   noProxy,
	"teams_accounts.TeamsAccountUpdateConfiguration":             noProxy,
	"teams_accounts.TeamsAccountConnectivityConfiguration":       noProxy,
	"teams_accounts.TeamsAccountConnectivityUpdateConfiguration": noProxy,
	"teams_accounts.TeamsAccountLoggingConfiguration":            noProxy,
	"teams_accounts.TeamsAccountUpdateLoggingConfiguration":      noProxy,
	"teams_certificates":                                         noProxy,
	"teams_locations":                                            noProxy,
	"teams_proxy_endpoints":                                      noProxy,
	"tunnel.UpdateTunnel":                                        "the SDK leaves the tunnel's ID out of the path (PATCH cfd_tunnel); v6 changes tunnels",
	"user.UpdateUser":                                            "what stands in for the user is the token of the request",
	"user.UserBillingProfile":                                    noBilling,
	"user.UserBillingHistory":                                    noBilling,
}

// notRecorded is why filters by what stands in no event leave nothing out.
const notRecorded = "the log records no requests, and there are no zones"

// noEffect are the fields of parameters of the methods that are driven, which change nothing.
var noEffect = map[string]string{
	"accounts.AccountListParams.Direction":                  "there is one account",
	"accounts.AccountListParams.PerPage":                    "there is one account",
	"accounts.LogAuditListParams.RawCfRayID.Not":            notRecorded,
	"accounts.LogAuditListParams.RawMethod.Not":             notRecorded,
	"accounts.LogAuditListParams.RawStatusCode.Not":         notRecorded,
	"accounts.LogAuditListParams.RawURI.Not":                notRecorded,
	"accounts.LogAuditListParams.ZoneID.Not":                notRecorded,
	"accounts.LogAuditListParams.ZoneName.Not":              notRecorded,
	"memberships.MembershipListParams.Direction":            "there is one membership",
	"memberships.MembershipListParams.Order":                "there is one membership",
	"memberships.MembershipListParams.PerPage":              "there is one membership",
	"zero_trust.OrganizationRevokeUsersParams.QueryDevices": "a user's devices are always revoked with the user",
	"cloudflare.AccountsListParams.PerPage":                 "there is one account",
	"cloudflare.Cursor":                                     "a part of the answer that v0 has in the parameters too",
	"cloudflare.Cursors":                                    "a part of the answer that v0 has in the parameters too",
}
