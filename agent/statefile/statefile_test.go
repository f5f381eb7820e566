package statefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weft/agent/statefile"
)

type doc struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, path string) *statefile.Dir {
	tb.Helper()
	d, err := statefile.Open(path)
	must(tb, err)
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDir_WriteReadRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := open(t, path)
	var got doc
	if err := d.Read("x.json", &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	want := doc{7, "seven"}
	must(t, d.Write("x.json", want))
	must(t, d.Read("x.json", &got))
	if got != want {
		t.Errorf("got %+v", got)
	}
	for name, mode := range map[string]fs.FileMode{".": 0o700, "x.json": 0o600, "lock": 0o600} {
		if fi, err := os.Stat(filepath.Join(path, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, fi.Mode(), err, mode)
		}
	}
	must(t, d.Remove("x.json"))
	must(t, d.Remove("x.json"))
	if names, err := filepath.Glob(filepath.Join(path, ".*")); err != nil || len(names) != 0 {
		t.Errorf("left over: %v, %v", names, err)
	}
}

func TestDir_Damaged(t *testing.T) {
	d := open(t, t.TempDir())
	for name, text := range map[string]string{"empty": "", "half": `{"n":1,"te`, "more": `{"n":1}{"n":2}`, "other": `[1]`} {
		must(t, os.WriteFile(filepath.Join(d.Path(), name), []byte(text), 0o600))
		var got doc
		if err := d.Read(name, &got); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDir_FailedWriteKeepsTheOld: what cannot be encoded or written changes nothing.
func TestDir_FailedWriteKeepsTheOld(t *testing.T) {
	d := open(t, t.TempDir())
	must(t, d.Write("x", doc{N: 1}))
	if err := d.Write("x", func() {}); err == nil {
		t.Error("a function was encoded")
	}
	must(t, os.Mkdir(filepath.Join(d.Path(), "dir"), 0o700))
	must(t, os.WriteFile(filepath.Join(d.Path(), "dir", "full"), nil, 0o600))
	if err := d.Write("dir", doc{}); err == nil {
		t.Error("a directory was replaced")
	}
	var got doc
	must(t, d.Read("x", &got))
	if got.N != 1 {
		t.Errorf("got %+v", got)
	}
	if names, err := filepath.Glob(filepath.Join(d.Path(), ".*")); err != nil || len(names) != 0 {
		t.Errorf("left over: %v, %v", names, err)
	}
}

// TestDir_ReadersSeeWholeFiles while a writer replaces them.
func TestDir_ReadersSeeWholeFiles(t *testing.T) {
	d := open(t, t.TempDir())
	must(t, d.Write("x", doc{N: 0, Text: strings.Repeat("0", 10000)}))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var got doc
				if err := d.Read("x", &got); err != nil || len(got.Text) != 10000 || strings.Trim(got.Text, string(rune('0'+got.N%10))) != "" {
					t.Errorf("read %d, %v", got.N, err)
					return
				}
			}
		})
	}
	for n := range 200 {
		must(t, d.Write("x", doc{N: n, Text: strings.Repeat(string(rune('0'+n%10)), 10000)}))
	}
	close(stop)
	wg.Wait()
}

func TestOpen_LockedAndTightened(t *testing.T) {
	path := t.TempDir()
	must(t, os.Chmod(path, 0o755))
	d, err := statefile.Open(path)
	must(t, err)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := statefile.Open(path); !errors.Is(err, statefile.ErrLocked) {
		t.Errorf("a second process: %v", err)
	}
	must(t, d.Close())
	must(t, open(t, path).Write("x", doc{}))
	file := filepath.Join(path, "x")
	if _, err := statefile.Open(file); err == nil {
		t.Error("a file was opened as directory")
	}
}
