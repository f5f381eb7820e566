package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is a directory of recordings, as a Source and as a Sink.
type Dir string

var (
	_ Source = Dir("")
	_ Sink   = Dir("")
)

// Names implements Source.
func (d Dir) Names(context.Context) ([]string, error) {
	var out []string
	err := filepath.WalkDir(string(d), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.Type().IsRegular() || !isRecording(e.Name()) {
			return nil
		}
		rel, err := filepath.Rel(string(d), path)
		out = append(out, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

func isRecording(name string) bool {
	return strings.HasSuffix(name, Suffix) || strings.HasSuffix(name, Suffix+PartSuffix)
}

// Open implements Source.
func (d Dir) Open(_ context.Context, name string) (File, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, fmt.Errorf("open recording: %q is not a name in the directory", name)
	}
	return OpenFile(filepath.Join(string(d), filepath.FromSlash(name)))
}

type osFile struct {
	*os.File
	size int64
}

func (f osFile) Size() int64 { return f.size }

// OpenFile opens a recording by its path.
func OpenFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open recording: %w", err), f.Close())
	}
	return osFile{f, st.Size()}, nil
}

// Store implements Sink: the file has its name once it is whole and on disk.
func (d Dir) Store(_ context.Context, name string, r io.ReadSeeker, _ int64) (err error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store recording: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".store-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("store recording: %w", err)
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store recording: %w", err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// Delete implements Sink.
func (d Dir) Delete(_ context.Context, name string) error {
	err := os.Remove(filepath.Join(string(d), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
