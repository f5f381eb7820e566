package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"weft/internal/kind"
)

// What one control plane opens at PostgreSQL besides the connection that listens (Watch).
const (
	readConnections  = 8
	asideConnections = 2
)

// minPostgres is the oldest version with pg_current_xact_id.
const minPostgres = 130000

// How long a write may take from its begin to its commit, and how long the fate of a commit is asked for.
const (
	writeTimeout = time.Minute
	fateTimeout  = 5 * time.Second
)

// The first halves of the advisory locks; the second is the schema's OID, so that accounts in one database do not wait
// for each other.
const (
	writeLock   = 0x77656674 // "weft"
	migrateLock = 0x77656675
)

const schemaOID = `(SELECT oid::bigint::bit(32)::int4 FROM pg_namespace WHERE nspname = current_schema())`

// postgresEngine is PostgreSQL. write has one connection, in which writes queue up in Go; aside is for what must not
// wait behind them.
type postgresEngine struct {
	write, read, aside *sql.DB
	config             *pgx.ConnConfig
	channel            string
}

var _ engine = (*postgresEngine)(nil)

// ErrFateUnknown says that a write may have been kept: the database went away before it answered the commit, and did not
// come back in time to be asked.
var ErrFateUnknown = errors.New("the commit was not answered")

func openPostgres(ctx context.Context, url string) (engine, error) {
	config, err := postgresConfig(url)
	if err != nil {
		return nil, err
	}
	e := &postgresEngine{config: config}
	open := func(most int) *sql.DB {
		db := stdlib.OpenDB(*config)
		db.SetMaxOpenConns(most)
		db.SetMaxIdleConns(most)
		db.SetConnMaxIdleTime(5 * time.Minute)
		return db
	}
	e.write, e.read, e.aside = open(1), open(readConnections), open(asideConnections)
	if err := e.prepare(ctx); err != nil {
		return nil, errors.Join(e.explain(err), e.close())
	}
	return e, nil
}

// prepare looks whether the database will do and migrates it.
func (e *postgresEngine) prepare(ctx context.Context) error {
	var version int
	var encoding, schema sql.NullString
	if err := e.write.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int4, current_setting('server_encoding'), current_schema()`).
		Scan(&version, &encoding, &schema); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	switch {
	case version < minPostgres:
		return kind.New(kind.Invalid, "the database is PostgreSQL %d; it must be %d or newer", version/10000, minPostgres/10000)
	case encoding.String != "UTF8":
		return kind.New(kind.Invalid, "the database keeps text as %s", encoding.String).WithHint("make one with ENCODING 'UTF8'")
	case !schema.Valid:
		return kind.New(kind.Invalid, "the database has no schema that this user may use").WithHint("make the user the owner of the database, or set search_path")
	}
	if err := e.migrate(ctx); err != nil {
		return err
	}
	var oid int32
	if err := e.write.QueryRowContext(ctx, `SELECT `+schemaOID).Scan(&oid); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	e.channel = "weft_" + strconv.FormatUint(uint64(uint32(oid)), 10)
	return nil
}

// migrate lets one control plane after the other bring the schema up to date: replicas may start at the same time.
func (e *postgresEngine) migrate(ctx context.Context) (err error) {
	conn, err := e.aside.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrate store: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// A migration takes as long as it takes. The one connection for writes is the one that migrates.
	for _, q := range []querier{conn, e.write} {
		if _, err := q.ExecContext(ctx, `SET statement_timeout = 0`); err != nil {
			return fmt.Errorf("migrate store: %w", err)
		}
		defer func() {
			_, resetErr := q.ExecContext(context.WithoutCancel(ctx), `RESET statement_timeout`)
			err = errors.Join(err, resetErr)
		}()
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1, `+schemaOID+`)`, migrateLock); err != nil {
		return fmt.Errorf("wait for another migration: %w", err)
	}
	defer func() {
		_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1, `+schemaOID+`)`, migrateLock)
		err = errors.Join(err, unlockErr)
	}()
	files, err := postgresMigrations()
	if err != nil {
		return err
	}
	return migrate(ctx, goose.DialectPostgres, e.write, files, postgresText)
}

// beginRead takes a snapshot of the database at its first statement, which all that follow see.
func (e *postgresEngine) beginRead(ctx context.Context) (*sql.Tx, error) {
	return retryConnect(ctx, func() (*sql.Tx, error) {
		return e.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	})
}

// beginWrite lets one writer in, of all processes on the account, by an advisory lock that ends with the transaction.
//
// The isolation is READ COMMITTED: each statement sees what was committed when it began. Nobody else commits while the
// lock is held, so all statements after it see one state, and it is the newest: a check that a name is free holds until
// the insert, as in SQLite. With REPEATABLE READ the snapshot would be that of the statement that waits for the lock,
// from before the writer who was waited for. SERIALIZABLE would find the conflicts, too, but only at the end, and make
// every writer repeat its work. For the same reason the lock is a statement of its own.
//
// The transaction is bound to a context that the caller cannot end: a COMMIT that was sent must be heard of. The
// statements themselves still end with the caller's.
func (e *postgresEngine) beginWrite(ctx context.Context) (*write, error) {
	w, err := retryConnect(ctx, func() (*write, error) {
		conn, err := e.write.Conn(ctx)
		if err != nil {
			return nil, err
		}
		txCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		w := &write{release: func() {
			cancel()
			_ = conn.Close() // it goes back to the pool, or is dropped if it is broken
		}}
		if w.tx, err = conn.BeginTx(txCtx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err != nil {
			w.release()
			return nil, err
		}
		return w, nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, `+schemaOID+`)`, writeLock); err != nil {
		w.end()
		return nil, fmt.Errorf("wait for other writers: %w", err)
	}
	if err := w.tx.QueryRowContext(ctx, `SELECT pg_current_xact_id()::text`).Scan(&w.id); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// retryConnect begins once more when the first connection turned out to be dead: the server was started anew.
func retryConnect[T any](ctx context.Context, begin func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		v, err := begin()
		if err == nil || attempt > readConnections || !isLost(err) || ctx.Err() != nil {
			return v, err
		}
		if refused(err) {
			return v, err // there is no server; that is for the caller to know at once
		}
	}
}

func (e *postgresEngine) announce(ctx context.Context, q querier, revision uint64) error {
	_, err := q.ExecContext(ctx, `SELECT pg_notify($1, $2)`, e.channel, revisionMark+strconv.FormatUint(revision, 10))
	return err
}

// commit asks what became of the transaction when the connection broke before the answer: a write that was kept must
// not be reported as failed, nor the other way round.
func (e *postgresEngine) commit(ctx context.Context, w *write) error {
	err := w.tx.Commit()
	if err == nil || !isLost(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fateTimeout)
	defer cancel()
	for {
		var status sql.NullString
		askErr := e.aside.QueryRowContext(ctx, `SELECT pg_xact_status($1::text::xid8)`, w.id).Scan(&status)
		switch {
		case askErr == nil && status.String == "committed":
			return nil
		case askErr == nil && status.String == "aborted":
			return kind.New(kind.Unavailable, "the connection to the database was lost; nothing was changed").WithCause(err)
		}
		// In progress: the server has not noticed yet. Or it does not answer.
		if pause(ctx, 50*time.Millisecond) != nil {
			return kind.New(kind.Unavailable, "the connection to the database was lost, and whether the change was kept is not known").
				WithHint("look before you try again").WithCause(errors.Join(ErrFateUnknown, err, askErr))
		}
	}
}

func (e *postgresEngine) close() error {
	return errors.Join(e.read.Close(), e.write.Close(), e.aside.Close())
}
