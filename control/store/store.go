// Package store keeps the account: one SQL schema, written so that SQLite (the embedded default) and PostgreSQL can
// both hold it. Every write is one transaction that changes rows, raises the revision of the collections that it
// touched and adds an audit event, so that a watcher never sees a state that no revision names.
//
// Tokens and keys that others present are kept as SHA-256 hashes of at least 256 random bits; secrets that must be
// shown or used again (a tunnel's secret, the SSH CA's key) are sealed with AES-256-GCM under a key that is not in
// the database.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where the account is kept.
type Config struct {
	// Path of the SQLite file; it is created with its account if it does not exist.
	Path string
	// Key is the 32 bytes under which secrets are sealed.
	Key []byte
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// MaxAccessEvents bounds the access log; 0 means 100,000.
	MaxAccessEvents int
}

// Store is an open account. It is safe for concurrent use.
type Store struct {
	write, read *sql.DB
	box         *box
	now         func() time.Time
	account     Account
	changed     chan struct{}
	impact      func([]Change) any
	// maxAccessEvents bounds the access log.
	maxAccessEvents int
}

// Open opens, creates or migrates the store. Close it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	b, err := newBox(cfg.Key)
	if err != nil {
		return nil, err
	}
	s := &Store{box: b, now: cfg.Now, changed: make(chan struct{}, 1)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.maxAccessEvents = cfg.MaxAccessEvents; s.maxAccessEvents <= 0 {
		s.maxAccessEvents = maxAccessEvents
	}
	if err := private(cfg.Path); err != nil {
		return nil, err
	}
	// SQLite has one writer at a time. One connection for writes queues them in Go, where waiting honours the
	// context, instead of in the busy handler, where it does not.
	if s.write, err = openSQLite(cfg.Path, true); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	if err := migrate(ctx, s.write); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if s.read, err = openSQLite(cfg.Path, false); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	s.read.SetMaxOpenConns(8)
	if err := s.openAccount(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openSQLite(path string, writer bool) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)",
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

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithGoMigrations(applicationPorts))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate store: %w", err)
	}
	return nil
}

// Close ends all use.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Changed receives after every committed change of a collection; several changes may arrive as one.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Account is the one account of the store.
func (s *Store) Account() Account { return s.account }

// querier is what a transaction offers.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Reader reads one consistent state.
type Reader struct {
	q     querier
	store *Store
}

// View calls fn with one consistent state.
func (s *Store) View(ctx context.Context, fn func(*Reader) error) error {
	if r, ok := s.within(ctx); ok {
		return fn(r)
	}
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin read: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to lose
	return fn(&Reader{q: tx, store: s})
}

// Actor is who writes.
type Actor struct {
	Type string // "token", "device", "gateway", "enrolment", "service_token", "system"
	ID   string
	// IP is where the request came from, RequestID its ID; "" for what no request asked for.
	IP, RequestID string
}

// System is the actor of what the control plane does by itself.
var System = Actor{Type: "system", ID: "control"}

// Tx is one write. Its methods check what the rows around the change demand; their errors carry internal/kind.
type Tx struct {
	Reader
	actor    Actor
	at       string
	time     time.Time
	revision uint64
	touched  map[string]bool
	// changes are what was written so far; lastEvent is the ID of the newest audit event.
	changes   []Change
	lastEvent string
}

// Update calls fn in a transaction that is committed when fn returns nil and leaves nothing behind otherwise.
func (s *Store) Update(ctx context.Context, by Actor, fn func(*Tx) error) error {
	if _, ok := s.within(ctx); ok {
		return errNested
	}
	sqlTx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin write: %w", err)
	}
	defer func() { _ = sqlTx.Rollback() }() // after a commit it does nothing
	now := s.now().UTC()
	tx := &Tx{Reader: Reader{q: sqlTx, store: s}, actor: by, at: Stamp(now), time: now, touched: map[string]bool{}}
	if tx.revision, err = tx.Revision(ctx); err != nil {
		return err
	}
	tx.revision++
	committed, err := tx.checkPrecondition(ctx)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.auditImpact(ctx); err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed()
	if len(tx.touched) > 0 {
		select {
		case s.changed <- struct{}{}:
		default: // one is pending, and it will see this change too
		}
	}
	return nil
}

// Now is the time of the transaction.
func (tx *Tx) Now() time.Time { return tx.time }

// exec runs a statement and returns how many rows it changed.
func (tx *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := tx.q.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return n, nil
}

// Stamp renders a time as the store keeps it.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func newID() string { return uuid.NewString() }

// newTimeID is a UUIDv7, whose order is that of its making.
func newTimeID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make ID: %w", err)
	}
	return id.String(), nil
}

// collect reads all rows by scan.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err tells
	out := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return out, nil
}

// one reads the first row by scan; ok is false when there is none.
func one[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), query string, args ...any) (v T, ok bool, err error) {
	all, err := collect(ctx, q, scan, query, args...)
	if err != nil || len(all) == 0 {
		return v, false, err
	}
	return all[0], true, nil
}
