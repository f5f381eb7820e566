package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"weft/internal/kind"
)

// The SQLSTATEs that mean something here (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	uniqueViolation       = "23505"
	badText               = "22021"
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	queryCanceled         = "57014"
	readOnlyTransaction   = "25006"
	idleInTransaction     = "25P03"
	classConnection       = "08"
	classResources        = "53"
	classOperator         = "57"
	classSystem           = "58"
	classWrongCredentials = "28"
)

func sqlState(err error) (*pgconn.PgError, string) {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e, e.Code
	}
	return nil, ""
}

// again: a deadlock with somebody else at the database, or a conflict that it found, undid the transaction.
func (e *postgresEngine) again(err error) bool {
	_, state := sqlState(err)
	return state == serializationFailure || state == deadlockDetected
}

// isLost reports whether the connection broke, so that the transaction on it is undone unless its commit was kept.
func isLost(err error) bool {
	if _, state := sqlState(err); state != "" {
		return strings.HasPrefix(state, classConnection) || strings.HasPrefix(state, classOperator) && state != queryCanceled || state == idleInTransaction
	}
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, &network) || refused(err) || strings.Contains(err.Error(), "conn closed")
}

// refused reports whether no connection came about.
func refused(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

func (e *postgresEngine) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := asKind(err); ok {
		return err
	}
	pg, state := sqlState(err)
	switch {
	case state == uniqueViolation:
		return taken(pg.TableName, err)
	case state == badText:
		return kind.New(kind.Invalid, "the text is not valid UTF-8, or has a zero byte").WithCause(err)
	case state == readOnlyTransaction:
		return kind.New(kind.Unavailable, "the database is read-only").WithCause(err).WithHint("it may be a standby: let the URL name the primary")
	case refused(err):
		return kind.New(kind.Unavailable, "the database does not answer, or refuses the user").WithCause(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && state == "" && !isLost(err):
		return err // the caller's
	case state == queryCanceled, state == serializationFailure, state == deadlockDetected, isLost(err),
		strings.HasPrefix(state, classResources), strings.HasPrefix(state, classSystem), strings.HasPrefix(state, classWrongCredentials):
		return kind.New(kind.Unavailable, "the database does not answer; nothing was changed").WithCause(err)
	}
	return err
}
