package control

import (
	"net/netip"
	"net/url"
	"time"
)

// FindForTest is the router's answer: the methods that the path knows, and whether this one is among them.
func (c *Control) FindForTest(method string, u *url.URL) (found bool, params map[string]string, allow []string) {
	e, params, allow := c.router.find(method, u)
	return e != nil, params, allow
}

// Rates is the limiter of enrolments.
type Rates struct{ r *rates }

// NewRatesForTest makes one.
func NewRatesForTest(perMinuteOfOne, perMinuteOfAll int) Rates {
	return Rates{newRates(perMinute(perMinuteOfOne), perMinuteOfOne, perMinute(perMinuteOfAll), perMinuteOfAll)}
}

// Allow spends an attempt.
func (r Rates) Allow(a netip.Addr, now time.Time) bool { return r.r.allow(a, now) }

// Addrs is the size of the table.
func (r Rates) Addrs() int { return len(r.r.addrs) }

// MaxAddrsForTest bounds it.
const MaxAddrsForTest = maxAddrs

// StreamsForTest counts the open streams.
func (c *Control) StreamsForTest() int {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	return c.streams.total
}
