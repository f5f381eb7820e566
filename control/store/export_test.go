package store

import "context"

// DuplicateNetworkForTest writes a network past the check of its name.
func (tx *Tx) DuplicateNetworkForTest(ctx context.Context, name string) error {
	if err := tx.touch(ctx, Networks); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO virtual_networks (id, name, name_key, comment, is_default, created_at) VALUES ($1, $2, $3, '', 0, $4)`,
		newID(), name, nameKey(name), tx.at)
	return err
}
