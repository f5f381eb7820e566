package store_test

import (
	"log/slog"
	"testing"
	"time"

	"weft/control/store"
	"weft/control/store/storetest"
	"weft/internal/pgtest"
)

func openURL(tb testing.TB, url string, now func() time.Time) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Config{URL: url, Key: testKey, Now: now})
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

func TestPostgreSQL_Conforms(t *testing.T) {
	storetest.Run(t, func(tb testing.TB, now func() time.Time) *store.Store {
		tb.Helper()
		return openURL(tb, pgtest.Database(tb), now)
	})
}

func TestPostgreSQL_Races(t *testing.T) {
	storetest.Race(t, func(tb testing.TB, now func() time.Time) (one, two *store.Store) {
		tb.Helper()
		url := pgtest.Database(tb)
		return openURL(tb, url, now), openURL(tb, url, now)
	})
}

var discard = slog.New(slog.DiscardHandler)

// Text is compared and sorted by its bytes in every column, also of migrations to come.
func TestPostgreSQL_TextHasNoLanguage(t *testing.T) {
	database := pgtest.Database(t)
	openURL(t, database, nil)
	pgtest.Exec(t, database, `DO $$ DECLARE bad TEXT; BEGIN
		SELECT string_agg(table_name || '.' || column_name, ', ') INTO bad FROM information_schema.columns
			WHERE table_schema = current_schema() AND data_type IN ('text', 'character varying', 'character') AND collation_name IS DISTINCT FROM 'C';
		IF bad IS NOT NULL THEN RAISE EXCEPTION 'columns with a language: %', bad; END IF;
	END $$`)
}
