package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weft/internal/kind"
)

// Token is an API token without its secret.
type Token struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Permissions are names of permission groups; what they mean is the API's to say.
	Permissions []string `json:"permissions"`
	// Sources are the prefixes from which it may be used; none means from everywhere.
	Sources    []netip.Prefix `json:"sources"`
	CreatedAt  string         `json:"created_at"`
	ExpiresAt  *string        `json:"expires_at"`
	LastUsedAt *string        `json:"last_used_at"`
	RevokedAt  *string        `json:"revoked_at"`
}

// From reports whether the token may be used from a.
func (t *Token) From(a netip.Addr) bool {
	return len(t.Sources) == 0 || slices.ContainsFunc(t.Sources, func(p netip.Prefix) bool { return p.Contains(a) })
}

// TokenFields are what a token is made of. A zero Expires means never.
type TokenFields struct {
	Name        string
	Permissions []string
	Sources     []netip.Prefix
	Expires     time.Time
}

const (
	tokenPrefix     = "weft_api_"
	maxTokenSources = 50
	tokenColumns    = `id, name, permissions, sources, created_at, expires_at, last_used_at, revoked_at`
)

func scanToken(rs *sql.Rows) (Token, error) {
	var t Token
	var permissions, sources string
	if err := rs.Scan(&t.ID, &t.Name, &permissions, &sources, &t.CreatedAt, &t.ExpiresAt, &t.LastUsedAt, &t.RevokedAt); err != nil {
		return t, err
	}
	if err := json.Unmarshal([]byte(permissions), &t.Permissions); err != nil {
		return t, fmt.Errorf("permissions of token %s: %w", t.ID, err)
	}
	if err := json.Unmarshal([]byte(sources), &t.Sources); err != nil {
		return t, fmt.Errorf("sources of token %s: %w", t.ID, err)
	}
	return t, nil
}

// CreateToken makes an API token; the secret is returned only here.
func (tx *Tx) CreateToken(ctx context.Context, f TokenFields) (Token, string, error) {
	t := Token{ID: newID(), Name: f.Name, Permissions: f.Permissions, Sources: f.Sources, CreatedAt: tx.at}
	if err := checkName(f.Name); err != nil {
		return t, "", err
	}
	if !f.Expires.IsZero() {
		if !f.Expires.After(tx.time) {
			return t, "", kind.Field("/expires_on", "the token would expire at %s, which is past", f.Expires.UTC().Format(time.RFC3339))
		}
		at := Stamp(f.Expires)
		t.ExpiresAt = &at
	}
	if len(f.Sources) > maxTokenSources {
		return t, "", kind.Field("/sources", "a token has at most %d source prefixes", maxTokenSources)
	}
	if t.Sources == nil {
		t.Sources = []netip.Prefix{}
	}
	for i, p := range t.Sources {
		if p != p.Masked() {
			return t, "", kind.Field("/sources", "%s has bits set behind its length; the prefix is %s", p, p.Masked())
		}
		if p.Addr().Is4In6() {
			return t, "", kind.Field("/sources", "write %s as an IPv4 prefix", t.Sources[i])
		}
	}
	permissions, err := json.Marshal(t.Permissions)
	if err != nil {
		return t, "", fmt.Errorf("render permissions: %w", err)
	}
	sources, err := json.Marshal(t.Sources)
	if err != nil {
		return t, "", fmt.Errorf("render sources: %w", err)
	}
	secret := NewToken(tokenPrefix)
	if _, err := tx.exec(ctx, `INSERT INTO api_tokens (id, name, hash, permissions, sources, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		t.ID, t.Name, HashToken(secret), string(permissions), string(sources), t.CreatedAt, t.ExpiresAt); err != nil {
		return t, "", err
	}
	return t, secret, tx.audit(ctx, "token.create", "api_tokens", t.ID, t)
}

// Tokens lists the tokens that are not revoked, the oldest first; with all, the revoked ones too.
func (r *Reader) Tokens(ctx context.Context, all bool) ([]Token, error) {
	var w where
	if !all {
		w.add(`revoked_at IS NULL`)
	}
	return collect(ctx, r.q, scanToken, `SELECT `+tokenColumns+` FROM api_tokens`+w.String()+` ORDER BY created_at, id`, w.args...)
}

// RevokeTokens revokes the tokens of a name, or the one with an ID, and returns how many there were.
func (tx *Tx) RevokeTokens(ctx context.Context, nameOrID string) (int64, error) {
	n, err := tx.exec(ctx, `UPDATE api_tokens SET revoked_at = $1 WHERE (name = $2 OR id = $2) AND revoked_at IS NULL`, tx.at, nameOrID)
	if err != nil || n == 0 {
		return n, err
	}
	return n, tx.audit(ctx, "token.revoke", "api_tokens", "", map[string]any{"token": nameOrID, "count": n})
}

// TokenBySecret finds an API token that is in force.
func (r *Reader) TokenBySecret(ctx context.Context, secret string) (Token, error) {
	t, ok, err := one(ctx, r.q, scanToken, `SELECT `+tokenColumns+` FROM api_tokens WHERE hash = $1 AND revoked_at IS NULL`, HashToken(secret))
	switch {
	case err != nil:
		return t, err
	case !ok:
		return t, kind.New(kind.Unauthenticated, "the API token is unknown or revoked")
	case t.ExpiresAt != nil && *t.ExpiresAt <= Stamp(r.store.now()): // stamps sort as text
		return t, kind.New(kind.Unauthenticated, "the API token expired at %s", *t.ExpiresAt).WithHint("make another one: weft token create")
	}
	return t, nil
}

// SetTokensUsed notes when tokens were used last. It changes no collection, and never takes a later time back.
func (tx *Tx) SetTokensUsed(ctx context.Context, at map[string]time.Time) error {
	for id, when := range at {
		if _, err := tx.exec(ctx, `UPDATE api_tokens SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)`, Stamp(when), id); err != nil {
			return err
		}
	}
	return nil
}
