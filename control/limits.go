package control

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rates bounds attempts of each source, by whatever names it, and in total.
type rates[K comparable] struct {
	each  rate.Limit
	burst int
	total *rate.Limiter

	mu      sync.Mutex
	sources map[K]*rate.Limiter // guarded by mu; at most maxSources
}

// maxSources bounds the table; when it is full of sources that are still owed something, new ones share what is in total.
const maxSources = 10_000

func newRates[K comparable](each rate.Limit, burst int, total rate.Limit, totalBurst int) *rates[K] {
	return &rates[K]{each: each, burst: burst, total: rate.NewLimiter(total, totalBurst), sources: map[K]*rate.Limiter{}}
}

// hostOf names who is behind an address. IPv6 addresses of one /64 are one: that is what a host can choose from freely.
func hostOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// allow spends one attempt of a source.
func (r *rates[K]) allow(source K, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.sources[source]
	if !ok {
		if len(r.sources) >= maxSources {
			r.sweepLocked(now)
		}
		if len(r.sources) < maxSources {
			l = rate.NewLimiter(r.each, r.burst)
			r.sources[source] = l
		}
	}
	if l != nil && !l.AllowN(now, 1) {
		return false
	}
	return r.total.AllowN(now, 1)
}

// sweepLocked forgets sources that have all their attempts again.
func (r *rates[K]) sweepLocked(now time.Time) {
	for source, l := range r.sources {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.sources, source)
		}
	}
}

func perMinute(n int) rate.Limit { return rate.Limit(float64(n) / 60) }
