package control

import (
	"weft/api"
	"weft/control/openapi"
)

// identityCatalogue is what is under /access besides applications and groups.
func identityCatalogue() catalogue {
	const (
		tokens = "~/access/service_tokens"
		apps   = "~/access/apps"
		org    = "~/access/organizations"
		users  = "~/access/users"
	)
	all := entriesOf("~/access/policies", "reusable policy", openapi.Paged, api.PolicyWrite{}, api.ReusablePolicy{}, deletedID{}, "PUT")
	all.with(entriesOf(tokens, "service token", openapi.Paged, api.ServiceTokenWrite{}, api.ServiceToken{}, api.ServiceToken{}, "PUT", text("name", "search")...))
	all.with(entriesOf("~/access/identity_providers", "identity provider", openapi.Paged, api.IdentityProviderWrite{}, api.IdentityProvider{}, deletedID{}, "PUT",
		kinds("boolean", "scim_enabled")...))
	return all.with(catalogue{
		"POST " + tokens + "/{id}/rotate":  {what: "Give a service token another secret", in: rotationInput{}, bodyOptional: true, out: api.ServiceToken{}},
		"POST " + tokens + "/{id}/refresh": {what: "Let the duration of a service token begin anew", out: api.ServiceToken{}},

		"PUT " + apps + "/{id}/policies/{policy}/make_reusable": {what: "Make a policy of an application a reusable one", out: api.Policy{}},
		"POST " + apps + "/{id}/revoke_tokens":                  {what: "Refused: an infrastructure application has no tokens", refused: true},
		"POST " + apps + "/{id}/revoke-tokens":                  {what: "Refused: an infrastructure application has no tokens", refused: true},

		"GET " + org:  {what: "Read the organization", out: api.Organization{}},
		"POST " + org: {what: "Create the organization", in: organizationInput{}, out: api.Organization{}},
		"PUT " + org:  {what: "Change the organization", in: organizationInput{}, out: api.Organization{}},

		"POST " + users:                                  {what: "Create a user before the first enrolment", in: api.UserWrite{}, out: api.User{}},
		"PUT " + users + "/{id}":                         {what: "Replace e-mail address and name of a user", in: api.UserWrite{}, out: api.User{}},
		"DELETE " + users + "/{id}":                      {what: "Delete a user", out: deletedID{}},
		"GET " + users + "/{id}/active_sessions":         {what: "List the sessions of a user that are in force", out: api.UserSession{}, list: openapi.Whole},
		"GET " + users + "/{id}/active_sessions/{nonce}": {what: "Read a session of a user", out: api.UserIdentity{}},
		"GET " + users + "/{id}/failed_logins":           {what: "List what a user was refused", out: api.FailedLogin{}, list: openapi.Whole},
		"GET " + users + "/{id}/last_seen_identity":      {what: "Read the identity that was seen last of a user", out: api.UserIdentity{}},
	})
}

// logCatalogue is the access log and the audit log.
func logCatalogue() catalogue {
	requests := params(text("email", "user_id", "device_id", "app_uid", "idp", "ray_id", "app_type", "country_code", "fields"),
		kinds("boolean", "allowed", "email_exact", "non_identity"), kinds("time", "since", "until"), kinds("integer", "limit"),
		[]openapi.Parameter{{Name: "direction", Enum: []string{"desc", "asc"}}})
	older := params(text("zone.name", "actor.ip", "since", "before"), kinds("boolean", "export", "hide_user_logs"),
		[]openapi.Parameter{{Name: "id", Repeated: true}, {Name: "action.type", Repeated: true}, {Name: "actor.email", Repeated: true}, {Name: "direction", Enum: []string{"desc", "asc"}}})
	note := "Every filter takes eq, the default, or neq in a parameter of its name with Op behind it."
	return catalogue{
		"GET ~/access/logs/access_requests": {what: "List enrolments and SSH logins, allowed and refused", out: api.AccessEvent{}, list: openapi.Paged, query: requests, note: note},
		"GET ~/access/logs/access-requests": {what: "List enrolments and SSH logins, allowed and refused", out: api.AccessEvent{}, list: openapi.Paged, query: requests, note: note},
		"GET ~/audit_logs":                  {what: "List the changes (older form)", out: api.AuditLog{}, list: openapi.Paged, query: older},
		"GET ~/logs/audit": {
			what: "List the changes", out: api.AuditEntry{}, list: openapi.After,
			query: params(text("since", "before"), []openapi.Parameter{{Name: "direction", Enum: []string{"desc", "asc"}}}),
		},
	}
}

// accountCatalogue is what programs ask to find their account.
func accountCatalogue() catalogue {
	return catalogue{
		"GET /client/v4/accounts":           {what: "List the accounts of the token: one", out: api.Account{}, list: openapi.Paged, query: text("name")},
		"GET /client/v4/accounts/{account}": {what: "Read the account", out: api.Account{}},
		"GET /client/v4/user":               {what: "Say what stands in for the user: the token", out: api.TokenUser{}},
		"GET /client/v4/memberships":        {what: "List the memberships of the token: one", out: api.Membership{}, list: openapi.Paged},
	}
}
