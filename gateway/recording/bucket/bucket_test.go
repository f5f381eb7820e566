package bucket_test

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/recording"
	"weft/gateway/recording/bucket"
)

func TestBucket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url string }{
		{"memory", "mem://"},
		{"directory", (&url.URL{Scheme: "file", Path: filepath.ToSlash(t.TempDir())}).String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := bucket.Open(t.Context(), tt.url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}()
			for _, name := range []string{"2026-01-02/b.weftrec", "2026-01-01/a.weftrec.part", "notes.txt"} {
				if err := b.Store(t.Context(), name, strings.NewReader("content of "+name), 0); err != nil {
					t.Fatal(err)
				}
			}
			names, err := b.Names(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"2026-01-01/a.weftrec.part", "2026-01-02/b.weftrec"}, names); d != "" {
				t.Error(d)
			}
			f, err := b.Open(t.Context(), names[1])
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
			if err != nil || string(got) != "content of "+names[1] {
				t.Errorf("%q, %v", got, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if _, err := b.Open(t.Context(), "none"); err == nil {
				t.Error("what is not there was opened")
			}
			for range 2 {
				if err := b.Delete(t.Context(), names[0]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := bucket.Open(t.Context(), "nothing://x"); err == nil {
		t.Error("an unknown kind of bucket was opened")
	}
}

// A Recorder brings what it finishes to a bucket.
func TestBucket_OfARecorder(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "bucket")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := bucket.Open(t.Context(), (&url.URL{Scheme: "file", Path: filepath.ToSlash(store)}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	r, err := recording.New(recording.Config{Dir: t.TempDir(), Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Sink: b})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- r.Run(ctx) }()
	s, err := r.Start(recording.SessionConfig{Subject: recording.Subject{SessionID: "s1"}})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := s.Close(recording.EndClosed, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.Stats().Uploaded == 0 {
		select {
		case <-tick.C:
		case err := <-done:
			t.Fatalf("the recorder ended: %v", err)
		case <-deadline.C:
			t.Fatalf("not uploaded: %+v", r.Stats())
		}
	}
	f, err := b.Open(t.Context(), sum.Name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recording.Verify(f, recording.VerifyConfig{AnyKey: true, Head: sum.Head}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(f.Close()); err != nil {
		t.Error(err)
	}
}
