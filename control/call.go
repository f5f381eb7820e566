package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
	"weft/internal/kind"
)

// maxBodyBytes bounds every request body, maxStrangerBytes that of a caller who is not known before it was read.
const (
	maxBodyBytes     = 1 << 20
	maxStrangerBytes = 16 << 10
)

// endpoint is one method of one path.
type endpoint struct {
	auth authenticator
	// area is what an API token needs a permission for; "" with authAPI: only one that may do everything.
	area area
	// reads says that it changes nothing, whatever its method.
	reads bool
	// serve answers with an envelope; stream writes the response itself. Exactly one is set.
	serve  func(ctx context.Context, q *call) (answer, error)
	stream func(ctx context.Context, q *call, w http.ResponseWriter) error
	// stranger says that the credential is in the body.
	stranger bool
	// role is the security scheme of auth, "" when there is none; node is where the router has the endpoint.
	role string
	node *node
}

// authenticator finds out who calls, before anything else of the request is looked at.
type authenticator func(c *Control, ctx context.Context, q *call) error

// call is one request on its way through an endpoint.
type call struct {
	r      *http.Request
	params map[string]string
	query  url.Values
	id     string
	addr   netip.Addr
	actor  store.Actor
	// What the credential stands for, depending on the endpoint.
	device       store.Device
	gateway      store.Gateway
	tunnel       api.Tunnel
	tunnelSecret [sha256.Size]byte // the hash of the secret that the connector came with
	token        store.Token
	// revision is at least that of the state in which the caller was authenticated.
	revision uint64
	// tooLate is set when a condition of the request did not hold and nothing was written.
	tooLate error
	// streams is set once the endpoint writes the response itself.
	streams bool
}

// ServeHTTP answers every request with JSON.
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &call{r: r, id: uuid.NewString(), addr: remoteAddr(r.RemoteAddr)}
	w.Header().Set("X-Request-Id", q.id)
	ctx := r.Context()
	defer func() {
		if p := recover(); p != nil {
			c.panicked(ctx, q, w, p)
		}
	}()
	if err := c.dispatch(ctx, q, w); err != nil {
		c.writeError(ctx, w, q.id, err)
	}
}

// panicked answers for an endpoint that cannot: transactions roll back by themselves, so nothing was changed, and what
// the panic says goes to the log alone.
func (c *Control) panicked(ctx context.Context, q *call, w http.ResponseWriter, p any) {
	c.log.ErrorContext(ctx, "request handler panicked", "request_id", q.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if q.streams {
		panic(http.ErrAbortHandler) // the answer has begun; an end that no one takes for an orderly one
	}
	c.writeError(ctx, w, q.id, kind.New(kind.Internal, "internal error (request %s)", q.id))
}

func (c *Control) dispatch(ctx context.Context, q *call, w http.ResponseWriter) error {
	e, params, allow := c.router.find(q.r.Method, q.r.URL)
	q.params = params
	if e == nil {
		// An unknown path says no more to a stranger than a known one does.
		if strings.HasPrefix(q.r.URL.Path, api.PathManagement+"/") {
			if err := authAPI(c, ctx, q); err != nil {
				return err
			}
		}
		if allow != nil {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			return methodNotAllowed(q.r.Method, allow)
		}
		return noRoute(q.r.URL.Path)
	}
	if err := e.auth(c, ctx, q); err != nil {
		return err
	}
	if id, ok := params["account"]; ok && id != c.AccountID() {
		return noRoute(q.r.URL.Path)
	}
	if q.token.ID != "" {
		if err := permit(&q.token, e); err != nil {
			return err
		}
	}
	var err error
	if q.query, err = url.ParseQuery(q.r.URL.RawQuery); err != nil {
		return kind.New(kind.Invalid, "the query cannot be parsed")
	}
	if err := q.checkText(); err != nil {
		return err
	}
	limit := int64(maxBodyBytes)
	if e.stranger {
		limit = maxStrangerBytes
	}
	q.r.Body = http.MaxBytesReader(w, q.r.Body, limit)
	if e.stream != nil {
		q.streams = true
		return e.stream(ctx, q, w)
	}
	if ctx, err = c.withPrecondition(ctx, q, e); err != nil {
		return err
	}
	a, err := e.serve(ctx, q)
	if q.tooLate != nil {
		return q.tooLate // whatever the endpoint made of it
	}
	if err != nil {
		return e.coded(err)
	}
	return c.writeAnswer(ctx, w, q, a)
}

func remoteAddr(s string) netip.Addr {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// body decodes the request body strictly; ignore names top-level keys that are noise.
func (q *call) body(v any, ignore ...string) error {
	raw, err := q.rawBody()
	if err != nil {
		return err
	}
	return strictjson.Decode(raw, v, ignore...)
}

func (q *call) rawBody() ([]byte, error) {
	raw, err := io.ReadAll(q.r.Body)
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(tooBig.Limit)
	}
	if err != nil {
		return nil, kind.New(kind.Invalid, "the body cannot be read").WithCause(err)
	}
	if len(raw) > 0 {
		if err := checkContentType(q.r.Header.Get("Content-Type")); err != nil {
			return nil, err
		}
		if e := q.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
			return nil, unsupportedMedia(kind.New(kind.Invalid, "the body is encoded as %q; it must be plain", clipped(e)).WithHint("leave out the header Content-Encoding"))
		}
	}
	return raw, nil
}

// checkContentType takes JSON of any flavour, and no name at all, as simple programs send it.
func checkContentType(s string) error {
	if s == "" {
		return nil
	}
	if t, _, err := mime.ParseMediaType(s); err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")) {
		return nil
	}
	return unsupportedMedia(kind.New(kind.Invalid, "the body must be JSON, not %q", clipped(s)).WithHint("send the header \"Content-Type: application/json\""))
}

func unsupportedMedia(is *kind.Error) error {
	return &failure{is: is, status: http.StatusUnsupportedMediaType, code: codeInvalid}
}

// clipped is what of a caller's text is worth repeating.
func clipped(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "..."
	}
	return strings.ToValidUTF8(s, "")
}

// checkText refuses values of the query that no object can have and that not every engine takes for text.
func (q *call) checkText() error {
	for name, values := range q.query {
		for _, v := range append([]string{name}, values...) {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return kind.New(kind.Invalid, "the query parameter %q is not text: it has a NUL or is not UTF-8", clipped(name))
			}
		}
	}
	return nil
}

// The parsers of query parameters: an absent or empty parameter is the zero value.

func (q *call) queryBool(name string) (*bool, error) {
	s := q.query.Get(name)
	if s == "" {
		return nil, nil //nolint:nilnil // absent is neither
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil, badQuery(name, s, "true or false")
	}
	return &b, nil
}

// queryInt reads a number from least; one beyond most is most.
func (q *call) queryInt(name string, preset, least, most int) (int, error) {
	s := q.query.Get(name)
	if s == "" {
		return preset, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least {
		return 0, badQuery(name, s, fmt.Sprintf("a number from %d", least))
	}
	return min(n, most), nil
}

func (q *call) queryTime(name string) (time.Time, error) {
	s := q.query.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	// A "+" of a zone offset that was not percent-encoded arrives as a space.
	t, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+"))
	if err != nil {
		return t, badQuery(name, s, "a time of RFC 3339")
	}
	return t, nil
}

func (q *call) queryAddr(name string) (netip.Addr, error) {
	s := q.query.Get(name)
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := store.ParseAddr("", s)
	if err != nil {
		return a, badQuery(name, s, "an IP address")
	}
	return a, nil
}

func (q *call) queryPrefix(name string) (netip.Prefix, error) {
	s := q.query.Get(name)
	if s == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, badQuery(name, s, "an address prefix")
	}
	return p.Masked(), nil
}

func badQuery(name, got, want string) error {
	return kind.New(kind.Invalid, "the query parameter %s must be %s, not %q", name, want, clipped(got))
}

// The sizes of pages.
const (
	defaultPerPage = 50
	maxPerPage     = 1000
	maxPage        = 1_000_000
)

func (q *call) page() (store.Page, error) { return q.pageOf(defaultPerPage) }

// pageOf is page with a size of one's own for who names none.
func (q *call) pageOf(preset int) (store.Page, error) {
	number, err := q.queryInt("page", 1, 1, maxPage)
	if err != nil {
		return store.Page{}, err
	}
	size, err := q.queryInt("per_page", preset, 1, maxPerPage)
	return store.Page{Number: number, Size: size}, err
}

// paged is a page of a list with its counters. Past the end the result is an empty array, which is how clients stop.
func paged[T any](list []T, total int, p store.Page) answer {
	return answer{result: list, info: api.ResultInfo{
		Page: p.Number, PerPage: p.Size, Count: len(list), TotalCount: total, TotalPages: (total + p.Size - 1) / p.Size,
	}}
}

// slicePage cuts a page out of a whole list.
func slicePage[T any](all []T, p store.Page) answer {
	from := min((p.Number-1)*p.Size, len(all))
	to := min(from+p.Size, len(all))
	return paged(all[from:to:to], len(all), p)
}
