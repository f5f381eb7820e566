package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"weft/internal/kind"
)

// Backup says what a copy holds.
type Backup struct {
	Account  string
	Revision uint64
	Bytes    int64
	// Key names the key that seals the secrets in it: the beginning of its SHA-256.
	Key string
}

// KeyName is a name for a key of 256 random bits that says nothing else about it.
func KeyName(key []byte) string {
	sum := sha256.Sum256(key)
	return "sha256:" + hex.EncodeToString(sum[:8])
}

// Copy writes a consistent copy of the SQLite store in one file to another, which must not exist, while others write to
// the first. The copy has mode 0600, and is there only when it was written out, read back whole, and found to be sealed
// under the key. The first file is not changed, nor migrated. So a backup is made, and put back.
func Copy(ctx context.Context, from, to string, key []byte) (Backup, error) {
	if st, err := os.Stat(from); err != nil || !st.Mode().IsRegular() {
		return Backup{}, errors.Join(err, kind.New(kind.NotFound, "there is no database %s", from))
	}
	for _, path := range []string{to, to + "-wal", to + "-shm"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return Backup{}, errors.Join(err, exists(path))
		}
	}
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*") // of mode 0600
	if err != nil {
		return Backup{}, fmt.Errorf("copy store: %w", err)
	}
	part := f.Name()
	defer func() { _ = os.Remove(part) }() // its other name stays
	if err := f.Close(); err != nil {
		return Backup{}, fmt.Errorf("copy store: %w", err)
	}
	if err := vacuumInto(ctx, from, part); err != nil {
		return Backup{}, err
	}
	b, err := verify(ctx, part, key)
	if err != nil {
		return Backup{}, err
	}
	if err := settle(part); err != nil {
		return Backup{}, err
	}
	if err := os.Link(part, to); err != nil { // unlike a rename it replaces nothing
		if errors.Is(err, fs.ErrExist) {
			return Backup{}, exists(to)
		}
		return Backup{}, fmt.Errorf("copy store: %w", err)
	}
	return b, syncDir(filepath.Dir(to))
}

func exists(path string) error {
	return kind.New(kind.Conflict, "%s exists already", path).WithHint("nothing is overwritten: choose another name, or move it away")
}

// plainSQLite opens a file as it is: nothing about it is changed by that.
func plainSQLite(path string, query url.Values) (*sql.DB, error) {
	query.Add("_pragma", "busy_timeout(10000)")
	return sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}).String())
}

// vacuumInto copies one state of the database: VACUUM INTO reads in one transaction, beside which others write
// (https://www.sqlite.org/lang_vacuum.html).
func vacuumInto(ctx context.Context, from, to string) (err error) {
	db, err := plainSQLite(from, url.Values{"mode": {"rw"}})
	if err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, to); err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	return nil
}

// verify reads all of a database that nobody writes to.
func verify(ctx context.Context, path string, key []byte) (b Backup, err error) {
	sealed, err := newBox(key)
	if err != nil {
		return b, err
	}
	db, err := plainSQLite(path, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if err != nil {
		return b, fmt.Errorf("verify copy: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, check := range []string{`PRAGMA integrity_check`, `PRAGMA foreign_key_check`} {
		found, err := collect(ctx, db, firstColumn, check)
		if err != nil {
			return b, fmt.Errorf("verify copy: %w", err)
		}
		if len(found) > 0 && found[0] != "ok" {
			return b, kind.New(kind.Internal, "the copy is damaged: %s", found[0])
		}
	}
	var keyCheck string
	if err := db.QueryRowContext(ctx, `SELECT id, key_check, (SELECT MAX(revision) FROM collection_revisions) FROM accounts`).
		Scan(&b.Account, &keyCheck, &b.Revision); err != nil {
		return b, fmt.Errorf("verify copy: %w", err)
	}
	if _, err := sealed.open(keyCheckPlace, keyCheck); err != nil {
		return b, kind.New(kind.Denied, "the secrets in the database were sealed under another key").WithCause(fmt.Errorf("%w: %w", ErrOtherKey, err))
	}
	st, err := os.Stat(path)
	if err != nil {
		return b, fmt.Errorf("verify copy: %w", err)
	}
	b.Bytes, b.Key = st.Size(), KeyName(key)
	return b, nil
}

// firstColumn is the first value of a row of any width, as text.
func firstColumn(rs *sql.Rows) (string, error) {
	columns, err := rs.Columns()
	if err != nil {
		return "", err
	}
	var first sql.NullString
	values := []any{&first}
	for range columns[1:] {
		values = append(values, new(any))
	}
	err = rs.Scan(values...)
	return first.String, err
}

// settle has the system write a file out.
func settle(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	return nil
}
