package readyfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"weft/internal/readyfile"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ready")
	if err := os.WriteFile(path, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := readyfile.New(path)
	if err != nil {
		t.Fatalf("New over a stale file: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the stale file is still there: %v", err)
	}
	if err := f.Write("here\n"); err != nil {
		t.Fatalf("Write: %v", err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "here\n" {
		t.Fatalf("read %q, %v; want %q", got, err, "here\n")
	}
	if err := f.Remove(); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if err := f.Remove(); err != nil {
		t.Fatalf("second Remove: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestFile_NoPath(t *testing.T) {
	f, err := readyfile.New("")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Write("x"), f.Remove()); err != nil {
		t.Fatalf("no path must mean no file: %v", err)
	}
}

func TestFile_MissingFolder(t *testing.T) {
	f, err := readyfile.New(filepath.Join(t.TempDir(), "none", "ready"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Write into a missing folder: %v; want fs.ErrNotExist", err)
	}
}
