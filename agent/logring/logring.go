// Package logring keeps the last lines of the agent's log in memory, so that its owner can read them without knowing
// where the system puts logs. It is bounded in lines and in bytes, and what looks like a secret is redacted before it
// is kept.
package logring

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/agent/diag/redact"
)

const (
	// MaxLines and MaxBytes bound what is kept.
	MaxLines = 2000
	MaxBytes = 512 << 10
	maxText  = 2048 // of a message or a value
	maxAttrs = 32
	// MaxErrors are remembered beside the lines: they must outlast a flood of lesser ones.
	MaxErrors = 50
)

// Line is one line of the log; it is not modified once kept.
type Line struct {
	Time    time.Time
	Level   slog.Level
	Message string
	Attrs   map[string]string
	seq     uint64
	bytes   int
}

// String is the line as text: time, level, message and the attributes by name.
func (l *Line) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %q", l.Time.UTC().Format(time.RFC3339Nano), l.Level, l.Message)
	for _, k := range slices.Sorted(maps.Keys(l.Attrs)) {
		fmt.Fprintf(&b, " %s=%q", k, l.Attrs[k])
	}
	return b.String()
}

// Ring holds the last lines. Safe for concurrent use.
type Ring struct {
	mu      sync.Mutex // guards what follows
	lines   []Line
	errors  []Line // the last of level error
	bytes   int
	next    uint64
	changed chan struct{} // closed and replaced with each line
}

// New returns an empty ring.
func New() *Ring { return &Ring{changed: make(chan struct{})} }

// After returns the lines behind the one that cursor is, what to ask with next time, and what is closed when there are
// more. Zero is the oldest line that is kept. A reader that is too slow misses lines; it does not hold them.
func (r *Ring) After(cursor uint64) (lines []Line, next uint64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, _ := slices.BinarySearchFunc(r.lines, cursor, func(l Line, c uint64) int {
		if l.seq <= c {
			return -1
		}
		return 1
	})
	return slices.Clone(r.lines[i:]), r.next, r.changed
}

// Errors returns the last lines of level error, oldest first.
func (r *Ring) Errors() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

func (r *Ring) add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	l.seq = r.next
	r.lines = append(r.lines, l)
	if l.Level >= slog.LevelError {
		if len(r.errors) == MaxErrors {
			r.errors = slices.Delete(r.errors, 0, 1)
		}
		r.errors = append(r.errors, l)
	}
	r.bytes += l.bytes
	drop := 0
	for drop < len(r.lines)-1 && (len(r.lines)-drop > MaxLines || r.bytes > MaxBytes) {
		r.bytes -= r.lines[drop].bytes
		drop++
	}
	if drop > 0 {
		r.lines = slices.Delete(r.lines, 0, drop)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// handler passes records on and keeps what the next handler would write, and never less than Info.
type handler struct {
	next   slog.Handler
	ring   *Ring
	attrs  map[string]string
	prefix string
}

// Tee returns a handler that writes to next and into r.
func (r *Ring) Tee(next slog.Handler) slog.Handler {
	return &handler{next: next, ring: r}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	l := Line{Time: rec.Time, Level: rec.Level, Message: redact.Text(clip(rec.Message)), Attrs: maps.Clone(h.attrs)}
	if l.Attrs == nil {
		l.Attrs = map[string]string{}
	}
	rec.Attrs(func(a slog.Attr) bool {
		put(l.Attrs, h.prefix, a)
		return len(l.Attrs) < maxAttrs
	})
	l.bytes = 64 + len(l.Message)
	for k, v := range l.Attrs {
		l.bytes += 32 + len(k) + len(v)
	}
	h.ring.add(l)
	if !h.next.Enabled(ctx, rec.Level) {
		return nil
	}
	return h.next.Handle(ctx, rec)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	c := *h
	c.next, c.attrs = h.next.WithAttrs(as), maps.Clone(h.attrs)
	if c.attrs == nil {
		c.attrs = map[string]string{}
	}
	for _, a := range as {
		put(c.attrs, h.prefix, a)
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.next = h.next.WithGroup(name)
	if name != "" {
		c.prefix = h.prefix + name + "."
	}
	return &c
}

func put(m map[string]string, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, g := range v.Group() {
			put(m, prefix+a.Key+".", g)
		}
		return
	}
	if a.Key == "" || len(m) >= maxAttrs {
		return
	}
	key := prefix + a.Key
	if redact.SecretName(key) {
		m[key] = redact.Mark
		return
	}
	m[key] = redact.Text(clip(v.String()))
}

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}
