package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// The collections that carry a revision: what a watcher reloads when it changed.
const (
	Networks     = "networks"
	Routes       = "routes"
	Tunnels      = "tunnels"
	Targets      = "targets"
	Applications = "applications"
	Users        = "users"
	Devices      = "devices"
	Gateways     = "gateways"
	GatewayCAs   = "gateway_cas"
	SSHHostCAs   = "ssh_host_cas"
	NetworkRules = "network_rules"
	Lists        = "lists"
	RuleGroups   = "rule_groups"

	PostureRules   = "posture_rules"
	PostureResults = "posture_results"
	DeviceProfiles = "device_profiles"
)

var allCollections = []string{Networks, Routes, Tunnels, Targets, Applications, Users, Devices, Gateways, GatewayCAs, SSHHostCAs, NetworkRules, Lists, RuleGroups, PostureRules, PostureResults, DeviceProfiles}

// Revision is the newest revision of any collection.
func (r *Reader) Revision(ctx context.Context) (uint64, error) {
	var rev sql.NullInt64
	if err := r.q.QueryRowContext(ctx, `SELECT MAX(revision) FROM collection_revisions`).Scan(&rev); err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return uint64(rev.Int64), nil
}

// Revisions of all collections.
func (r *Reader) Revisions(ctx context.Context) (map[string]uint64, error) {
	type row struct {
		name string
		rev  uint64
	}
	rows, err := collect(ctx, r.q, func(rs *sql.Rows) (row, error) {
		var x row
		return x, rs.Scan(&x.name, &x.rev)
	}, `SELECT collection, revision FROM collection_revisions`)
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(rows))
	for _, x := range rows {
		out[x.name] = x.rev
	}
	return out, nil
}

// touch raises the revision of a collection to this transaction's, of which any object may have changed.
func (tx *Tx) touch(ctx context.Context, collection string) error {
	return tx.touchObject(ctx, collection, "")
}

// touchObject raises the revision of a collection for one object.
func (tx *Tx) touchObject(ctx context.Context, collection, objectID string) error {
	if err := tx.follow(ctx, collection, objectID); err != nil {
		return err
	}
	if tx.touched[collection] {
		return nil
	}
	tx.touched[collection] = true
	_, err := tx.exec(ctx, `UPDATE collection_revisions SET revision = $1 WHERE collection = $2`, int64(tx.revision), collection)
	return err
}

// BeginEpoch raises every collection to a revision above all that were ever given out: at least the clock's Unix
// seconds, so that a database restored from a backup does not give a number again that a receiver may remember
// with other content.
func (tx *Tx) BeginEpoch(ctx context.Context) error {
	tx.revision = max(tx.revision, uint64(tx.time.Unix()))
	if _, err := tx.exec(ctx, `DELETE FROM object_changes`); err != nil { // of revisions that nobody starts from any more
		return err
	}
	for _, c := range allCollections {
		if err := tx.touch(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// AuditEvent is one entry of the audit table.
type AuditEvent struct {
	ID, At, Action       string
	Revision             uint64
	Actor                Actor
	ObjectType, ObjectID string
	Detail               json.RawMessage
	// Impact is what the change did to who may reach what (api.Impact); nil where nothing was compared.
	Impact json.RawMessage
}

// audit adds an event to the transaction; detail is marshalled and must hold no secret.
func (tx *Tx) audit(ctx context.Context, action, objectType, objectID string, detail any) error {
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("render audit detail: %w", err)
	}
	id, err := newTimeID()
	if err != nil {
		return err
	}
	tx.lastEvent = id
	_, err = tx.exec(ctx, `INSERT INTO audit_events (id, revision, at, actor_type, actor_id, action, object_type, object_id, detail, actor_ip)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		id, int64(tx.revision), tx.at, tx.actor.Type, tx.actor.ID, action, objectType, objectID, string(raw), tx.actor.IP)
	return err
}

// changed is touch and audit together: what nearly every write ends with.
func (tx *Tx) changed(ctx context.Context, collection, action, objectID string, detail any) error {
	if err := tx.touchObject(ctx, collection, objectID); err != nil {
		return err
	}
	tx.noteChange(collection, action, objectID, detail)
	return tx.audit(ctx, action, collection, objectID, detail)
}

// AuditEvents returns the newest events first, at most limit.
func (r *Reader) AuditEvents(ctx context.Context, limit int) ([]AuditEvent, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (AuditEvent, error) {
		var e AuditEvent
		var detail, impact string
		err := rs.Scan(&e.ID, &e.Revision, &e.At, &e.Actor.Type, &e.Actor.ID, &e.Action, &e.ObjectType, &e.ObjectID, &detail, &impact)
		e.Detail = json.RawMessage(detail)
		if impact != "" {
			e.Impact = json.RawMessage(impact)
		}
		return e, err
	}, `SELECT id, revision, at, actor_type, actor_id, action, object_type, object_id, detail, impact
		FROM audit_events ORDER BY id DESC LIMIT $1`, limit)
}
