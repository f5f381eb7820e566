package control

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rates bounds attempts per address and in total.
type rates struct {
	perAddr rate.Limit
	burst   int
	total   *rate.Limiter

	mu    sync.Mutex
	addrs map[netip.Addr]*rate.Limiter // guarded by mu; at most maxAddrs
}

// maxAddrs bounds the table; when it is full of addresses that are still owed something, new ones share what is in total.
const maxAddrs = 10_000

func newRates(perAddr rate.Limit, burst int, total rate.Limit, totalBurst int) *rates {
	return &rates{perAddr: perAddr, burst: burst, total: rate.NewLimiter(total, totalBurst), addrs: map[netip.Addr]*rate.Limiter{}}
}

// allow spends one attempt of an address. IPv6 addresses of one /64 are one: that is what a host can choose from freely.
func (r *rates) allow(a netip.Addr, now time.Time) bool {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.addrs[a]
	if !ok {
		if len(r.addrs) >= maxAddrs {
			r.sweepLocked(now)
		}
		if len(r.addrs) < maxAddrs {
			l = rate.NewLimiter(r.perAddr, r.burst)
			r.addrs[a] = l
		}
	}
	if l != nil && !l.AllowN(now, 1) {
		return false
	}
	return r.total.AllowN(now, 1)
}

// sweepLocked forgets addresses that have all their attempts again.
func (r *rates) sweepLocked(now time.Time) {
	for a, l := range r.addrs {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.addrs, a)
		}
	}
}

func perMinute(n int) rate.Limit { return rate.Limit(float64(n) / 60) }
