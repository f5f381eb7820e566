package logfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/internal/logfile"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func write(t *testing.T, w *logfile.Writer, lines ...string) {
	t.Helper()
	for _, l := range lines {
		n, err := w.Write([]byte(l + "\n"))
		if n != len(l)+1 || err != nil {
			t.Fatalf("write = %d, %v", n, err)
		}
	}
}

func TestWriter_Rotates(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep int
		want map[string]string
	}{
		{"two older ones", 2, map[string]string{"log": "line 5\n", "log.1": "line 3\nline 4\n", "log.2": "line 1\nline 2\n"}},
		{"one older one", 1, map[string]string{"log": "line 5\n", "log.1": "line 3\nline 4\n"}},
		{"none", -1, map[string]string{"log": "line 5\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made")
			w, err := logfile.New(logfile.Config{Path: filepath.Join(dir, "log"), MaxBytes: 14, Keep: tt.keep})
			must(t, err)
			write(t, w, "line 1", "line 2", "line 3", "line 4", "line 5")
			must(t, w.Close())
			got := map[string]string{}
			entries, err := os.ReadDir(dir)
			must(t, err)
			for _, e := range entries {
				got[e.Name()] = read(t, filepath.Join(dir, e.Name()))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// What stands in the file at the start counts.
func TestWriter_Appends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(path, []byte("before\n"), 0o600))
	w, err := logfile.New(logfile.Config{Path: path, MaxBytes: 16})
	must(t, err)
	write(t, w, "one", "two", "three")
	must(t, w.Close())
	if got := read(t, path+".1") + "|" + read(t, path); got != "before\none\ntwo\n|three\n" {
		t.Errorf("files %q", got)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

func TestWriter_CutsLongLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := logfile.New(logfile.Config{Path: path, MaxBytes: 8})
	must(t, err)
	write(t, w, strings.Repeat("x", 100))
	must(t, w.Close())
	if got := read(t, path); got != "xxxxxxx\n" {
		t.Errorf("file %q", got)
	}
}

// fullDisk is a file on a disk that has room for a number of bytes.
type fullDisk struct {
	logfile.File
	room *int64
}

func (f fullDisk) Write(p []byte) (int, error) {
	n := min(int64(len(p)), *f.room)
	*f.room -= n
	m, err := f.File.Write(p[:n])
	if err == nil && m < len(p) {
		err = syscall.ENOSPC
	}
	return m, err
}

func TestWriter_DiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	room := int64(10)
	w, err := logfile.New(logfile.Config{Path: path, OpenForTest: func(path string) (logfile.File, error) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		return fullDisk{f, &room}, err
	}})
	must(t, err)
	write(t, w, "fits", "too long", "also too long")
	if got := read(t, path); got != "fits\n" {
		t.Errorf("file %q: half a line was left", got)
	}
	if w.Lost() != 2 {
		t.Errorf("lost %d lines, want 2", w.Lost())
	}
	room = 1000
	write(t, w, "room again")
	want := "fits\nlevel=WARN msg=\"log lines were lost: the file could not be written\" lines=2\nroom again\n"
	if got := read(t, path); got != want {
		t.Errorf("file %q, want %q", got, want)
	}
	must(t, w.Close())
}

// A directory that vanished is made again; the log goes on.
func TestWriter_ReopenAfterMove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	path := filepath.Join(dir, "log")
	w, err := logfile.New(logfile.Config{Path: path})
	must(t, err)
	write(t, w, "old")
	must(t, os.Rename(dir, dir+".moved"))
	must(t, w.Reopen())
	write(t, w, "new")
	must(t, w.Close())
	if got := read(t, filepath.Join(dir+".moved", "log")) + "|" + read(t, path); got != "old\n|new\n" {
		t.Errorf("files %q", got)
	}
	if err := w.Reopen(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reopen after Close: %v", err)
	}
}

func TestWriter_ManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := logfile.New(logfile.Config{Path: path, MaxBytes: 4 << 10, Keep: 50})
	must(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				if _, err := fmt.Fprintf(w, "writer %d line %03d\n", i, j); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, w.Close())
	names, err := filepath.Glob(path + "*")
	must(t, err)
	lines := 0
	for _, n := range names {
		s := read(t, n)
		if len(s) > 4<<10 {
			t.Errorf("%s has %d bytes", n, len(s))
		}
		for l := range strings.Lines(s) {
			if len(l) != len("writer 0 line 000\n") {
				t.Errorf("torn line %q", l)
			}
			lines++
		}
	}
	if lines != 800 {
		t.Errorf("%d lines, want 800", lines)
	}
}

func TestNew_NoPath(t *testing.T) {
	if _, err := logfile.New(logfile.Config{}); err == nil {
		t.Error("no error without a path")
	}
}
