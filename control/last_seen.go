package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"weft/control/store"
)

const lastSeenInterval = 10 * time.Second

// lastSeen gathers when devices connected and writes it now and then: ten thousand agents that come back at once
// must not queue for the one writer.
type lastSeen struct {
	mu    sync.Mutex
	times map[string]time.Time // guarded by mu; bounded by the number of devices
}

func newLastSeen() *lastSeen { return &lastSeen{times: map[string]time.Time{}} }

func (l *lastSeen) note(device string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times[device] = at
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
		err := s.Update(ctx, store.System, func(tx *store.Tx) error { return tx.SetLastSeen(ctx, times) })
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "note when devices were seen", "error", err)
		}
	}
}
