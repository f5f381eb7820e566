package recording

import (
	"context"
	"io"
)

// FaultFile lets tests put a faulty file under a recording.
type FaultFile interface {
	io.Writer
	Truncate(int64) error
	Sync() error
	Close() error
}

// SetCreate replaces how files are made.
func (r *Recorder) SetCreate(f func(path string) (FaultFile, error)) {
	r.create = func(path string) (file, error) { return f(path) }
}

// RealCreate is how files are made.
func RealCreate(path string) (FaultFile, error) { return createFile(path) }

// Dir is where r writes.
func (r *Recorder) Dir() string { return r.cfg.Dir }

// CountRecords reads records as a chunk holds them.
func CountRecords(b []byte) (int, error) {
	r, n := recordReader{b: b}, 0
	var rec Record
	for {
		ok, err := r.next(&rec)
		if !ok || err != nil {
			return n, err
		}
		n++
	}
}

// SealNow seals what there is to be sealed.
func (r *Recorder) SealNow(ctx context.Context) error { return r.seal(ctx) }
