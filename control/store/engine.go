package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// engine is what differs between the databases. Both give a reader one consistent state, let one writer at a time
// in, compare and sort text by its bytes (never by a language), and match LIKE with case.
type engine interface {
	// beginRead begins a transaction that sees one state and writes nothing.
	beginRead(ctx context.Context) (*sql.Tx, error)
	// beginWrite waits until no other writer is in and begins a transaction that sees all that they did.
	beginWrite(ctx context.Context) (*write, error)
	// announce lets other processes on the same account know of a revision, when the transaction commits.
	announce(ctx context.Context, q querier, revision uint64) error
	// commit makes the write durable, or returns an error and it is not there.
	commit(ctx context.Context, w *write) error
	// again reports whether the write that failed so may succeed when it is tried again, and has left nothing.
	again(err error) bool
	// explain gives an error of the driver the kind that users are told; others it returns as they are.
	explain(err error) error
	close() error
}

// write is a transaction that writes.
type write struct {
	tx *sql.Tx
	id string // by which the database knows it; "" when it has no name for it
	// release gives back what was held besides the transaction; nil: nothing.
	release func()
}

// end rolls back, which after a commit does nothing, and releases.
func (w *write) end() {
	_ = w.tx.Rollback() // after a commit it has nothing to do
	if w.release != nil {
		w.release()
	}
}

// migrate brings the schema up to date. The migrations that are Go get the database's word for text.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, files fs.FS, text string) error {
	p, err := goose.NewProvider(dialect, db, files, goose.WithGoMigrations(applicationPorts(text)))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate store: %w", err)
	}
	return nil
}

func migrationFiles() (fs.FS, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return dir, nil
}
