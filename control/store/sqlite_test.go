package store_test

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/control/store"
	"weft/control/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKey = bytes.Repeat([]byte("k"), store.KeyBytes)

func openAt(tb testing.TB, path string, key []byte, now func() time.Time) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Config{Path: path, Key: key, Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestSQLite_Conforms(t *testing.T) {
	storetest.Run(t, func(tb testing.TB, now func() time.Time) *store.Store {
		tb.Helper()
		return openAt(tb, filepath.Join(tb.TempDir(), "a b?c#d%.db"), testKey, now)
	})
}

func TestSQLite_Races(t *testing.T) {
	storetest.Race(t, func(tb testing.TB, now func() time.Time) (one, two *store.Store) {
		tb.Helper()
		path := filepath.Join(tb.TempDir(), "control.db")
		return openAt(tb, path, testKey, now), openAt(tb, path, testKey, now)
	})
}

func TestOpen_KeepsTheAccountAndRaisesTheRevision(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.db")
	revision := func(s *store.Store) (rev uint64) {
		if err := s.View(t.Context(), func(r *store.Reader) (err error) {
			rev, err = r.Revision(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return rev
	}
	one := openAt(t, path, testKey, nil)
	account, rev := one.Account(), revision(one)
	two := openAt(t, path, testKey, nil)
	if two.Account() != account || revision(two) <= rev {
		t.Errorf("account %+v at %d became %+v at %d", account, rev, two.Account(), revision(two))
	}
	if len(account.ID) != 32 || strings.Trim(account.ID, "0123456789abcdef") != "" || account.ULA.Bits() != 48 {
		t.Errorf("account is %+v", account)
	}
}

func TestOpen_RefusesAnotherKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.db")
	openAt(t, path, testKey, nil)
	for _, key := range [][]byte{bytes.Repeat([]byte("x"), store.KeyBytes), nil, []byte("short")} {
		if s, err := store.Open(t.Context(), store.Config{Path: path, Key: key}); err == nil {
			t.Errorf("key %q was taken; closed with %v", key, s.Close())
		}
	}
}

// A store of a version that knew fewer collections gets the others when it is opened.
func TestOpen_AddsCollections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.db")
	openAt(t, path, testKey, nil)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `DELETE FROM collection_revisions WHERE collection IN ('network_rules', 'lists')`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, testKey, nil)
	if err := s.View(t.Context(), func(r *store.Reader) error {
		revs, err := r.Revisions(t.Context())
		if revs["lists"] == 0 || revs["network_rules"] == 0 {
			t.Errorf("revisions %v", revs)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
