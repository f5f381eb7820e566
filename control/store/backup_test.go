package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/internal/pgtest"
)

// facts are what a copy must have: as many targets as networks beside the default one, for writers make them together.
type facts struct {
	networks, targets int
	revision          uint64
}

func factsOf(t *testing.T, s *store.Store) (f facts) {
	t.Helper()
	if err := s.View(t.Context(), func(r *store.Reader) error {
		networks, err := r.ListNetworks(t.Context(), store.NetworkFilter{})
		if err != nil {
			return err
		}
		f.networks = len(networks)
		if _, f.targets, err = r.ListTargets(t.Context(), store.TargetFilter{}, store.Page{Number: 1, Size: 1}); err != nil {
			return err
		}
		f.revision, err = r.Revision(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

// writeOn makes networks with one target each until it is told to stop.
func writeOn(t *testing.T, s *store.Store, name string) (stop func()) {
	t.Helper()
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
			}
			if err := s.Update(context.WithoutCancel(t.Context()), store.System, func(tx *store.Tx) error {
				n, err := tx.CreateNetwork(t.Context(), store.NetworkFields{Name: fmt.Sprintf("%s-%d", name, i)})
				if err != nil {
					return err
				}
				_, err = tx.CreateTarget(t.Context(), "", api.TargetWrite{Hostname: "web", IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: "10.0.0.1", VNET: n.ID}}})
				return err
			}); err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
	}
}

// A copy that is made while two others write is a state that there was, and what is opened on it gives out no revision
// that the original has given out since.
func TestCopy_UnderWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.db")
	one, two := openAt(t, path, testKey, nil), openAt(t, path, testKey, nil)
	stopOne, stopTwo := writeOn(t, one, "one"), writeOn(t, two, "two")
	var last store.Backup
	for i := range 5 {
		to := filepath.Join(dir, fmt.Sprintf("copy %d.db", i))
		b, err := store.Copy(t.Context(), path, to, testKey)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(to)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && st.Mode() != 0o600 || st.Size() != b.Bytes || b.Account != one.Account().ID || b.Revision < last.Revision || b.Key != store.KeyName(testKey) {
			t.Errorf("the copy is %+v, the file %s of %d bytes", b, st.Mode(), st.Size())
		}
		last = b
		raw, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		restored := filepath.Join(t.TempDir(), "control.db")
		if _, err := store.Copy(t.Context(), to, restored, testKey); err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(to); err != nil || !bytes.Equal(raw, now) {
			t.Errorf("the backup was changed by being put back: %v", err)
		}
		f := factsOf(t, openAt(t, restored, testKey, nil))
		if f.networks != f.targets+1 {
			t.Errorf("the copy is no state that there was: %+v", f)
		}
	}
	stopOne()
	stopTwo()
	restored := filepath.Join(t.TempDir(), "control.db")
	if _, err := store.Copy(t.Context(), filepath.Join(dir, "copy 0.db"), restored, testKey); err != nil {
		t.Fatal(err)
	}
	now, s := factsOf(t, one), openAt(t, restored, testKey, nil)
	if back := factsOf(t, s); back.revision <= now.revision || s.Account() != one.Account() {
		t.Errorf("the restored store of account %+v begins at revision %d; the original got to %d", s.Account(), back.revision, now.revision)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestCopy_Refuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.db")
	openAt(t, path, testKey, nil)
	write := func(name string, content []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := filepath.Join(dir, "good.db")
	if _, err := store.Copy(t.Context(), path, good, testKey); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	torn := bytes.Clone(raw)
	for i := 4096; i < len(torn); i++ { // all but the first page
		torn[i] ^= 0xff
	}
	write("old.db-wal", []byte("x"))
	for _, tc := range []struct {
		name, from, to string
		key            []byte
		want           kind.Kind
	}{
		{"a file that is there", path, write("there", []byte("precious")), testKey, kind.Conflict},
		{"an empty file that is there", path, write("empty", nil), testKey, kind.Conflict},
		{"a log that an old database left", good, filepath.Join(dir, "old.db"), testKey, kind.Conflict},
		{"no database", filepath.Join(dir, "nothing.db"), filepath.Join(dir, "a"), testKey, kind.NotFound},
		{"a directory for a database", dir, filepath.Join(dir, "b"), testKey, kind.NotFound},
		{"another key", path, filepath.Join(dir, "c"), bytes.Repeat([]byte("x"), store.KeyBytes), kind.Denied},
		{"no key", path, filepath.Join(dir, "d"), nil, kind.Internal},
		{"no SQLite", write("text", []byte("not a database, but text of some length that goes on and on")), filepath.Join(dir, "e"), testKey, kind.Internal},
		{"a damaged database", write("torn", torn), filepath.Join(dir, "f"), testKey, kind.Internal},
		{"half a database", write("half", raw[:len(raw)/2]), filepath.Join(dir, "g"), testKey, kind.Internal},
		{"a directory that is not there", path, filepath.Join(dir, "no", "h"), testKey, kind.Internal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, beforeErr := os.ReadFile(tc.to)
			if _, err := store.Copy(t.Context(), tc.from, tc.to, tc.key); kind.Of(err) != tc.want {
				t.Errorf("the error is %v of kind %q, want %q", err, kind.Of(err), tc.want)
			}
			after, afterErr := os.ReadFile(tc.to)
			if !bytes.Equal(before, after) || (beforeErr == nil) != (afterErr == nil) {
				t.Errorf("the file was changed: %q, %v", after, afterErr)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Copy(ctx, path, filepath.Join(dir, "z"), testKey); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "z")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a copy that was given up is there: %v", err)
	}
}

// What pg_dump writes while others write is such a copy, too.
func TestPostgreSQL_DumpAndRestore(t *testing.T) {
	dump, restore := pgtest.Program(t, "pg_dump"), pgtest.Program(t, "pg_restore")
	from, to := pgtest.WholeDatabase(t), pgtest.WholeDatabase(t)
	s := openURL(t, from, nil)
	stop := writeOn(t, s, "one")
	file := filepath.Join(t.TempDir(), "weft.dump")
	run := func(program string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
	}
	run(dump, "--format=custom", "--file="+file, from)
	stop()
	run(restore, "--no-owner", "--exit-on-error", "--dbname="+to, file)
	now, other := factsOf(t, s), openURL(t, to, nil)
	back := factsOf(t, other)
	if back.networks != back.targets+1 || back.revision <= now.revision || other.Account() != s.Account() {
		t.Errorf("restored %+v of account %+v; the original got to %+v", back, other.Account(), now)
	}
	if err := createNetwork(t.Context(), other, "written after"); err != nil {
		t.Error(err)
	}
}
