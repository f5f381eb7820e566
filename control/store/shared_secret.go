package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

func sharedPlace(name string) string { return "shared_secrets.sealed/" + name }

// SharedSecret returns what the control planes of the account have in common under a name; the first that asks makes it.
func (s *Store) SharedSecret(ctx context.Context, name string, create func() ([]byte, error)) (secret []byte, err error) {
	err = s.Update(ctx, System, func(tx *Tx) error {
		var sealed string
		err := tx.q.QueryRowContext(ctx, `SELECT sealed FROM shared_secrets WHERE name = $1`, name).Scan(&sealed)
		if err == nil {
			secret, err = s.box.open(sharedPlace(name), sealed)
			return err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read shared secret: %w", err)
		}
		if secret, err = create(); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `INSERT INTO shared_secrets (name, sealed, created_at) VALUES ($1, $2, $3)`,
			name, s.box.seal(sharedPlace(name), secret), tx.at); err != nil {
			return err
		}
		return tx.audit(ctx, "shared_secret.create", "shared_secrets", name, map[string]string{"name": name})
	})
	return secret, err
}
