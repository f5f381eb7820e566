package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// Limits of an enrolment key.
const (
	defaultKeyTTL  = 24 * time.Hour
	maxKeyTTL      = 365 * 24 * time.Hour
	maxKeyUses     = 10_000
	maxKeyGroups   = 200
	maxGroupBytes  = 256
	keySecretStart = "weft_key_"
)

// EnrolmentKey is a key without its secret.
type EnrolmentKey struct {
	ID, Email, Name      string
	Groups               []string
	MaxUses, Uses        int
	CreatedAt, ExpiresAt string
	RevokedAt            *string
}

// CreateEnrolmentKey makes a key; the secret is returned only here.
func (tx *Tx) CreateEnrolmentKey(ctx context.Context, in api.NewEnrolmentKey) (EnrolmentKey, string, error) {
	ttl := time.Duration(in.TTLSeconds) * time.Second
	if in.TTLSeconds == 0 {
		ttl = defaultKeyTTL
	}
	k := EnrolmentKey{
		ID: newID(), Email: in.Email, Name: in.Name, Groups: in.Groups, MaxUses: max(in.MaxUses, 1),
		CreatedAt: tx.at, ExpiresAt: Stamp(tx.time.Add(ttl)),
	}
	if err := checkNewKey(in, ttl); err != nil {
		return k, "", err
	}
	secret := NewToken(keySecretStart)
	if _, err := tx.exec(ctx, `INSERT INTO enrolment_keys (id, hash, email, email_key, name, group_list, max_uses, uses, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)`,
		k.ID, HashToken(secret), k.Email, emailKey(k.Email), k.Name, groupText(k.Groups), k.MaxUses, k.CreatedAt, k.ExpiresAt); err != nil {
		return k, "", err
	}
	return k, secret, tx.audit(ctx, "enrolment_key.create", "enrolment_keys", k.ID, k)
}

func checkNewKey(in api.NewEnrolmentKey, ttl time.Duration) error {
	if err := checkEmail("/email", in.Email); err != nil {
		return err
	}
	if in.Name != "" {
		if err := checkName(in.Name); err != nil {
			return err
		}
	}
	switch {
	case in.TTLSeconds < 0 || in.TTLSeconds > int(maxKeyTTL/time.Second) || ttl > maxKeyTTL:
		return kind.Field("/ttl_seconds", "a key lives 1 to %d seconds", int(maxKeyTTL/time.Second))
	case in.MaxUses < 0 || in.MaxUses > maxKeyUses:
		return kind.Field("/max_uses", "a key can be used 1 to %d times", maxKeyUses)
	case len(in.Groups) > maxKeyGroups:
		return kind.Field("/groups", "a key can vouch for %d groups", maxKeyGroups)
	}
	for _, g := range in.Groups {
		if g == "" || len(g) > maxGroupBytes {
			return kind.Field("/groups", "the name of a group is 1 to %d bytes", maxGroupBytes)
		}
		if err := checkText("/groups", g); err != nil {
			return err
		}
	}
	return nil
}

const keyColumns = `id, email, name, group_list, max_uses, uses, created_at, expires_at, revoked_at`

func scanKey(rs *sql.Rows) (EnrolmentKey, error) {
	var k EnrolmentKey
	var groups string
	if err := rs.Scan(&k.ID, &k.Email, &k.Name, &groups, &k.MaxUses, &k.Uses, &k.CreatedAt, &k.ExpiresAt, &k.RevokedAt); err != nil {
		return k, err
	}
	return k, json.Unmarshal([]byte(groups), &k.Groups)
}

// useKey spends one use of a key. The count and its check are one statement, so that of two enrolments that race for
// the last use exactly one wins, on any engine.
func (tx *Tx) useKey(ctx context.Context, secret string) (EnrolmentKey, error) {
	k, ok, err := one(ctx, tx.q, scanKey, `SELECT `+keyColumns+` FROM enrolment_keys WHERE hash = $1`, HashToken(secret))
	if err != nil {
		return k, err
	}
	again := func(why string) error {
		return kind.New(kind.Unauthenticated, "the enrolment key %s", why).WithHint("ask your administrator for a new enrolment string")
	}
	switch {
	case !ok:
		return k, again("is unknown")
	case k.RevokedAt != nil:
		return k, again("was revoked")
	case k.ExpiresAt <= tx.at:
		return k, again("expired at " + k.ExpiresAt)
	}
	n, err := tx.exec(ctx, `UPDATE enrolment_keys SET uses = uses + 1 WHERE id = $1 AND uses < max_uses AND revoked_at IS NULL`, k.ID)
	if err != nil {
		return k, err
	}
	if n == 0 {
		return k, again("has already been used")
	}
	return k, nil
}
