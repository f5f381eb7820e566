package control

import (
	"context"
	"encoding/json"
	"slices"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
	"weft/internal/kind"
)

var identityProviderNoise = []string{"id", "uid", "created_at", "updated_at"}

func identityProviders() resource[api.IdentityProvider, api.IdentityProviderWrite] {
	return resource[api.IdentityProvider, api.IdentityProviderWrite]{
		read: func(q *call) (in api.IdentityProviderWrite, err error) {
			return in, q.body(&in, identityProviderNoise...)
		},
		list: listIdentityProviders, get: (*store.Reader).IdentityProvider,
		create: (*store.Tx).CreateIdentityProvider, replace: (*store.Tx).ReplaceIdentityProvider, remove: (*store.Tx).DeleteIdentityProvider,
		show: func(q *call, p api.IdentityProvider) api.IdentityProvider {
			if mayWrite(&q.token, areaIdentity) {
				p.Config = p.ForWriters
			}
			return p
		},
	}
}

// listIdentityProviders knows the one filter of the public API.
func listIdentityProviders(ctx context.Context, r *store.Reader, q *call) ([]api.IdentityProvider, error) {
	scim, err := q.queryBool("scim_enabled")
	if err != nil {
		return nil, err
	}
	all, err := r.IdentityProviders(ctx)
	if scim == nil {
		return all, err
	}
	return slices.DeleteFunc(all, func(p api.IdentityProvider) bool { return (p.SCIMConfig["enabled"] == true) != *scim }), err
}

// organizationNoise are keys that clients send back, or that say nothing for infrastructure applications.
var organizationNoise = []string{"id", "created_at", "updated_at"}

// unenforced are the settings that would promise what is not enforced: only a value that says nothing passes.
var unenforced = []string{
	"mfa_config", "mfa_required_for_all_apps", "mfa_ssh_piv_key_requirements",
	"mfa_piv_key_requirements",
}

func readOrganization(q *call) (in api.OrganizationWrite, err error) {
	raw, err := q.rawBody()
	if err != nil {
		return in, err
	}
	if err := strictjson.Decode(raw, &in, append(slices.Clone(organizationNoise), unenforced...)...); err != nil {
		return in, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return in, kind.New(kind.Invalid, "the body is not an object").WithCause(err)
	}
	for _, name := range unenforced {
		if !saysNothing(all[name]) {
			return in, kind.Field("/"+name, "%s is not supported, and to keep it would promise what is not enforced", name)
		}
	}
	return in, nil
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
