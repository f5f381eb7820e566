package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// The bounds of session durations as documented, and what holds while nothing was written.
const (
	defaultSessionDuration = "24h"
	minSessionDuration     = 15 * time.Minute
	maxSessionDuration     = 730 * time.Hour // one month
	minSeatExpiration      = 730 * time.Hour
	maxAuthDomainBytes     = 253
	maxLookBytes           = 2048
	maxExemptZones         = 100
)

// The members of the two free objects.
var (
	designKeys = []string{"background_color", "logo_path", "text_color", "header_text", "footer_text"}
	pageKeys   = []string{"forbidden", "identity_denied"}
)

// Organization is what holds for the account. While nobody wrote one, it has the account's name and no domain; made is false then.
func (r *Reader) Organization(ctx context.Context) (o api.Organization, made bool, err error) {
	id := r.store.account.ID
	text, made, err := one(ctx, r.q, func(rs *sql.Rows) (s string, err error) { return s, rs.Scan(&s, &o.CreatedAt, &o.UpdatedAt) },
		`SELECT settings, created_at, updated_at FROM organizations WHERE account_id = $1`, id)
	if err != nil {
		return o, made, err
	}
	if made {
		created, updated := o.CreatedAt, o.UpdatedAt
		err = json.Unmarshal([]byte(text), &o)
		o.CreatedAt, o.UpdatedAt = created, updated
		return o, true, err
	}
	o = api.Organization{Name: r.store.account.Name, SessionDuration: defaultSessionDuration}
	err = r.q.QueryRowContext(ctx, `SELECT created_at FROM accounts WHERE id = $1`, id).Scan(&o.CreatedAt)
	o.UpdatedAt = o.CreatedAt
	return o, false, err
}

// CreateOrganization writes the first settings. There can be one organization.
func (tx *Tx) CreateOrganization(ctx context.Context, in api.OrganizationWrite) (api.Organization, error) {
	o, made, err := tx.Organization(ctx)
	if err != nil {
		return o, err
	}
	if made {
		return o, kind.New(kind.Conflict, "the account already has the organization %q", o.Name).WithHint("change it with PUT")
	}
	o.CreatedAt = tx.at
	return tx.putOrganization(ctx, o, in, "organization.create", nil)
}

// ReplaceOrganization replaces all settings; only a name and a domain that are not written stay.
func (tx *Tx) ReplaceOrganization(ctx context.Context, in api.OrganizationWrite) (api.Organization, error) {
	o, _, err := tx.Organization(ctx)
	if err != nil {
		return o, err
	}
	return tx.putOrganization(ctx, o, in, "organization.update", &o)
}

func (tx *Tx) putOrganization(ctx context.Context, o api.Organization, in api.OrganizationWrite, action string, before *api.Organization) (api.Organization, error) {
	o = api.Organization{
		Name: *cmp.Or(in.Name, &o.Name), AuthDomain: *cmp.Or(in.AuthDomain, &o.AuthDomain),
		LoginDesign: in.LoginDesign, CustomPages: in.CustomPages,
		IsUIReadOnly: in.IsUIReadOnly, UIReadOnlyReason: deref(in.UIReadOnlyReason),
		AutoRedirectToIdentity: in.AutoRedirectToIdentity, AllowAuthenticateViaWARP: in.AllowAuthenticateViaWARP,
		DenyUnmatchedRequests: in.DenyUnmatchedRequests, DenyUnmatchedExempt: in.DenyUnmatchedExempt,
		SessionDuration: deref(in.SessionDuration), WARPAuthSessionDuration: deref(in.WARPAuthSessionDuration),
		UserSeatExpiration: deref(in.UserSeatExpiration), CreatedAt: o.CreatedAt,
	}
	o.UpdatedAt = tx.at
	if err := checkOrganization(&o); err != nil {
		return o, err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return o, fmt.Errorf("render organization: %w", err)
	}
	id := tx.store.account.ID
	if _, err := tx.exec(ctx, `INSERT INTO organizations (account_id, settings, created_at, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at`,
		id, string(raw), o.CreatedAt, o.UpdatedAt); err != nil {
		return o, err
	}
	if before == nil {
		return o, tx.audit(ctx, action, "organizations", id, o)
	}
	return o, tx.audit(ctx, action, "organizations", id, change{before, o})
}

func checkOrganization(o *api.Organization) error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	if strings.ContainsFunc(o.AuthDomain, notDomainLetter) || len(o.AuthDomain) > maxAuthDomainBytes {
		return kind.Field("/auth_domain", "the domain is at most %d letters, digits, dots and hyphens", maxAuthDomainBytes)
	}
	if err := checkComment("/ui_read_only_toggle_reason", o.UIReadOnlyReason); err != nil {
		return err
	}
	for _, d := range []struct {
		pointer, value string
		least, most    time.Duration
	}{
		{"/session_duration", o.SessionDuration, minSessionDuration, maxSessionDuration},
		{"/warp_auth_session_duration", o.WARPAuthSessionDuration, 0, maxSessionDuration},
		{"/user_seat_expiration_inactive_time", o.UserSeatExpiration, minSeatExpiration, 100 * maxSessionDuration},
	} {
		if d.value == "" {
			continue
		}
		v, err := time.ParseDuration(d.value)
		if err != nil || v < d.least || v > d.most {
			return kind.Field(d.pointer, "a duration is such as %q, from %s to %s", defaultSessionDuration, d.least, d.most)
		}
	}
	if err := checkLook("/login_design", o.LoginDesign, designKeys); err != nil {
		return err
	}
	if len(o.DenyUnmatchedExempt) > maxExemptZones {
		return kind.Field("/deny_unmatched_requests_exempted_zone_names", "at most %d zones can be exempted", maxExemptZones)
	}
	for i, zone := range o.DenyUnmatchedExempt {
		if zone == "" || len(zone) > maxAuthDomainBytes || strings.ContainsFunc(zone, notDomainLetter) {
			return kind.Field(fmt.Sprintf("/deny_unmatched_requests_exempted_zone_names/%d", i), "a zone is a domain of at most %d letters, digits, dots and hyphens", maxAuthDomainBytes)
		}
	}
	return checkLook("/custom_pages", o.CustomPages, pageKeys)
}

func notDomainLetter(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.", r)
}

func checkLook(pointer string, values map[string]string, known []string) error {
	for name, v := range values {
		at := pointer + "/" + clip(name)
		if !slices.Contains(known, name) {
			return kind.Field(at, "the members are %s", strings.Join(known, ", "))
		}
		if len(v) > maxLookBytes {
			return kind.Field(at, "the value is longer than %d bytes", maxLookBytes)
		}
		if err := checkText(at, v); err != nil {
			return err
		}
	}
	return nil
}
