// Package statefile keeps small JSON files in a directory of one process:
// written whole or not at all, readable by their owner only.
package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxBytes bounds a file that is read: the state of 10,000 targets is about 5 MiB.
const maxBytes = 64 << 20

// ErrLocked means that another process uses the directory.
var ErrLocked = errors.New("another process uses the state directory")

// Dir is an open state directory; it is locked until Close.
type Dir struct {
	path string
	lock *os.File
}

// Open makes the directory with mode 0700 if it is missing, tightens the mode if
// it is wider, checks that it can be written and locks it: two agents with one
// WireGuard key would break each other's handshakes.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := tighten(path); err != nil {
		return nil, fmt.Errorf("restrict state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock in state directory: %w", err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock state directory %s: %w", path, err), f.Close())
	}
	return &Dir{path: path, lock: f}, nil
}

// Close gives the lock up.
func (d *Dir) Close() error { return d.lock.Close() }

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// Read decodes the named file into out, strictly. A missing file satisfies
// errors.Is(err, fs.ErrNotExist).
func (d *Dir) Read(name string, out any) error {
	f, err := os.Open(filepath.Join(d.path, name))
	if err != nil {
		return fmt.Errorf("read state file: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return fmt.Errorf("read state file %s: %w", name, err)
	}
	if len(b) > maxBytes {
		return fmt.Errorf("read state file %s: more than %d bytes", name, maxBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(out); err != nil {
		return fmt.Errorf("decode state file %s: %w", name, err)
	}
	if dec.More() {
		return fmt.Errorf("decode state file %s: data after the end", name)
	}
	return nil
}

// Write replaces the named file with the JSON of v: a reader, or a start after
// a crash, sees the old file or the new one.
func (d *Dir) Write(name string, v any) (err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode state file %s: %w", name, err)
	}
	// CreateTemp makes the file with mode 0600.
	f, err := os.CreateTemp(d.path, "."+name+".*")
	if err != nil {
		return fmt.Errorf("write state file %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write state file %s: %w", name, errors.Join(err, removeIfPresent(f.Name())))
		}
	}()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(d.path, name)); err != nil {
		return err
	}
	return syncDir(d.path)
}

// Remove deletes the named file; a missing one is no error.
func (d *Dir) Remove(name string) error {
	if err := removeIfPresent(filepath.Join(d.path, name)); err != nil {
		return fmt.Errorf("remove state file: %w", err)
	}
	return syncDir(d.path)
}

func removeIfPresent(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
