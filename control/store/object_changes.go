package store

import (
	"context"
	"database/sql"
	"slices"

	"weft/access"
	"weft/targets"
)

// followed are the collections of which every changed object is kept, because they are too large to be read again for one.
var followed = []string{Targets, Applications}

// follow keeps that an object of a collection changed in this transaction; "" stands for any of them.
func (tx *Tx) follow(ctx context.Context, collection, objectID string) error {
	if !slices.Contains(followed, collection) {
		return nil
	}
	_, err := tx.exec(ctx, `INSERT INTO object_changes (collection, object_id, revision) VALUES ($1, $2, $3)
		ON CONFLICT (collection, object_id) DO UPDATE SET revision = $3`, collection, objectID, int64(tx.revision))
	return err
}

// maxChangedObjects is how many objects are worth reading one by one.
const maxChangedObjects = 500

// ChangedObjects names the objects of a collection that were written or deleted after a revision. It is not ok when they
// are too many to be named, or not known.
func (r *Reader) ChangedObjects(ctx context.Context, collection string, after uint64) (ids []string, ok bool, err error) {
	if !slices.Contains(followed, collection) {
		return nil, false, nil
	}
	ids, err = collect(ctx, r.q, func(rs *sql.Rows) (id string, err error) {
		return id, rs.Scan(&id)
	}, `SELECT object_id FROM object_changes WHERE collection = $1 AND revision > $2 ORDER BY object_id LIMIT $3`,
		collection, int64(after), maxChangedObjects+1)
	if err != nil || len(ids) > maxChangedObjects || slices.Contains(ids, "") {
		return nil, false, err
	}
	return ids, true, nil
}

// DomainTargetsByID are those targets of ids that there are, as the domain sees them.
func (r *Reader) DomainTargetsByID(ctx context.Context, ids []string) ([]targets.Target, error) {
	var w where
	w.addIn("t.id", ids)
	all, err := collect(ctx, r.q, scanTarget, `SELECT `+targetColumns+` FROM `+targetTables+w.String()+` ORDER BY t.id`, w.args...)
	if err != nil {
		return nil, err
	}
	return domainTargets(all)
}

// DomainApplicationsByID are those applications of ids that there are, as the domain sees them.
func (r *Reader) DomainApplicationsByID(ctx context.Context, ids []string) ([]access.Application, error) {
	all, err := r.Applications(ctx, ApplicationFilter{ids: ids})
	if err != nil {
		return nil, err
	}
	return domainApplications(all)
}
