// Package readyfile keeps the file by which a process tells others that it
// answers: absent while it does not, written atomically once it does.
package readyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a ready file. The zero path is valid and means none.
type File struct{ path string }

// New removes a stale file at path, so that its presence means this process. An empty path makes every method a no-op.
func New(path string) (File, error) {
	f := File{path: path}
	return f, f.Remove()
}

// Write puts content in place in one step: a reader sees nothing or all of it.
func (f File) Write(content string) error {
	if f.path == "" {
		return nil
	}
	if err := WriteAtomic(f.path, []byte(content), 0o644); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}

// Remove deletes the file; that there is none is no error.
func (f File) Remove() error {
	if f.path == "" {
		return nil
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove ready file: %w", err)
	}
	return nil
}

// WriteAtomic writes a file beside path and renames it into place.
func WriteAtomic(path string, content []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
