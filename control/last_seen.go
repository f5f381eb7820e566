package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"weft/control/store"
)

const lastSeenInterval = 10 * time.Second

// lastSeen gathers when devices connected, or API tokens were used, and writes it now and then: ten thousand agents that
// come back at once must not queue for the one writer.
type lastSeen struct {
	write func(ctx context.Context, tx *store.Tx, times map[string]time.Time) error

	mu    sync.Mutex
	times map[string]time.Time // guarded by mu, by ID; bounded by the number of devices or tokens
}

func newLastSeen(write func(context.Context, *store.Tx, map[string]time.Time) error) *lastSeen {
	return &lastSeen{write: write, times: map[string]time.Time{}}
}

func (l *lastSeen) note(id string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times[id] = at
}

func (l *lastSeen) take() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.times
	l.times = map[string]time.Time{}
	return t
}

// run writes until ctx ends.
func (l *lastSeen) run(ctx context.Context, s *store.Store, log *slog.Logger) {
	tick := time.NewTicker(lastSeenInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		times := l.take()
		if len(times) == 0 {
			continue
		}
		err := s.Update(ctx, store.System, func(tx *store.Tx) error { return l.write(ctx, tx, times) })
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "note when devices or tokens were seen", "error", err)
		}
	}
}
