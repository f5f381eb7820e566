package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/pressly/goose/v3"

	"weft/access"
	"weft/api"
)

// applicationPorts is a migration: which application has given which port to which protocol, out of the criteria, so that
// a new application need not be held against all others.
var applicationPorts = goose.NewGoMigration(13, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `CREATE TABLE application_ports (
		application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
		port           INTEGER NOT NULL,
		protocol       TEXT NOT NULL,
		PRIMARY KEY (application_id, port))`); err != nil {
		return fmt.Errorf("make application_ports: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `CREATE INDEX application_ports_port ON application_ports (port, protocol)`); err != nil {
		return fmt.Errorf("make application_ports: %w", err)
	}
	type row struct{ id, criteria string }
	all, err := collect(ctx, tx, func(rs *sql.Rows) (r row, err error) {
		return r, rs.Scan(&r.id, &r.criteria)
	}, `SELECT id, criteria FROM applications`)
	if err != nil {
		return err
	}
	for _, r := range all {
		var criteria []api.Criteria
		if err := json.Unmarshal([]byte(r.criteria), &criteria); err != nil {
			return fmt.Errorf("criteria of application %s: %w", r.id, err)
		}
		if err := insertPorts(ctx, tx, r.id, criteria); err != nil {
			return err
		}
	}
	return nil
}}, nil)

func insertPorts(ctx context.Context, q querier, id string, criteria []api.Criteria) error {
	for _, c := range criteria {
		if _, err := q.ExecContext(ctx, `INSERT INTO application_ports (application_id, port, protocol) VALUES ($1, $2, $3)
			ON CONFLICT (application_id, port) DO NOTHING`, id, c.Port, c.Protocol); err != nil {
			return fmt.Errorf("keep port of application %s: %w", id, err)
		}
	}
	return nil
}

// putPorts makes the rows of an application's ports those of its criteria.
func (tx *Tx) putPorts(ctx context.Context, id string, criteria []api.Criteria) error {
	if _, err := tx.exec(ctx, `DELETE FROM application_ports WHERE application_id = $1`, id); err != nil {
		return err
	}
	return insertPorts(ctx, tx.q, id, criteria)
}

// contradicting are the applications that have given a port of a to another protocol, as far as access.CheckPorts looks
// at them.
func (tx *Tx) contradicting(ctx context.Context, a *access.Application) ([]access.Application, error) {
	var out []access.Application
	seen := map[string]bool{a.ID: true}
	for _, c := range a.Criteria {
		ids, err := collect(ctx, tx.q, func(rs *sql.Rows) (id string, err error) {
			return id, rs.Scan(&id)
		}, `SELECT a.id FROM application_ports p JOIN applications a ON a.id = p.application_id
			WHERE p.port = $1 AND p.protocol <> $2 AND a.id <> $3 ORDER BY a.created_at, a.id LIMIT 1`, int(c.Port), string(c.Protocol), a.ID)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			other, err := tx.Application(ctx, id)
			if err != nil {
				return nil, err
			}
			d, err := DomainApplication(&other)
			if err != nil {
				return nil, err
			}
			out = append(out, d)
		}
	}
	return out, nil
}
