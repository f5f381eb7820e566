package control

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"weft/control/store"
)

// FindForTest is the router's answer: the methods that the path knows, and whether this one is among them.
func (c *Control) FindForTest(method string, u *url.URL) (found bool, params map[string]string, allow []string) {
	e, params, allow := c.router.find(method, u)
	return e != nil, params, allow
}

// Rates is the limiter of enrolments.
type Rates struct{ r *rates[netip.Addr] }

// NewRatesForTest makes one.
func NewRatesForTest(perMinuteOfOne, perMinuteOfAll int) Rates {
	return Rates{newRates[netip.Addr](perMinute(perMinuteOfOne), perMinuteOfOne, perMinute(perMinuteOfAll), perMinuteOfAll)}
}

// Allow spends an attempt.
func (r Rates) Allow(a netip.Addr, now time.Time) bool { return r.r.allow(hostOf(a), now) }

// Addrs is the size of the table.
func (r Rates) Addrs() int { return len(r.r.sources) }

// MaxAddrsForTest bounds it.
const MaxAddrsForTest = maxSources

// StreamsForTest counts the open streams.
func (c *Control) StreamsForTest() int {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	return c.streams.total
}

// PanicForTest serves a path that panics.
func (c *Control) PanicForTest(pattern string) {
	c.router.add(pattern, &endpoint{auth: authNone, serve: func(context.Context, *call) (answer, error) { panic("secret of the panic") }})
}

// CertificateForTest is what the server presents.
func (c *Control) CertificateForTest() (*tls.Certificate, error) { return c.certs.certificate(nil) }

// ManagementPatterns are the endpoints of the management API.
func ManagementPatterns(c *Control) []string {
	return slices.Sorted(maps.Keys(c.managementEndpoints()))
}

// AreaOf is areaOf.
func AreaOf(pattern string) string { return string(areaOf(pattern)) }

// Hub turns revisions into views.
type Hub struct{ h *hub }

// NewHubForTest makes one with its first view.
func NewHubForTest(ctx context.Context, s *store.Store) (Hub, error) {
	h := newHub(s, slog.New(slog.DiscardHandler))
	return Hub{h}, h.rebuild(ctx)
}

// Rebuild makes the view of the newest revision.
func (h Hub) Rebuild(ctx context.Context) error { return h.h.rebuild(ctx) }
