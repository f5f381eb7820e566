package diag

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// Limits of what is remembered of the log.
const (
	ringLines     = 1000
	ringLineBytes = 2 << 10
	ringErrors    = 50
)

// Log remembers the end of a log. Safe for concurrent use.
type Log struct {
	mu     sync.Mutex // guards what follows
	lines  []string
	next   int
	errors []LoggedError
}

// Tee returns a logger that also writes to l, at level info and above, whatever the other takes.
func (l *Log) Tee(to *slog.Logger) *slog.Logger {
	text := slog.NewTextHandler(&ringWriter{log: l}, &slog.HandlerOptions{Level: slog.LevelInfo})
	return slog.New(teeHandler{first: to.Handler(), ring: text, log: l})
}

// Lines are what is remembered, oldest first.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]string(nil), l.lines[l.next:]...), l.lines[:l.next]...)
}

// Errors are the messages at level error, oldest first.
func (l *Log) Errors() []LoggedError {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]LoggedError(nil), l.errors...)
}

func (l *Log) add(line string) {
	if len(line) > ringLineBytes {
		line = line[:ringLineBytes] + "..."
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < ringLines {
		l.lines = append(l.lines, line)
		return
	}
	l.lines[l.next] = line
	l.next = (l.next + 1) % ringLines
}

func (l *Log) addError(at time.Time, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) >= ringErrors {
		l.errors = append([]LoggedError(nil), l.errors[1:]...)
	}
	l.errors = append(l.errors, LoggedError{Time: at, Message: message})
}

// ringWriter takes the lines of a text handler, one per call.
type ringWriter struct{ log *Log }

func (w *ringWriter) Write(b []byte) (int, error) {
	w.log.add(string(bytes.TrimRight(b, "\n")))
	return len(b), nil
}

// teeHandler writes to two handlers.
type teeHandler struct {
	first, ring slog.Handler
	log         *Log
}

// Enabled implements slog.Handler.
func (h teeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || h.first.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h teeHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		h.log.addError(r.Time, r.Message)
	}
	if h.ring.Enabled(ctx, r.Level) {
		if err := h.ring.Handle(ctx, r.Clone()); err != nil {
			return err
		}
	}
	if !h.first.Enabled(ctx, r.Level) {
		return nil
	}
	return h.first.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h teeHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return teeHandler{h.first.WithAttrs(as), h.ring.WithAttrs(as), h.log}
}

// WithGroup implements slog.Handler.
func (h teeHandler) WithGroup(name string) slog.Handler {
	return teeHandler{h.first.WithGroup(name), h.ring.WithGroup(name), h.log}
}
