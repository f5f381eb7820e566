package recording

import (
	"context"
	"io"
)

// Sink takes finished recordings. Its methods may be called again after an error, and replace what is there.
type Sink interface {
	// Store puts size bytes under name, whole or not at all.
	Store(ctx context.Context, name string, r io.ReadSeeker, size int64) error
	// Delete removes name; that it is not there is no error.
	Delete(ctx context.Context, name string) error
}

// Source is where recordings are read from.
type Source interface {
	// Names lists all recordings, in the order of their names. Those that are still written end in PartSuffix.
	Names(ctx context.Context) ([]string, error)
	// Open opens one.
	Open(ctx context.Context, name string) (File, error)
}

// File is an open recording.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
