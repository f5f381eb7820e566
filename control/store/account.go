package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/netip"
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
		if err := tx.addMissingTags(ctx); err != nil {
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
