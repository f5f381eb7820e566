package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"weft/internal/kind"
)

// sqliteEngine is SQLite in a file.
type sqliteEngine struct {
	write, read *sql.DB
}

var _ engine = (*sqliteEngine)(nil)

func openSQLite(ctx context.Context, path string) (engine, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	e := &sqliteEngine{}
	var err error
	// SQLite has one writer at a time. One connection for writes queues them in Go, where waiting honours the
	// context, instead of in the busy handler, where it does not.
	if e.write, err = sqliteDB(path, true); err != nil {
		return nil, err
	}
	e.write.SetMaxOpenConns(1)
	files, err := migrationFiles()
	if err == nil {
		err = migrate(ctx, goose.DialectSQLite3, e.write, files, "TEXT")
	}
	if err != nil {
		return nil, errors.Join(err, e.write.Close())
	}
	if e.read, err = sqliteDB(path, false); err != nil {
		return nil, errors.Join(err, e.write.Close())
	}
	e.read.SetMaxOpenConns(8)
	return e, nil
}

func sqliteDB(path string, writer bool) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)",
		"case_sensitive_like(1)", // as in PostgreSQL
	}}
	if writer {
		q.Set("_txlock", "immediate")
	} else {
		q.Add("_pragma", "query_only(1)")
	}
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

// private makes the database file, or takes it from others: the directory may let them look in. SQLite gives the
// files beside it the mode of the database; those of an earlier run may have been made before.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return fmt.Errorf("restrict store: %w", err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Chmod(path+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restrict store: %w", err)
		}
	}
	return nil
}

func (e *sqliteEngine) beginRead(ctx context.Context) (*sql.Tx, error) {
	return e.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
}

// beginWrite takes SQLite's one write lock at once (_txlock=immediate), so that nobody writes between reading and writing.
func (e *sqliteEngine) beginWrite(ctx context.Context) (*write, error) {
	tx, err := e.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &write{tx: tx}, nil
}

func (e *sqliteEngine) announce(context.Context, querier, uint64) error { return nil }

func (e *sqliteEngine) commit(_ context.Context, w *write) error { return w.tx.Commit() }

// again is never: the lock is there from the beginning.
func (e *sqliteEngine) again(error) bool { return false }

func (e *sqliteEngine) explain(err error) error {
	driver, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch driver.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		_, columns, _ := strings.Cut(driver.Error(), "constraint failed: UNIQUE constraint failed: ")
		table, _, _ := strings.Cut(columns, ".")
		return taken(table, err)
	}
	switch driver.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return kind.New(kind.Unavailable, "the database cannot be written or read now").WithCause(err)
	}
	return err
}

func (e *sqliteEngine) close() error { return errors.Join(e.read.Close(), e.write.Close()) }
