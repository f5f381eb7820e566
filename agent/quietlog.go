package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	quietFor = time.Minute // how long the same line is left out
	maxQuiet = 64          // lines remembered
)

// quietHandler passes a log line on once a minute. WireGuard complains at every
// handshake that cannot be sent, and while a laptop is offline one is forced several
// times a second.
type quietHandler struct {
	slog.Handler
	seen *quietLines
}

// quietLines remembers when a line was passed on. Safe for concurrent use.
type quietLines struct {
	mu sync.Mutex // guards what follows
	at map[string]time.Time
}

// quiet returns a logger that repeats itself once a minute at most, unless it debugs.
func quiet(l *slog.Logger) *slog.Logger {
	if l.Enabled(context.Background(), slog.LevelDebug) {
		return l
	}
	return slog.New(quietHandler{l.Handler(), &quietLines{at: make(map[string]time.Time)}})
}

// Handle implements slog.Handler.
func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		key += "\x00" + a.String()
		return true
	})
	if !h.seen.first(key, r.Time) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h quietHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(as), h.seen}
}

// WithGroup implements slog.Handler.
func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name), h.seen}
}

func (q *quietLines) first(key string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, ok := q.at[key]; ok && now.Sub(at) < quietFor {
		return false
	}
	if len(q.at) >= maxQuiet {
		clear(q.at) // some lines come once too often; none is lost
	}
	q.at[key] = now
	return true
}
