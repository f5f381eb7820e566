package control

import (
	"context"
	"os"
	"path/filepath"

	"weft/control/store"
	"weft/internal/kind"
)

// Backup writes a copy of the account in a directory to a file, while a control plane may run on it.
func Backup(ctx context.Context, dir, to string) (store.Backup, error) {
	key, err := presentKey(dir)
	if err != nil {
		return store.Backup{}, err
	}
	return store.Copy(ctx, filepath.Join(dir, databaseFile), to, key)
}

// Restore puts a backup into a directory that has the key and no database.
func Restore(ctx context.Context, dir, from string) (store.Backup, error) {
	key, err := presentKey(dir)
	if err != nil {
		return store.Backup{}, err
	}
	return store.Copy(ctx, from, filepath.Join(dir, databaseFile), key)
}

// presentKey reads the key; a new one would open nothing.
func presentKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, storeKeyFile)
	if _, err := os.Stat(path); err != nil {
		return nil, kind.New(kind.NotFound, "there is no %s, without which the secrets in the database cannot be read", path).WithCause(err)
	}
	key, _, err := storeKey(path)
	return key, err
}
