package recording

import "io"

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
