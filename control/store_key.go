package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"weft/control/store"
	"weft/internal/kind"
)

// openStore opens the account with the key in the directory. A key is made only for an account that is made with it.
func (c *Control) openStore() error {
	path := filepath.Join(c.cfg.Dir, storeKeyFile)
	key, made, err := storeKey(path)
	if err != nil {
		return err
	}
	cfg := store.Config{Path: filepath.Join(c.cfg.Dir, databaseFile), Key: key, Now: c.cfg.Now}
	if c.cfg.Database != "" {
		cfg.Path, cfg.URL = "", c.cfg.Database
	}
	// Opening is short and must be whole, so it has no context to be cut by.
	c.store, err = store.Open(context.Background(), cfg)
	if err != nil && made && !errors.Is(err, store.ErrFateUnknown) { // nothing is sealed under it
		err = errors.Join(err, os.Remove(path))
	}
	if errors.Is(err, store.ErrOtherKey) {
		return kind.New(kind.Denied, "the secrets in the database were sealed under another key than %s", path).WithCause(err).
			WithHint("put the %s of the control plane that made the account there", storeKeyFile)
	}
	return err
}

// The files of a control plane's directory that a backup is about.
const (
	databaseFile = "control.db"
	storeKeyFile = "store.key"
)

// storeKey reads the key of the store's secrets or makes it.
func storeKey(path string) (key []byte, made bool, err error) {
	key, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, store.KeyBytes)
		_, _ = rand.Read(key)
		return key, true, writeFile(path, key, 0o600)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read store key: %w", err)
	}
	// Windows keeps permissions elsewhere; the directory is private there too.
	if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return nil, false, errors.Join(err, kind.New(kind.Denied, "the store's key %s can be read by others", path).WithHint("chmod 600 %s", path))
	}
	return key, false, nil
}
