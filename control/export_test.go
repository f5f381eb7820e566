package control

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"weft/api"
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

// HeardForTest has a control plane hear messages of another, and returns how many others it knows.
func HeardForTest(messages ...[]byte) int {
	open, ask := newStreams(1), newQuestions()
	r := newReplicas(nil, slog.New(slog.DiscardHandler), open, ask)
	open.others, ask.others = r, r
	for _, m := range messages {
		r.Heard(m)
		r.list(streamKey{connectorStream, "x"})
	}
	return len(r.peers)
}

// MaxReplicasForTest bounds them.
const MaxReplicasForTest = maxReplicas

// StoreForTest is what it keeps.
func (c *Control) StoreForTest() *store.Store { return c.store }

// SetKillTimeoutForTest replaces how long a kill waits for gateways.
func (c *Control) SetKillTimeoutForTest(d time.Duration) { c.killTimeout.Store(int64(d)) }

// ServedPatterns are all routes, sorted.
func ServedPatterns(c *Control) []string { return slices.Sorted(maps.Keys(c.router.served)) }

// CataloguePatterns are what the catalogue describes.
func CataloguePatterns() []string { return slices.Sorted(maps.Keys(fullCatalogue())) }

// DescribeAnew renders the description again.
func DescribeAnew(c *Control) ([]byte, error) { return c.describe() }

// Row is one endpoint.
type Row struct {
	Method, Path, Permission, What, Tag, TagText string
	Scheme, List                                 string
	Body, BodyOptional, Stream                   bool
	// HasGet says that the path can be read.
	HasGet bool
	// Refused says that it never succeeds.
	Refused bool
}

// RevisionForTest is the newest revision of the store, once the control plane has made everything of it that follows from it:
// the slots of devices are a revision of their own, a moment after the write that they follow from.
func (c *Control) RevisionForTest(ctx context.Context) (uint64, error) {
	for settled := uint64(0); ; {
		var rev uint64
		if err := c.store.View(ctx, func(r *store.Reader) (err error) {
			rev, err = r.Revision(ctx)
			return err
		}); err != nil || rev == settled {
			return rev, err
		}
		if _, err := c.hub.at(ctx, rev); err != nil {
			return rev, err
		}
		settled = rev
	}
}

// TableForTest are the rows of docs/api.md.
func TableForTest() ([]Row, error) {
	c := &Control{}
	c.router = c.routes()
	var rows []Row
	for _, o := range c.operations() {
		r := Row{Method: o.Method, Path: o.Path, Permission: o.Permission, What: o.Summary, Tag: o.Tag, TagText: tagText[o.Tag], Scheme: o.Security, List: o.List, Body: o.Request != nil, BodyOptional: o.RequestOptional, Stream: o.Stream || o.Bare}
		r.Refused = fullCatalogue()[o.Method+" "+o.Path].refused
		r.HasGet = c.router.served["GET "+o.Path] != nil && c.router.served["GET "+o.Path].serve != nil
		if r.Permission == "" {
			r.Permission = permissionText[o.Security]
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return strings.Compare(a.Tag, b.Tag) })
	return rows, nil
}

var permissionText = map[string]string{
	"": "none", schemeAPI: "any token", schemeDevice: "a device's token", schemeGateway: "a gateway's token", schemeConnector: "a tunnel's token",
}

// SettleForTest waits until the current view is that of the newest revision.
func (c *Control) SettleForTest(ctx context.Context) error {
	_, err := c.RevisionForTest(ctx)
	return err
}

// AuditForTest are the newest audit events.
func (c *Control) AuditForTest(ctx context.Context, n int) (list []store.AuditEvent, err error) {
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.AuditEvents(ctx, n)
		return err
	})
	return list, err
}

// SessionWatch is what one watcher was told.
type SessionWatch struct{ s *sessionWatch }

// NewSessionWatchForTest makes one that was told nothing.
func NewSessionWatchForTest() SessionWatch {
	return SessionWatch{&sessionWatch{known: map[string]watchedGateway{}}}
}

// Step takes what a gateway said.
func (w SessionWatch) Step(gateway string, a api.SessionsAnswer) api.SessionsEvent {
	return w.s.step([]gatewaySessions{{SessionGateway: api.SessionGateway{ID: gateway, Name: gateway}, answer: &a}})
}

// Known counts the sessions that it keeps in mind.
func (w SessionWatch) Known(gateway string) int { return len(w.s.known[gateway].sessions) }
