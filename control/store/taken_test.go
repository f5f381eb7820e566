package store_test

import (
	"path/filepath"
	"strings"
	"testing"

	"weft/control/store"
	"weft/internal/kind"
	"weft/internal/pgtest"
)

func TestSQLite_UniqueIndexes(t *testing.T) {
	uniqueIndexesAreConflicts(t, openAt(t, filepath.Join(t.TempDir(), "control.db"), testKey, nil))
}

func TestPostgreSQL_UniqueIndexes(t *testing.T) {
	uniqueIndexesAreConflicts(t, openURL(t, pgtest.Database(t), nil))
}

// uniqueIndexesAreConflicts: a row that only the index refuses is the same conflict on both engines.
func uniqueIndexesAreConflicts(t *testing.T, s *store.Store) {
	t.Helper()
	revision := func() (rev uint64) {
		if err := s.View(t.Context(), func(r *store.Reader) (err error) {
			rev, err = r.Revision(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return rev
	}
	before := revision()
	err := s.Update(t.Context(), store.System, func(tx *store.Tx) error { return tx.DuplicateNetworkForTest(t.Context(), "default") })
	if !kind.Is(err, kind.Conflict) || !strings.Contains(err.Error(), "virtual network") {
		t.Fatalf("the error is %v of kind %q", err, kind.Of(err))
	}
	if revision() != before {
		t.Error("the refused write has left something")
	}
}
