package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// Limits of identity providers; the number is the documented one of an account.
const (
	maxIdentityProviders  = 50
	maxProviderConfig     = 64 << 10
	maxProviderStringSize = 16 << 10
)

// providerTypes are the kinds of identity providers that clients know. Only the forms of onetimepin and oidc are checked; the fields
// of the others are kept as they are.
var providerTypes = []string{
	"onetimepin", "azureAD", "saml", "centrify", "facebook", "github", "google-apps", "google", "linkedin", "oidc", "okta", "onelogin", "pingone", "yandex",
}

// The secrets among the members of config. writeOnly is never shown again: clients keep what they wrote. Of the other they
// want to see what they wrote, so it is shown to those who may write it, and api.RedactedSecret to the rest.
const (
	writeOnly    = "client_secret"
	writersShown = "api_token"
)

func providerPlace(id string) string { return "identity_providers.config/" + id }

// providers reads those that w selects by creation; with secrets as they are.
func (r *Reader) providers(ctx context.Context, w *where) ([]api.IdentityProvider, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (api.IdentityProvider, error) {
		var p api.IdentityProvider
		var sealed, scim string
		if err := rs.Scan(&p.ID, &p.Name, &p.Type, &sealed, &scim, &p.CreatedAt, &p.UpdatedAt); err != nil {
			return p, err
		}
		raw, err := r.store.box.open(providerPlace(p.ID), sealed)
		if err != nil {
			return p, err
		}
		if err := json.Unmarshal(raw, &p.Config); err != nil {
			return p, fmt.Errorf("identity provider %s: %w", p.ID, err)
		}
		return p, json.Unmarshal([]byte(scim), &p.SCIMConfig)
	}, `SELECT id, name, type, config_sealed, scim_config, created_at, updated_at FROM identity_providers`+w.String()+` ORDER BY created_at, id`, w.args...)
}

// IdentityProviders lists all by creation, without their secrets.
func (r *Reader) IdentityProviders(ctx context.Context) ([]api.IdentityProvider, error) {
	all, err := r.providers(ctx, &where{})
	for i := range all {
		all[i] = redacted(all[i])
	}
	return all, err
}

// IdentityProvider finds one, without its secrets.
func (r *Reader) IdentityProvider(ctx context.Context, id string) (api.IdentityProvider, error) {
	p, err := r.provider(ctx, id)
	return redacted(p), err
}

func (r *Reader) provider(ctx context.Context, id string) (api.IdentityProvider, error) {
	var w where
	w.add(`id = ?`, id)
	found, err := r.providers(ctx, &w)
	if err != nil {
		return api.IdentityProvider{}, err
	}
	if len(found) == 0 {
		return api.IdentityProvider{}, kind.New(kind.NotFound, "there is no identity provider %q", clip(id))
	}
	return found[0], nil
}

// redacted is a copy that shows no secret, but for what stands in ForWriters.
func redacted(p api.IdentityProvider) api.IdentityProvider {
	p.Config = maps.Clone(p.Config)
	delete(p.Config, writeOnly)
	p.ForWriters = p.Config
	if v, ok := p.Config[writersShown]; ok && v != "" {
		p.Config = maps.Clone(p.Config)
		p.Config[writersShown] = api.RedactedSecret
	}
	return p
}

// CreateIdentityProvider adds one.
func (tx *Tx) CreateIdentityProvider(ctx context.Context, in api.IdentityProviderWrite) (api.IdentityProvider, error) {
	p := api.IdentityProvider{ID: newID(), CreatedAt: tx.at}
	n, err := tx.count(ctx, `identity_providers`, &where{})
	if err != nil {
		return p, err
	}
	if n >= maxIdentityProviders {
		return p, kind.New(kind.Limit, "the account has reached its limit of %d identity providers", maxIdentityProviders)
	}
	sealed, scim, err := tx.putProvider(ctx, &p, in)
	if err != nil {
		return p, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO identity_providers (id, name, type, config_sealed, scim_config, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		p.ID, p.Name, p.Type, sealed, scim, p.CreatedAt, p.UpdatedAt); err != nil {
		return p, err
	}
	p = redacted(p)
	return p, tx.audit(ctx, "identity_provider.create", "identity_providers", p.ID, p)
}

// ReplaceIdentityProvider replaces all but ID, type and creation time; a secret that is written as api.RedactedSecret, and the
// client's secret also when it is left out, stays what it is.
func (tx *Tx) ReplaceIdentityProvider(ctx context.Context, id string, in api.IdentityProviderWrite) (api.IdentityProvider, error) {
	before, err := tx.provider(ctx, id)
	if err != nil {
		return before, err
	}
	p := before
	sealed, scim, err := tx.putProvider(ctx, &p, in)
	if err != nil {
		return p, err
	}
	if _, err := tx.exec(ctx, `UPDATE identity_providers SET name = $2, config_sealed = $3, scim_config = $4, updated_at = $5 WHERE id = $1`,
		id, p.Name, sealed, scim, p.UpdatedAt); err != nil {
		return p, err
	}
	p = redacted(p)
	return p, tx.audit(ctx, "identity_provider.update", "identity_providers", id, change{redacted(before), p})
}

// DeleteIdentityProvider refuses while rules are limited to the provider, and names them.
func (tx *Tx) DeleteIdentityProvider(ctx context.Context, id string) error {
	p, err := tx.IdentityProvider(ctx, id)
	if err != nil {
		return err
	}
	users, err := tx.ruleUsers(ctx, func(r access.Rule) bool { return ruleNames(r, id, "login_method.id", "identity_provider_id") })
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return kind.New(kind.Conflict, "identity provider %q is in use by %s", p.Name, strings.Join(users, ", ")).WithHint("change or delete them first")
	}
	if _, err := tx.exec(ctx, `DELETE FROM identity_providers WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.audit(ctx, "identity_provider.delete", "identity_providers", id, p)
}

// putProvider writes in over p, checks the result and returns its sealed configuration and the text of the other.
func (tx *Tx) putProvider(ctx context.Context, p *api.IdentityProvider, in api.IdentityProviderWrite) (sealed, scim string, err error) {
	if p.Type != "" && in.Type != p.Type {
		return "", "", kind.Field("/type", "the type of an identity provider cannot be changed from %s", p.Type)
	}
	former := p.Config
	p.Name, p.Type, p.Config, p.SCIMConfig, p.UpdatedAt = in.Name, in.Type, maps.Clone(in.Config), in.SCIMConfig, tx.at
	if p.Config == nil {
		p.Config = map[string]any{}
	}
	if p.SCIMConfig = maps.Clone(in.SCIMConfig); p.SCIMConfig != nil {
		delete(p.SCIMConfig, "secret") // who serves SCIM gives it out, and nobody here does
	}
	if err := keepSecrets(p.Config, former); err != nil {
		return "", "", err
	}
	if err := tx.checkProvider(ctx, p); err != nil {
		return "", "", err
	}
	raw, err := json.Marshal(p.Config)
	if err != nil {
		return "", "", fmt.Errorf("render identity provider: %w", err)
	}
	other, err := json.Marshal(p.SCIMConfig)
	if err != nil {
		return "", "", fmt.Errorf("render identity provider: %w", err)
	}
	if len(raw)+len(other) > maxProviderConfig {
		return "", "", kind.Field("/config", "the configuration is larger than %d bytes", maxProviderConfig)
	}
	return tx.store.box.seal(providerPlace(p.ID), raw), string(other), nil
}

// keepSecrets takes over the former secrets that config does not change.
func keepSecrets(config, former map[string]any) error {
	if _, written := config[writeOnly]; !written && former[writeOnly] != nil {
		config[writeOnly] = former[writeOnly]
	}
	for _, name := range []string{writeOnly, writersShown} {
		if config[name] != api.RedactedSecret {
			continue
		}
		if former[name] == nil {
			return kind.Field("/config/"+name, "there is no former secret to keep")
		}
		config[name] = former[name]
	}
	return nil
}

func (tx *Tx) checkProvider(ctx context.Context, p *api.IdentityProvider) error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	if !slices.Contains(providerTypes, p.Type) {
		return kind.Field("/type", "the type must be one of %s", strings.Join(providerTypes, ", "))
	}
	switch p.Type {
	case "onetimepin":
		return tx.checkOneTimePIN(ctx, p)
	case "oidc":
		return checkOIDC(p.Config)
	}
	return nil
}

func (tx *Tx) checkOneTimePIN(ctx context.Context, p *api.IdentityProvider) error {
	for name, v := range p.Config {
		if name != "redirect_url" && v != nil && v != "" && v != false {
			return kind.Field("/config/"+name, "a one-time PIN takes no configuration")
		}
	}
	var w where
	w.add(`type = ?`, p.Type)
	w.add(`id <> ?`, p.ID)
	n, err := tx.count(ctx, `identity_providers`, &w)
	if err == nil && n > 0 {
		return kind.New(kind.Conflict, "the account already has the identity provider %s", p.Type)
	}
	return err
}

// checkOIDC checks what a login by OpenID Connect (Core 1.0) needs.
func checkOIDC(config map[string]any) error {
	for _, f := range []struct {
		name          string
		url, required bool
	}{
		{"client_id", false, true},
		{"client_secret", false, true},
		{"auth_url", true, true},
		{"token_url", true, true},
		{"certs_url", true, true},
		{"email_claim_name", false, false},
	} {
		v, given := config[f.name]
		if v == nil || v == "" {
			if f.required {
				return kind.Field("/config/"+f.name, "an oidc provider needs %s", f.name)
			}
			continue
		}
		s, ok := v.(string)
		if given && !ok {
			return kind.Field("/config/"+f.name, "%s must be a string", f.name)
		}
		if err := checkProviderString("/config/"+f.name, s); err != nil {
			return err
		}
		if u, err := url.Parse(s); f.url && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
			return kind.Field("/config/"+f.name, "%s must be an https URL", f.name)
		}
	}
	for _, name := range []string{"scopes", "claims"} {
		if err := checkStrings("/config/"+name, config[name]); err != nil {
			return err
		}
	}
	if v, ok := config["pkce_enabled"]; ok && v != nil {
		if _, ok := v.(bool); !ok {
			return kind.Field("/config/pkce_enabled", "pkce_enabled must be true or false")
		}
	}
	return nil
}

func checkStrings(pointer string, v any) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) > 100 {
		return kind.Field(pointer, "a list of at most 100 strings is needed")
	}
	for _, x := range list {
		s, ok := x.(string)
		if !ok || s == "" {
			return kind.Field(pointer, "a list of at most 100 strings is needed")
		}
		if err := checkProviderString(pointer, s); err != nil {
			return err
		}
	}
	return nil
}

func checkProviderString(pointer, s string) error {
	if len(s) > maxProviderStringSize {
		return kind.Field(pointer, "the value is longer than %d bytes", maxProviderStringSize)
	}
	return checkText(pointer, s)
}
