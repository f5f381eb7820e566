// Package archive writes tar and zip files that depend on nothing but their content: the
// order is by name, times are one given time, owners are root.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Entry is a file, or a directory when Data is nil and Mode says so.
type Entry struct {
	Name     string // relative, with slashes
	Mode     fs.FileMode
	Data     []byte
	UID, GID int
}

// FromDir reads a folder. Files are executable or not, nothing else of their mode counts.
func FromDir(dir, prefix string) ([]Entry, error) {
	var all []Entry
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", path)
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if fi.Mode()&0o100 != 0 {
			mode = 0o755
		}
		all = append(all, Entry{Name: prefix + filepath.ToSlash(rel), Mode: mode, Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	return all, nil
}

func sorted(entries []Entry) []Entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
}

// Tar writes entries as a tar file.
func Tar(w io.Writer, entries []Entry, at time.Time) error {
	tw := tar.NewWriter(w)
	for _, e := range sorted(entries) {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.Name, Mode: int64(e.Mode.Perm()), Size: int64(len(e.Data)), ModTime: at.UTC().Truncate(time.Second),
			Uid: e.UID, Gid: e.GID, Format: tar.FormatUSTAR,
		}
		if e.Mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if e.Mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(e.Name, "/")+"/"
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s: %w", e.Name, err)
		}
		if _, err := tw.Write(e.Data); err != nil {
			return fmt.Errorf("write %s: %w", e.Name, err)
		}
	}
	return tw.Close()
}

// TarGz returns entries as a compressed tar file, and the tar file.
func TarGz(entries []Entry, at time.Time) (compressed, plain []byte, err error) {
	var t, z bytes.Buffer
	if err := Tar(&t, entries, at); err != nil {
		return nil, nil, err
	}
	zw, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		return nil, nil, err
	}
	_, err = zw.Write(t.Bytes())
	if err := errors.Join(err, zw.Close()); err != nil {
		return nil, nil, fmt.Errorf("compress: %w", err)
	}
	return z.Bytes(), t.Bytes(), nil
}

// Zip returns entries as a zip file.
func Zip(entries []Entry, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for _, e := range sorted(entries) {
		h := &zip.FileHeader{Name: e.Name, Method: zip.Deflate, Modified: at.UTC().Truncate(2 * time.Second)}
		h.SetMode(e.Mode)
		w, err := zw.CreateHeader(h)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", e.Name, err)
		}
		if _, err := w.Write(e.Data); err != nil {
			return nil, fmt.Errorf("write %s: %w", e.Name, err)
		}
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("write zip: %w", err)
	}
	return b.Bytes(), nil
}
