package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"weft/control/store"
	"weft/internal/pgtest"
)

// watching opens a store that watches, and waits until it listens.
func watching(t *testing.T, database string, poll time.Duration) *store.Store {
	t.Helper()
	s, _ := listening(t, database, poll)
	return s
}

// listening is watching with what is heard.
func listening(t *testing.T, database string, poll time.Duration) (*store.Store, *heard) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: database, Key: testKey, Poll: poll})
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{joined: make(chan struct{}, 1), messages: make(chan string, 10)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Watch(ctx, discard, h) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-h.joined:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not listen")
	}
	return s, h
}

func awaitChange(t *testing.T, s *store.Store) {
	t.Helper()
	select {
	case <-s.Changed():
	case <-time.After(30 * time.Second):
		t.Fatal("the change is not heard of")
	}
}

func drainChange(s *store.Store) {
	select {
	case <-s.Changed():
	default:
	}
}

// Notifications alone tell of every change; nobody polls here.
func TestWatch_HearsOfChanges(t *testing.T) {
	database := pgtest.Database(t)
	writer, reader := openURL(t, database, nil), watching(t, database, time.Hour)
	awaitChange(t, reader) // that it has begun to listen is one
	for i := range 10 {
		drainChange(reader)
		if err := createNetwork(t.Context(), writer, fmt.Sprint("n-", i)); err != nil {
			t.Fatal(err)
		}
		awaitChange(t, reader)
	}
	// What was rolled back is not told, nor is what changes no collection.
	drainChange(reader)
	_ = writer.Update(t.Context(), store.System, func(tx *store.Tx) error { // what it returns is not the question
		if _, err := tx.CreateNetwork(t.Context(), store.NetworkFields{Name: "never"}); err != nil {
			return err
		}
		return context.Canceled
	})
	if err := createNetwork(t.Context(), writer, "last"); err != nil {
		t.Fatal(err)
	}
	awaitChange(t, reader)
}

// A change of which no notification came is found by looking.
func TestWatch_FindsWhatWasNotTold(t *testing.T) {
	database := pgtest.Database(t)
	reader := watching(t, database, 20*time.Millisecond)
	for range 3 {
		drainChange(reader)
		pgtest.Exec(t, database, `UPDATE collection_revisions SET revision = revision + 1000`)
		awaitChange(t, reader)
	}
}

// What is said about one account is not heard by another in the same database.
func TestWatch_AccountsAreApart(t *testing.T) {
	one, two := pgtest.Database(t), pgtest.Database(t)
	foreign := openURL(t, one, nil)
	s, h := listening(t, two, time.Hour)
	for _, say := range []struct {
		by   *store.Store
		what string
	}{{foreign, "foreign"}, {s, "own"}} {
		if err := say.by.Tell(t.Context(), []byte(say.what)); err != nil {
			t.Fatal(err)
		}
	}
	select { // notifications come in the order of the commits
	case first := <-h.messages:
		if first != "own" {
			t.Errorf("the first message is %q", first)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is heard")
	}
}
