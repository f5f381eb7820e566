package control

import (
	"weft/api"
	"weft/control/openapi"
)

func accessCatalogue() catalogue {
	const (
		apps      = "~/access/apps"
		policies  = "~/access/policies"
		tokens    = "~/access/service_tokens"
		providers = "~/access/identity_providers"
		org       = "~/access/organizations"
		users     = "~/access/users"
	)
	all := entriesOf(policies, "reusable policy", openapi.Paged, api.ReusablePolicyWrite{}, api.ReusablePolicy{}, deletedID{}, "PUT")
	all.with(entriesOf(tokens, "service token", openapi.Paged, api.ServiceTokenWrite{}, api.ServiceToken{}, api.ServiceToken{}, "PUT", text("name", "search")...))
	all.with(entriesOf(providers, "identity provider", openapi.Paged, api.IdentityProviderWrite{}, api.IdentityProvider{}, deletedID{}, "PUT", kinds("boolean", "scim_enabled")...))
	return all.with(catalogue{
		"GET " + policies: {what: "List the reusable policies", out: api.ReusablePolicy{}, list: openapi.Paged},
		"PUT " + apps + "/{id}/policies/{policy}/make_reusable": {what: "Make a policy of an application a reusable one", out: api.Policy{}},

		"GET " + apps + "/ca":         {what: "List the SSH CAs of the applications: each is that of the account", out: api.ApplicationCA{}, list: openapi.Paged},
		"GET " + apps + "/{id}/ca":    {what: "Read the SSH CA of an application (older form)", out: api.ApplicationCA{}},
		"POST " + apps + "/{id}/ca":   {what: "Ask for the SSH CA by an application (older form), and create it if there is none", out: api.ApplicationCA{}},
		"DELETE " + apps + "/{id}/ca": {what: "Take the SSH CA away from an application (older form); that of the account stays", out: deletedID{}},

		"POST " + tokens + "/{id}/rotate":  {what: "Give a service token a new secret", in: rotation{}, bodyOptional: true, out: api.ServiceToken{}},
		"POST " + tokens + "/{id}/refresh": {what: "Count the duration of a service token from now", out: api.ServiceToken{}},

		"GET " + org:  {what: "Read the organization", out: api.Organization{}},
		"POST " + org: {what: "Create the organization", in: api.OrganizationWrite{}, out: api.Organization{}},
		"PUT " + org:  {what: "Change the organization", in: api.OrganizationWrite{}, out: api.Organization{}},

		"POST " + users:                                  {what: "Create a user", in: api.UserWrite{}, out: api.User{}},
		"PUT " + users + "/{id}":                         {what: "Replace a user", in: api.UserWrite{}, out: api.User{}},
		"DELETE " + users + "/{id}":                      {what: "Delete a user with all devices", out: deletedID{}},
		"GET " + users + "/{id}/active_sessions":         {what: "List the registrations of a user that are in force", out: api.UserSession{}, list: openapi.Whole},
		"GET " + users + "/{id}/active_sessions/{nonce}": {what: "Read the identity behind a registration", out: api.UserIdentity{}},
		"GET " + users + "/{id}/failed_logins":           {what: "List what was refused to a user", out: api.FailedLogin{}, list: openapi.Whole},
		"GET " + users + "/{id}/last_seen_identity":      {what: "Read the identity behind the device that was seen last", out: api.UserIdentity{}},
	}).with(logCatalogue())
}

func logCatalogue() catalogue {
	direction := []openapi.Parameter{{Name: "direction", Enum: []string{"asc", "desc"}}}
	access := params(text("email", "user_id", "device_id", "app_uid", "idp", "ray_id", "app_type", "country_code", "fields"), kinds("boolean", "email_exact", "allowed", "non_identity"),
		kinds("time", "since", "until"), kinds("integer", "limit"), direction)
	for _, field := range accessOperators {
		access = append(access, openapi.Parameter{Name: field + "Op", Enum: []string{"eq", "neq"}})
	}
	var either []openapi.Parameter
	for _, name := range []string{
		"id", "audit_log_id", "action_type", "action_result", "actor_email", "actor_id", "actor_ip_address", "actor_token_id", "actor_token_name", "actor_type",
		"actor_context", "resource_id", "resource_type", "resource_product", "resource_scope", "account_name",
	} {
		either = append(either, openapi.Parameter{Name: name, Repeated: true}, openapi.Parameter{Name: name + ".not", Repeated: true})
	}
	return catalogue{
		"GET ~/access/logs/access_requests": {what: "List enrolments and SSH logins, allowed and refused", out: api.AccessEvent{}, list: openapi.Paged, query: access},
		"GET ~/access/logs/access-requests": {what: "List enrolments and SSH logins (older form)", out: api.AccessEvent{}, list: openapi.Paged, query: access},
		"GET ~/audit_logs": {
			what: "List the changes of the account", out: api.AuditLog{}, list: openapi.Paged, note: "Days begin at midnight UTC.",
			query: params([]openapi.Parameter{{Name: "id", Repeated: true}, {Name: "action.type", Repeated: true, What: "a whole action or its last word"}, {Name: "actor.email", Repeated: true}},
				text("actor.ip", "since", "before", "zone.name"), kinds("boolean", "hide_user_logs", "export"), direction),
		},
		"GET ~/logs/audit": {
			what: "List the changes of the account (newer form)", out: api.AuditEntry{}, list: openapi.After, note: "Days begin at midnight UTC.",
			query: params(text("since", "before"), either, direction),
		},
	}
}

// accountCatalogue is what programs ask to find their account.
func accountCatalogue() catalogue {
	return catalogue{
		"GET /client/v4/accounts":           {what: "List the accounts of the token: one", out: api.Account{}, list: openapi.Paged, query: text("name")},
		"GET /client/v4/accounts/{account}": {what: "Read the account", out: api.Account{}},
		"GET /client/v4/user":               {what: "Say what stands in for the user: the token", out: api.TokenUser{}},
		"GET /client/v4/memberships":        {what: "List the memberships of the token: one", out: api.Membership{}, list: openapi.Paged, query: text("name", "account.name", "status")},
	}
}
