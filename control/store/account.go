package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/netip"

	"weft/internal/kind"
)

// Account is the one account of a store.
type Account struct {
	ID   string // 32 hex digits
	Name string
	// ULA is the account's IPv6 /48 (RFC 4193) for tunnel addresses.
	ULA netip.Prefix
}

const keyCheckPlace = "accounts.key_check"

// openAccount reads the account or makes it, and refuses a key that did not seal the store's secrets.
func (s *Store) openAccount(ctx context.Context) error {
	var ula, check string
	err := s.read.QueryRowContext(ctx, `SELECT id, name, ula, key_check FROM accounts`).
		Scan(&s.account.ID, &s.account.Name, &ula, &check)
	if err == sql.ErrNoRows { //nolint:errorlint // Row.Scan returns it bare
		return s.createAccount(ctx)
	}
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	if _, err := s.box.open(keyCheckPlace, check); err != nil {
		return err
	}
	if s.account.ULA, err = netip.ParsePrefix(ula); err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	return s.Update(ctx, System, func(tx *Tx) error {
		if err := tx.addCollections(ctx); err != nil {
			return err
		}
		return tx.BeginEpoch(ctx)
	})
}

// addCollections gives a revision to the collections that have none: all of a new account, those that an older version
// did not know.
func (tx *Tx) addCollections(ctx context.Context) error {
	have, err := tx.Revisions(ctx)
	if err != nil {
		return err
	}
	for _, c := range allCollections {
		if _, ok := have[c]; ok {
			continue
		}
		if _, err := tx.exec(ctx, `INSERT INTO collection_revisions (collection, revision) VALUES ($1, 0)`, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) createAccount(ctx context.Context) error {
	var id [16]byte
	_, _ = rand.Read(id[:])
	a := Account{ID: hex.EncodeToString(id[:]), Name: "weft", ULA: randomULA()}
	err := s.Update(ctx, System, func(tx *Tx) error {
		if _, err := tx.exec(ctx, `INSERT INTO accounts (id, name, ula, key_check, created_at) VALUES ($1, $2, $3, $4, $5)`,
			a.ID, a.Name, a.ULA.String(), s.box.seal(keyCheckPlace, []byte("weft")), tx.at); err != nil {
			return err
		}
		if err := tx.addCollections(ctx); err != nil {
			return err
		}
		if err := tx.BeginEpoch(ctx); err != nil {
			return err
		}
		_, err := tx.CreateNetwork(ctx, NetworkFields{Name: "default", Default: true})
		return err
	})
	s.account = a
	return err
}

// randomULA follows RFC 4193 section 3.2: fd and 40 random bits.
func randomULA() netip.Prefix {
	a := [16]byte{0: 0xfd}
	_, _ = rand.Read(a[1:6])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// Token is an API token without its secret.
type Token struct{ ID, Name, CreatedAt string }

const tokenPrefix = "weft_api_"

// CreateToken makes an API token; the secret is returned only here.
func (tx *Tx) CreateToken(ctx context.Context, name string) (Token, string, error) {
	if err := checkName(name); err != nil {
		return Token{}, "", err
	}
	secret := NewToken(tokenPrefix)
	t := Token{ID: newID(), Name: name, CreatedAt: tx.at}
	if _, err := tx.exec(ctx, `INSERT INTO api_tokens (id, name, hash, created_at) VALUES ($1, $2, $3, $4)`,
		t.ID, t.Name, HashToken(secret), t.CreatedAt); err != nil {
		return Token{}, "", err
	}
	return t, secret, tx.audit(ctx, "token.create", "api_tokens", t.ID, t)
}

// RevokeTokens revokes the tokens of a name and returns how many there were.
func (tx *Tx) RevokeTokens(ctx context.Context, name string) (int64, error) {
	n, err := tx.exec(ctx, `UPDATE api_tokens SET revoked_at = $1 WHERE name = $2 AND revoked_at IS NULL`, tx.at, name)
	if err != nil || n == 0 {
		return n, err
	}
	return n, tx.audit(ctx, "token.revoke", "api_tokens", "", map[string]any{"name": name, "count": n})
}

// TokenBySecret finds an API token that is not revoked.
func (r *Reader) TokenBySecret(ctx context.Context, secret string) (Token, error) {
	t, ok, err := one(ctx, r.q, func(rs *sql.Rows) (Token, error) {
		var t Token
		return t, rs.Scan(&t.ID, &t.Name, &t.CreatedAt)
	}, `SELECT id, name, created_at FROM api_tokens WHERE hash = $1 AND revoked_at IS NULL`, HashToken(secret))
	if err == nil && !ok {
		return t, kind.New(kind.Unauthenticated, "the API token is unknown or revoked")
	}
	return t, err
}
