package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// Limits of service tokens; the number is the documented one of an account.
const (
	maxServiceTokens     = 50
	defaultTokenDuration = "8760h"
	foreverDuration      = "forever"
	maxTokenDuration     = 100 * 365 * 24 * time.Hour
)

const serviceTokenColumns = `id, name, client_id, secret_version, previous_expires_at, duration, enabled, counted_from, expires_at, last_seen_at,
	created_at, updated_at, secret_hash, previous_hash`

// serviceToken is a row.
type serviceToken struct {
	api.ServiceToken
	countedFrom  string
	hash, former string
}

func scanServiceToken(rs *sql.Rows) (serviceToken, error) {
	var t serviceToken
	var enabled int
	err := rs.Scan(&t.ID, &t.Name, &t.ClientID, &t.SecretVersion, &t.PreviousExpiresAt, &t.Duration, &enabled, &t.countedFrom, &t.ExpiresAt, &t.LastSeenAt,
		&t.CreatedAt, &t.UpdatedAt, &t.hash, &t.former)
	t.Enabled = enabled != 0
	return t, err
}

// inForce reports whether the token can be used at a time, and the devices that it enrolled with it.
func (t *serviceToken) inForce(at string) bool {
	return t.Enabled && (t.ExpiresAt == nil || *t.ExpiresAt > at)
}

// ServiceTokens lists all by name.
func (r *Reader) ServiceTokens(ctx context.Context) ([]api.ServiceToken, error) {
	all, err := collect(ctx, r.q, scanServiceToken, `SELECT `+serviceTokenColumns+` FROM service_tokens ORDER BY name, id`)
	out := make([]api.ServiceToken, len(all))
	for i := range all {
		out[i] = all[i].ServiceToken
	}
	return out, err
}

// ServiceToken finds one.
func (r *Reader) ServiceToken(ctx context.Context, id string) (api.ServiceToken, error) {
	t, err := r.serviceToken(ctx, id)
	return t.ServiceToken, err
}

func (r *Reader) serviceToken(ctx context.Context, id string) (serviceToken, error) {
	t, ok, err := one(ctx, r.q, scanServiceToken, `SELECT `+serviceTokenColumns+` FROM service_tokens WHERE id = $1`, id)
	if err == nil && !ok {
		return t, kind.New(kind.NotFound, "there is no service token %q", clip(id))
	}
	return t, err
}

// CreateServiceToken makes a token; its secret is in the answer and nowhere else.
func (tx *Tx) CreateServiceToken(ctx context.Context, in api.ServiceTokenWrite) (api.ServiceToken, error) {
	t := serviceToken{countedFrom: tx.at}
	t.ID, t.ClientID, t.SecretVersion, t.CreatedAt = newID(), randomHex(16)+".access", 1, tx.at
	t.Duration, t.Enabled = defaultTokenDuration, true
	n, err := tx.count(ctx, `service_tokens`, &where{})
	if err != nil {
		return t.ServiceToken, err
	}
	if n >= maxServiceTokens {
		return t.ServiceToken, kind.New(kind.Limit, "the account has reached its limit of %d service tokens", maxServiceTokens)
	}
	if v := deref(in.SecretVersion); v != 0 && v != 1 {
		return t.ServiceToken, kind.Field("/client_secret_version", "the first secret of a service token is version 1")
	}
	in.SecretVersion, in.PreviousExpiresAt = nil, nil
	secret := t.renew("")
	if err := tx.editServiceToken(&t, in); err != nil {
		return t.ServiceToken, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO service_tokens (`+serviceTokenColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		t.ID, t.Name, t.ClientID, t.SecretVersion, t.PreviousExpiresAt, t.Duration, flag(t.Enabled), t.countedFrom, t.ExpiresAt, t.LastSeenAt,
		t.CreatedAt, t.UpdatedAt, t.hash, t.former); err != nil {
		return t.ServiceToken, err
	}
	err = tx.audit(ctx, "service_token.create", "service_tokens", t.ID, t.ServiceToken)
	t.ClientSecret = secret
	return t.ServiceToken, err
}

// ReplaceServiceToken changes what is not nil. The version after the present one makes a new secret, which is in the answer.
func (tx *Tx) ReplaceServiceToken(ctx context.Context, id string, in api.ServiceTokenWrite) (api.ServiceToken, error) {
	return tx.changeServiceToken(ctx, id, "service_token.update", func(t *serviceToken) (api.Secret, error) {
		var secret api.Secret
		switch v := deref(in.SecretVersion); v {
		case 0, t.SecretVersion:
			if t.former != "" {
				if until, err := formerUntil(in.PreviousExpiresAt); err != nil {
					return "", err
				} else if !until.IsZero() {
					t.PreviousExpiresAt = new(Stamp(until))
				}
			}
		case t.SecretVersion + 1:
			until, err := formerUntil(in.PreviousExpiresAt)
			if err != nil {
				return "", err
			}
			secret = tx.rotate(t, until)
		default:
			return "", kind.Field("/client_secret_version", "the present secret is version %d; the next one makes a new secret", t.SecretVersion)
		}
		return secret, tx.editServiceToken(t, in)
	})
}

// RotateServiceToken makes a new secret, which is in the answer; the former one is good until then, or no longer for nil.
func (tx *Tx) RotateServiceToken(ctx context.Context, id string, until *string) (api.ServiceToken, error) {
	return tx.changeServiceToken(ctx, id, "service_token.rotate", func(t *serviceToken) (api.Secret, error) {
		at, err := formerUntil(until)
		if err != nil {
			return "", err
		}
		return tx.rotate(t, at), nil
	})
}

// formerUntil reads until when a former secret is good; zero for nothing said.
func formerUntil(s *string) (time.Time, error) {
	if s == nil || *s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, *s)
	if err != nil {
		return at, kind.Field("/previous_client_secret_expires_at", "%q is not a time of RFC 3339", clip(*s))
	}
	return at, nil
}

// RefreshServiceToken counts the token's duration from now.
func (tx *Tx) RefreshServiceToken(ctx context.Context, id string) (api.ServiceToken, error) {
	return tx.changeServiceToken(ctx, id, "service_token.refresh", func(t *serviceToken) (api.Secret, error) {
		t.countedFrom = tx.at
		return "", tx.expiry(t)
	})
}

func (tx *Tx) changeServiceToken(ctx context.Context, id, action string, edit func(*serviceToken) (api.Secret, error)) (api.ServiceToken, error) {
	t, err := tx.serviceToken(ctx, id)
	if err != nil {
		return t.ServiceToken, err
	}
	before := t.ServiceToken
	secret, err := edit(&t)
	if err != nil {
		return t.ServiceToken, err
	}
	t.UpdatedAt = tx.at
	if _, err := tx.exec(ctx, `UPDATE service_tokens SET name = $2, secret_version = $3, previous_expires_at = $4, duration = $5, enabled = $6, counted_from = $7,
		expires_at = $8, updated_at = $9, secret_hash = $10, previous_hash = $11 WHERE id = $1`,
		id, t.Name, t.SecretVersion, t.PreviousExpiresAt, t.Duration, flag(t.Enabled), t.countedFrom, t.ExpiresAt, t.UpdatedAt, t.hash, t.former); err != nil {
		return t.ServiceToken, err
	}
	if err := tx.settleTokenUser(ctx, &t); err != nil {
		return t.ServiceToken, err
	}
	err = tx.audit(ctx, action, "service_tokens", id, change{before, t.ServiceToken})
	t.ClientSecret = secret
	return t.ServiceToken, err
}

// DeleteServiceToken ends a token and the registrations that were made by it. It refuses while rules name the token.
func (tx *Tx) DeleteServiceToken(ctx context.Context, id string) error {
	t, err := tx.serviceToken(ctx, id)
	if err != nil {
		return err
	}
	users, err := tx.ruleUsers(ctx, func(r access.Rule) bool { return ruleNames(r, id, "service_token.token_id") })
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return kind.New(kind.Conflict, "service token %q is in use by %s", t.Name, strings.Join(users, ", ")).WithHint("change or delete them first")
	}
	u, known, err := tx.tokenUser(ctx, id)
	if err != nil {
		return err
	}
	if known {
		if err := tx.retireUser(ctx, u); err != nil {
			return err
		}
	}
	if _, err := tx.exec(ctx, `DELETE FROM service_tokens WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.audit(ctx, "service_token.delete", "service_tokens", id, t.ServiceToken)
}

// editServiceToken writes what people may choose over t and checks it.
func (tx *Tx) editServiceToken(t *serviceToken, in api.ServiceTokenWrite) error {
	if in.Name != nil {
		t.Name = *in.Name
	}
	if d := deref(in.Duration); d != "" {
		t.Duration = d
	}
	if in.Enabled != nil {
		t.Enabled = *in.Enabled
	}
	t.UpdatedAt = tx.at
	if err := checkName(t.Name); err != nil {
		return err
	}
	return tx.expiry(t)
}

// expiry sets when a token expires. One that is long expired can be renamed, but not be given a duration that ended already.
func (tx *Tx) expiry(t *serviceToken) error {
	if t.Duration == foreverDuration {
		t.ExpiresAt = nil
		return nil
	}
	d, err := time.ParseDuration(t.Duration)
	if err != nil || d <= 0 || d > maxTokenDuration {
		return kind.Field("/duration", "a duration is such as %q, or %q, not %q", defaultTokenDuration, foreverDuration, clip(t.Duration))
	}
	from, err := time.Parse(time.RFC3339, t.countedFrom)
	if err != nil {
		return err
	}
	at := Stamp(from.Add(d))
	if at <= tx.at && (t.ExpiresAt == nil || *t.ExpiresAt != at) {
		return kind.Field("/duration", "the token would have expired at %s already", at).WithHint("refresh it first")
	}
	t.ExpiresAt = &at
	return nil
}

func (tx *Tx) rotate(t *serviceToken, until time.Time) api.Secret {
	former := t.hash
	t.SecretVersion++
	t.PreviousExpiresAt = nil
	if until.After(tx.time) {
		t.PreviousExpiresAt = new(Stamp(until))
	} else {
		former = ""
	}
	return t.renew(former)
}

// renew gives the token a new secret beside the hash of its former one.
func (t *serviceToken) renew(former string) api.Secret {
	secret := randomHex(32)
	t.hash, t.former = HashToken(secret), former
	return api.Secret(secret)
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// useServiceToken finds the token that a client ID and a secret belong to, if it is in force, and notes the use.
func (tx *Tx) useServiceToken(ctx context.Context, clientID, secret string) (serviceToken, error) {
	t, ok, err := one(ctx, tx.q, scanServiceToken, `SELECT `+serviceTokenColumns+` FROM service_tokens WHERE client_id = $1`, clientID)
	if err != nil {
		return t, err
	}
	is := func(hash string) bool {
		return hash != "" && subtle.ConstantTimeCompare([]byte(HashToken(secret)), []byte(hash)) == 1
	}
	again := func(why string) error {
		return kind.New(kind.Unauthenticated, "the service token %s", why).WithHint("ask your administrator for one that is in force")
	}
	switch {
	case !ok:
		return t, again("is unknown, or the secret is not its own")
	case is(t.hash):
	case is(t.former) && t.PreviousExpiresAt != nil && *t.PreviousExpiresAt > tx.at:
	default:
		return t, again("is unknown, or the secret is not its own")
	}
	if !t.inForce(tx.at) {
		return t, again("is disabled or has expired")
	}
	_, err = tx.exec(ctx, `UPDATE service_tokens SET last_seen_at = $2 WHERE id = $1`, t.ID, tx.at)
	return t, err
}

// CheckServiceToken finds the token of a pair that is in force; a pair that is not is kind.Invalid, for it is no credential of the
// caller. It writes an audit event: whoever asks may hand the pair on.
func (tx *Tx) CheckServiceToken(ctx context.Context, clientID, secret string) (api.ServiceToken, error) {
	t, err := tx.useServiceToken(ctx, clientID, secret)
	if k, ok := asKind(err); ok && k.Kind == kind.Unauthenticated {
		return t.ServiceToken, kind.Field("/client_secret", "%s", k.Message)
	}
	if err != nil {
		return t.ServiceToken, err
	}
	return t.ServiceToken, tx.audit(ctx, "service_token.enrolment_string", "service_tokens", t.ID, t.ServiceToken)
}

// TokenEmail is under what address devices of service tokens are shown.
func TokenEmail(authDomain string) string { return "non_identity@" + authDomain }

// EnrolByServiceToken registers a device for which no user stands, only the token. It returns the device's token.
func (tx *Tx) EnrolByServiceToken(ctx context.Context, clientID, secret, authDomain string, in NewDevice) (Device, string, error) {
	t, err := tx.useServiceToken(ctx, clientID, secret)
	if err != nil {
		return Device{}, "", err
	}
	tx.actor.Type, tx.actor.ID = "service_token", t.ID
	u, known, err := tx.tokenUser(ctx, t.ID)
	if err != nil {
		return Device{}, "", err
	}
	if !known {
		u = User{User: api.User{ID: newID(), Email: TokenEmail(authDomain), Name: t.Name, CreatedAt: tx.at, UpdatedAt: tx.at}, ServiceTokenID: t.ID}
		if _, err := tx.exec(ctx, `INSERT INTO users (id, email, email_key, name, group_list, created_at, updated_at, service_token_id)
			VALUES ($1, $2, $3, $4, '[]', $5, $5, $6)`, u.ID, u.Email, "service token "+t.ID, u.Name, tx.at, t.ID); err != nil {
			return Device{}, "", err
		}
		if err := tx.changed(ctx, Users, "user.create", u.ID, u); err != nil {
			return Device{}, "", err
		}
	}
	return tx.register(ctx, u, in)
}

// tokenUser is the user that stands for a service token, once it enrolled a device.
func (r *Reader) tokenUser(ctx context.Context, token string) (User, bool, error) {
	return one(ctx, r.q, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.service_token_id = $1 AND u.deleted_at IS NULL`, token)
}

// settleTokenUser revokes the user that stands for a token while the token is not in force; the registrations stay for when it is again.
func (tx *Tx) settleTokenUser(ctx context.Context, t *serviceToken) error {
	u, known, err := tx.tokenUser(ctx, t.ID)
	if err != nil || !known || (u.RevokedAt == nil) == t.inForce(tx.at) {
		return err
	}
	revoked, action := &tx.at, "service_token.suspend"
	if t.inForce(tx.at) {
		revoked, action = nil, "service_token.resume"
	}
	if _, err := tx.exec(ctx, `UPDATE users SET revoked_at = $1, updated_at = $2 WHERE id = $3`, revoked, tx.at, u.ID); err != nil {
		return err
	}
	return tx.changed(ctx, Users, action, u.ID, t.ServiceToken)
}

// ExpiredServiceTokens are the IDs of tokens that expired and whose user has not been revoked for it.
func (r *Reader) ExpiredServiceTokens(ctx context.Context) ([]string, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (id string, err error) { return id, rs.Scan(&id) },
		`SELECT t.id FROM service_tokens t JOIN users u ON u.service_token_id = t.id
		WHERE t.expires_at IS NOT NULL AND t.expires_at <= $1 AND u.revoked_at IS NULL AND u.deleted_at IS NULL ORDER BY t.id`, Stamp(r.store.now()))
}

// SettleServiceTokens does what follows from tokens' having expired.
func (tx *Tx) SettleServiceTokens(ctx context.Context, ids []string) error {
	for _, id := range ids {
		t, err := tx.serviceToken(ctx, id)
		if err == nil {
			err = tx.settleTokenUser(ctx, &t)
		}
		if err != nil && !kind.Is(err, kind.NotFound) { // deleted meanwhile
			return err
		}
	}
	return nil
}

// ruleNames reports whether a rule has an ID in one of its fields; fields are written "selector.field", or "field" for any selector.
func ruleNames(r access.Rule, id string, fields ...string) bool {
	raw, err := json.Marshal(r)
	if err != nil {
		return false
	}
	var wire map[string]map[string]any
	if json.Unmarshal(raw, &wire) != nil {
		return false
	}
	for selector, values := range wire {
		for _, f := range fields {
			want, name, qualified := strings.Cut(f, ".")
			if !qualified {
				want, name = selector, f
			}
			if want == selector && values[name] == id {
				return true
			}
		}
	}
	return false
}
