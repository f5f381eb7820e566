package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Change is one change of a transaction, as its audit event has it: Before is nil for what was created, After for what
// was deleted. Both are what the API shows of the object.
type Change struct {
	Collection, Action, ID string
	Before, After          any
}

// noteChange keeps a change for Changes.
func (tx *Tx) noteChange(collection, action, id string, detail any) {
	c := Change{Collection: collection, Action: action, ID: id}
	switch d, update := detail.(change); {
	case update:
		c.Before, c.After = d.Before, d.After
	case strings.HasSuffix(action, ".create"):
		c.After = detail
	default:
		c.Before = detail
	}
	tx.changes = append(tx.changes, c)
}

// SetImpact has measure look at the changes of every write, inside its transaction and before the commit; what it
// returns stands in the audit event of the last of them. nil is nothing worth saying. It must be quick, for no other
// write goes on meanwhile, and must not use the store. It is called before the first write.
func (s *Store) SetImpact(measure func([]Change) any) { s.impact = measure }

// auditImpact writes down what the changes of the transaction did.
func (tx *Tx) auditImpact(ctx context.Context) error {
	if tx.store.impact == nil || len(tx.changes) == 0 {
		return nil
	}
	found := tx.store.impact(tx.changes)
	if found == nil {
		return nil
	}
	raw, err := json.Marshal(found)
	if err != nil {
		return fmt.Errorf("render impact: %w", err)
	}
	_, err = tx.exec(ctx, `UPDATE audit_events SET impact = $1 WHERE id = $2`, string(raw), tx.lastEvent)
	return err
}

// errDryRun ends a transaction that is not to happen.
var errDryRun = errors.New("a dry run")

// DryRun does what fn does and takes all of it back; it returns what would have changed, or the error that the write
// would have had.
func (s *Store) DryRun(ctx context.Context, by Actor, fn func(*Tx) error) ([]Change, error) {
	var changes []Change
	err := s.Update(ctx, by, func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		changes = tx.changes
		return errDryRun
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return changes, err
}
