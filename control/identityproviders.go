package control

import (
	"context"
	"encoding/json"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func identityProviders() resource[api.IdentityProvider, api.IdentityProviderWrite] {
	return resource[api.IdentityProvider, api.IdentityProviderWrite]{
		read: func(q *call) (in api.IdentityProviderWrite, err error) {
			return in, q.body(&in, "id", "uid", "created_at", "updated_at")
		},
		list: listIdentityProviders, get: (*store.Reader).IdentityProvider,
		create: (*store.Tx).CreateIdentityProvider, replace: (*store.Tx).ReplaceIdentityProvider, remove: (*store.Tx).DeleteIdentityProvider,
	}
}

// listIdentityProviders knows the one filter of the public API; none has SCIM.
func listIdentityProviders(ctx context.Context, r *store.Reader, q *call) ([]api.IdentityProvider, error) {
	scim, err := q.queryBool("scim_enabled")
	if err != nil || deref(scim) {
		return nil, err
	}
	return r.IdentityProviders(ctx)
}

// organizationNoise are keys that clients send back, or that say nothing for infrastructure applications.
var organizationNoise = []string{"id", "created_at", "updated_at"}

// organizationInput is a body with the settings that would promise what is not enforced.
type organizationInput struct {
	api.OrganizationWrite
	DenyUnmatched   json.RawMessage `json:"deny_unmatched_requests"`
	ExemptedZones   json.RawMessage `json:"deny_unmatched_requests_exempted_zone_names"`
	MFA             json.RawMessage `json:"mfa_config"`
	MFARequired     json.RawMessage `json:"mfa_required_for_all_apps"`
	MFAKeys         json.RawMessage `json:"mfa_ssh_piv_key_requirements"`
	MFAKeysNewStyle json.RawMessage `json:"mfa_piv_key_requirements"`
}

func readOrganization(q *call) (api.OrganizationWrite, error) {
	var in organizationInput
	if err := q.body(&in, organizationNoise...); err != nil {
		return in.OrganizationWrite, err
	}
	for name, raw := range map[string]json.RawMessage{
		"deny_unmatched_requests": in.DenyUnmatched, "deny_unmatched_requests_exempted_zone_names": in.ExemptedZones, "mfa_config": in.MFA,
		"mfa_required_for_all_apps": in.MFARequired, "mfa_ssh_piv_key_requirements": in.MFAKeys, "mfa_piv_key_requirements": in.MFAKeysNewStyle,
	} {
		if !saysNothing(raw) {
			return in.OrganizationWrite, kind.Field("/"+name, "%s is not supported, and to keep it would promise what is not enforced", name)
		}
	}
	return in.OrganizationWrite, nil
}

// organization is what is shown: with the domain that holds while none was written.
func (c *Control) organization(o api.Organization, err error) (api.Organization, error) {
	if o.AuthDomain == "" {
		o.AuthDomain = c.defaultAuthDomain()
	}
	return o, err
}

func (c *Control) getOrganization(ctx context.Context, _ *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) (api.Organization, error) {
		o, _, err := r.Organization(ctx)
		return c.organization(o, err)
	})
}

func (c *Control) createOrganization(ctx context.Context, q *call) (answer, error) {
	return write(ctx, c, q, readOrganization, func(tx *store.Tx, in api.OrganizationWrite) (api.Organization, error) {
		return c.organization(tx.CreateOrganization(ctx, in))
	})
}

func (c *Control) replaceOrganization(ctx context.Context, q *call) (answer, error) {
	return write(ctx, c, q, readOrganization, func(tx *store.Tx, in api.OrganizationWrite) (api.Organization, error) {
		return c.organization(tx.ReplaceOrganization(ctx, in))
	})
}
