// Package store keeps the account: one SQL schema in one of two databases, SQLite (the embedded default) or PostgreSQL
// (several control planes on one account). The statements are the same; type engine has what differs. Every write is one transaction that changes rows, raises the revision of the collections that it
// touched and adds an audit event, so that a watcher never sees a state that no revision names.
//
// Tokens and keys that others present are kept as SHA-256 hashes of at least 256 random bits; secrets that must be
// shown or used again (a tunnel's secret, the SSH CA's key) are sealed with AES-256-GCM under a key that is not in
// the database.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Config says where the account is kept.
type Config struct {
	// URL of a PostgreSQL database (postgres://...); "" means SQLite at Path. The account is created if there is none.
	URL string
	// Path of the SQLite file; it is created with its account if it does not exist.
	Path string
	// Key is the 32 bytes under which secrets are sealed.
	Key []byte
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Poll is how often Watch looks whether it has missed a change; 0 means every second.
	Poll time.Duration
	// MaxAccessEvents bounds the access log; 0 means 100,000.
	MaxAccessEvents int
}

// Store is an open account. It is safe for concurrent use.
type Store struct {
	engine  engine
	box     *box
	now     func() time.Time
	account Account
	changed chan struct{}
	// pollEvery is Config.Poll.
	pollEvery time.Duration
	impact    func([]Change) any
	// maxAccessEvents bounds the access log.
	maxAccessEvents int
}

// Open opens, creates or migrates the store. Close it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	b, err := newBox(cfg.Key)
	if err != nil {
		return nil, err
	}
	s := &Store{box: b, now: cfg.Now, changed: make(chan struct{}, 1), pollEvery: cmp.Or(max(cfg.Poll, 0), defaultPoll)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.maxAccessEvents = cfg.MaxAccessEvents; s.maxAccessEvents <= 0 {
		s.maxAccessEvents = maxAccessEvents
	}
	if cfg.URL != "" {
		s.engine, err = openPostgres(ctx, cfg.URL)
	} else {
		s.engine, err = openSQLite(ctx, cfg.Path)
	}
	if err != nil {
		return nil, err
	}
	if err := s.openAccount(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends all use.
func (s *Store) Close() error { return s.engine.close() }

// Changed receives after every committed change of a collection; several changes may arrive as one. Of the changes of
// other processes it knows while Watch runs.
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
	tx, err := s.engine.beginRead(ctx)
	if err != nil {
		return s.explain(fmt.Errorf("begin read: %w", err))
	}
	defer func() { _ = tx.Rollback() }() // nothing to lose
	return s.explain(fn(&Reader{q: tx, store: s}))
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

// maxAttempts bounds how often a write is tried that the database asks to try again.
const maxAttempts = 4

// Update calls fn in a transaction that is committed when fn returns nil and leaves nothing behind otherwise. All
// writers of an account, in this process or another, go one after the other, so what fn reads stays so until the commit.
// When the database asks for it fn is called again in a new transaction: what it hands out it must set, not add to.
func (s *Store) Update(ctx context.Context, by Actor, fn func(*Tx) error) error {
	if _, ok := s.within(ctx); ok {
		return errNested
	}
	for attempt := 1; ; attempt++ {
		err := s.update(ctx, by, fn)
		if err == nil || attempt == maxAttempts || !s.engine.again(err) {
			return s.explain(err)
		}
		if err := pause(ctx, time.Duration(attempt)*20*time.Millisecond); err != nil {
			return err
		}
	}
}

// explain gives an error that says nothing to people the kind that the database knows for it.
func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := asKind(err); ok {
		return err
	}
	return s.engine.explain(err)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (s *Store) update(ctx context.Context, by Actor, fn func(*Tx) error) error {
	w, err := s.engine.beginWrite(ctx)
	if err != nil {
		return fmt.Errorf("begin write: %w", err)
	}
	defer w.end()
	now := s.now().UTC()
	tx := &Tx{Reader: Reader{q: w.tx, store: s}, actor: by, at: Stamp(now), time: now, touched: map[string]bool{}}
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
	if len(tx.touched) > 0 {
		if err := s.engine.announce(ctx, w.tx, tx.revision); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
	}
	if err := s.engine.commit(ctx, w); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed()
	if len(tx.touched) > 0 {
		s.wake()
	}
	return nil
}

func (s *Store) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // one is pending, and it will see this change too
	}
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
