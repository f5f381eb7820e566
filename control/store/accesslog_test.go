package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"weft/api"
	"weft/control/store"
)

// The access log forgets by age, and by number whatever the age.
func TestAccessLog_IsBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s, err := store.Open(t.Context(), store.Config{
		Path: filepath.Join(t.TempDir(), "control.db"), Key: testKey, Now: func() time.Time { return now }, MaxAccessEvents: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	add := func(emails ...string) {
		t.Helper()
		for _, email := range emails {
			if err := s.Update(t.Context(), store.System, func(tx *store.Tx) error {
				return tx.RecordAccess(t.Context(), store.AccessEvent{AccessEvent: api.AccessEvent{Action: "login", UserEmail: email}})
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	trim := func() (n int64, left string) {
		t.Helper()
		if err := s.Update(t.Context(), store.System, func(tx *store.Tx) (err error) {
			n, err = tx.TrimAccessEvents(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.View(t.Context(), func(r *store.Reader) error {
			list, _, err := r.AccessEvents(t.Context(), store.AccessFilter{OldestFirst: true}, store.Page{Number: 1, Size: 100})
			for _, e := range list {
				left += e.UserEmail
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n, left
	}
	add("a", "b", "c")
	if n, left := trim(); n != 0 || left != "abc" {
		t.Errorf("%d went, %s is left", n, left)
	}
	add("d", "e")
	if n, left := trim(); n != 2 || left != "cde" {
		t.Errorf("%d went, %s is left", n, left)
	}
	now = now.Add(store.AccessLogRetention)
	add("f")
	if n, left := trim(); n != 1 || left != "def" {
		t.Errorf("by number at the very end of the retention: %d went, %s is left", n, left)
	}
	now = now.Add(time.Second)
	if n, left := trim(); n != 2 || left != "f" {
		t.Errorf("by age: %d went, %s is left", n, left)
	}
}
