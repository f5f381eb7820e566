package store

import "context"

// AuditSession puts on record what was done to a live session, of which the store keeps nothing else.
func (tx *Tx) AuditSession(ctx context.Context, action, id string, detail any) error {
	return tx.audit(ctx, action, "sessions", id, detail)
}
