// Package logfile is a log on disk that cannot fill the disk: a file of bounded size with
// a bounded number of older ones beside it (name.1 is the youngest). It is for places
// where no journal takes what a process writes to stderr.
//
// A log never stops the program that writes it: a line that cannot be written is dropped
// whole and counted, and the file says how many are missing once it can be written again.
package logfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Defaults of Config.
const (
	DefaultMaxBytes = 10 << 20
	DefaultKeep     = 3
)

// Config of a Writer. The zero value of a field means the default named.
type Config struct {
	Path string
	// MaxBytes of one file; 0: DefaultMaxBytes. A longer line is cut to it.
	MaxBytes int64
	// Keep is how many older files stay; 0: DefaultKeep, negative: none.
	Keep int
	// OpenForTest replaces the opening of the file.
	OpenForTest func(path string) (File, error)
}

// File is what a Writer needs of a file, which is opened for appending.
type File interface {
	io.WriteCloser
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
}

// Writer is the log. Each Write is one line or several whole ones. Safe for concurrent use.
type Writer struct {
	cfg Config

	mu      sync.Mutex // guards what follows; held over writes, which are the point of it
	file    File       // nil: to be opened at the next write
	size    int64
	dropped uint64 // lines since the last that was written
	lost    uint64 // lines ever
	closed  bool
}

// New opens the log; missing directories are made with mode 0700, the file with 0600.
func New(cfg Config) (*Writer, error) {
	if cfg.Path == "" {
		return nil, errors.New("open log file: no path")
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Keep == 0 {
		cfg.Keep = DefaultKeep
	}
	cfg.Keep = max(cfg.Keep, 0)
	if cfg.OpenForTest == nil {
		cfg.OpenForTest = open
	}
	w := &Writer{cfg: cfg}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.openLocked(); err != nil {
		return nil, err
	}
	return w, nil
}

func open(path string) (File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

func (w *Writer) openLocked() error {
	f, err := w.cfg.OpenForTest(w.cfg.Path)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open log file: %w", errors.Join(err, f.Close()))
	}
	w.file, w.size = f, fi.Size()
	return nil
}

// Write appends p, whole or not at all. It always reports success: see Lost.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	if w.closed {
		return 0, fs.ErrClosed
	}
	if int64(len(p)) > w.cfg.MaxBytes {
		p = append(append([]byte{}, p[:w.cfg.MaxBytes-1]...), '\n')
	}
	if err := w.writeLocked(p); err != nil {
		w.dropped++
		w.lost++
	}
	return n, nil
}

func (w *Writer) writeLocked(p []byte) error {
	if w.file == nil {
		if err := w.openLocked(); err != nil {
			return err
		}
	}
	if w.dropped > 0 {
		note := fmt.Sprintf("level=WARN msg=\"log lines were lost: the file could not be written\" lines=%d\n", w.dropped)
		if err := w.appendLocked([]byte(note)); err != nil {
			return err
		}
		w.dropped = 0
	}
	return w.appendLocked(p)
}

func (w *Writer) appendLocked(p []byte) error {
	if w.size > 0 && w.size+int64(len(p)) > w.cfg.MaxBytes {
		if err := w.rotateLocked(); err != nil {
			return err
		}
	}
	n, err := w.file.Write(p)
	if err == nil {
		w.size += int64(n)
		return nil
	}
	// Half a line would be glued to the next one. If it cannot be taken back, a new handle finds the true size.
	if n > 0 && w.file.Truncate(w.size) != nil {
		err = errors.Join(err, w.file.Close())
		w.file = nil
	}
	return err
}

// rotateLocked moves name to name.1, name.1 to name.2 and so on; the oldest is overwritten. When that is not possible the
// file is emptied: the bound comes first.
func (w *Writer) rotateLocked() error {
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return fmt.Errorf("close log file: %w", err)
	}
	for i := w.cfg.Keep; i > 0; i-- {
		if err := os.Rename(w.name(i-1), w.name(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("rotate log file: %w", err), w.emptyLocked())
		}
	}
	if w.cfg.Keep == 0 {
		return w.emptyLocked()
	}
	return w.openLocked()
}

func (w *Writer) emptyLocked() error {
	if err := w.openLocked(); err != nil {
		return err
	}
	if err := w.file.Truncate(0); err != nil {
		return fmt.Errorf("empty log file: %w", err)
	}
	w.size = 0
	return nil
}

func (w *Writer) name(i int) string {
	if i == 0 {
		return w.cfg.Path
	}
	return w.cfg.Path + "." + strconv.Itoa(i)
}

// Reopen opens the file by its name again, for those who move it away themselves.
func (w *Writer) Reopen() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	return errors.Join(err, w.openLocked())
}

// Lost counts the lines that could not be written.
func (w *Writer) Lost() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Close closes the file; a later Write fails with fs.ErrClosed.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}
