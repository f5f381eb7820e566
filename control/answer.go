package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"weft/api"
	"weft/internal/kind"
)

// answer is what an endpoint returns on success.
type answer struct {
	result any
	info   any // result_info of lists
}

// failure is an error that asks for a status, code or header of its own.
type failure struct {
	is         *kind.Error
	status     int
	code       int
	retryAfter int // seconds
	noRetry    bool
}

func (f *failure) Error() string { return f.is.Error() }
func (f *failure) Unwrap() error { return f.is }

// The codes of errors. Clients only look at their being there; those with a public meaning keep it.
const (
	codeUnknownToken  = 1000
	codeInvalid       = 1001
	codeConflict      = 1002
	codeNotFound      = 1003
	codeLimit         = 1004
	codeUnavailable   = 1005
	codeInternal      = 1007
	codeNoRoute       = 7003
	codeMissingToken  = 9106
	codeDenied        = 10000
	codeApplication   = 12130
	codeTunnelInUse   = 1023
	codeRouteNotFound = 1015
)

// statusOf is the one table from kinds to HTTP. A conflict is 400, not 409: the generated clients repeat a 409 for
// minutes (see failure.noRetry for the one exception).
func statusOf(k kind.Kind) (status, code int) {
	switch k {
	case kind.Invalid:
		return http.StatusBadRequest, codeInvalid
	case kind.Unauthenticated:
		return http.StatusUnauthorized, codeUnknownToken
	case kind.Denied:
		return http.StatusForbidden, codeDenied
	case kind.NotFound:
		return http.StatusNotFound, codeNotFound
	case kind.Conflict:
		return http.StatusBadRequest, codeConflict
	case kind.Limit:
		return http.StatusBadRequest, codeLimit
	case kind.Unavailable:
		return http.StatusServiceUnavailable, codeUnavailable
	case kind.Timeout:
		return http.StatusGatewayTimeout, codeUnavailable
	default:
		return http.StatusInternalServerError, codeInternal
	}
}

type envelope struct {
	Success    bool            `json:"success"`
	Errors     []api.ErrorItem `json:"errors"`
	Messages   []api.ErrorItem `json:"messages"`
	Result     any             `json:"result"`
	ResultInfo any             `json:"result_info,omitempty"`
}

// writeAnswer writes 200 for every success: one of the clients takes nothing else. What GET answers has a tag, by
// which the caller can ask whether it is still that (304) and change it only if it is.
func (c *Control) writeAnswer(ctx context.Context, w http.ResponseWriter, q *call, a answer) error {
	e := envelope{Success: true, Errors: []api.ErrorItem{}, Messages: []api.ErrorItem{}, Result: a.result, ResultInfo: a.info}
	if q.r.Method == http.MethodGet {
		raw, tag, err := tagOf(a)
		if err != nil {
			return fmt.Errorf("render answer: %w", err)
		}
		w.Header().Set("ETag", tag)
		switch {
		case len(tagList(q.r.Header, "If-Match")) > 0 && !match(q.r.Header, tag):
			return changedMeanwhile(tag)
		case noneMatch(q.r.Header, tag):
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		e.Result = json.RawMessage(raw)
	}
	c.writeJSON(ctx, w, http.StatusOK, e)
	return nil
}

// writeError writes err; the text of an error without a kind goes to the log alone.
func (c *Control) writeError(ctx context.Context, w http.ResponseWriter, requestID string, err error) {
	f := c.asFailure(ctx, requestID, err)
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	if f.noRetry {
		w.Header().Set("X-Should-Retry", "false")
	}
	item := api.ErrorItem{Code: f.code, Message: f.is.Message, Kind: string(f.is.Kind), Hint: f.is.Hint}
	if f.is.Pointer != "" {
		item.Source = &api.ErrorSource{Pointer: f.is.Pointer}
	}
	c.writeJSON(ctx, w, f.status, envelope{Errors: []api.ErrorItem{item}, Messages: []api.ErrorItem{}})
}

func (c *Control) asFailure(ctx context.Context, requestID string, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	k, ok := errors.AsType[*kind.Error](err)
	if !ok {
		level := slog.LevelError
		if errors.Is(err, context.Canceled) {
			level = slog.LevelDebug // the client went away
		}
		c.log.Log(ctx, level, "request failed", "request_id", requestID, "error", err)
		k = kind.New(kind.Internal, "internal error (request %s)", requestID)
	}
	f := &failure{is: k}
	f.status, f.code = statusOf(k.Kind)
	return f
}

func (c *Control) writeJSON(ctx context.Context, w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		c.log.ErrorContext(ctx, "render answer", "error", err)
		status, raw = http.StatusInternalServerError, []byte(`{"success":false,"errors":[{"code":1007,"message":"internal error","kind":"internal"}],"messages":[],"result":null}`)
	}
	w.Header().Set("Content-Type", "application/json") // exactly: one client refuses a charset
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(raw); err != nil {
		c.log.DebugContext(ctx, "write answer", "error", err)
	}
}

// withCode gives an error of kind k the code that the public API has for it.
func withCode(err error, k kind.Kind, code int) error {
	e, ok := errors.AsType[*kind.Error](err)
	if !ok || e.Kind != k {
		return err
	}
	f := &failure{is: e, code: code}
	f.status, _ = statusOf(k)
	return f
}

// coded gives a refusal of an application or a policy the code that it has in the public API.
func (e *endpoint) coded(err error) error {
	if _, has := errors.AsType[*failure](err); has || e.area != areaApps {
		return err
	}
	return withCode(err, kind.Invalid, codeApplication)
}

// tooLarge, notAllowed and the like are failures of the transport rather than of the domain.
func tooLarge(limit int64) error {
	return &failure{
		is:     kind.New(kind.Limit, "the body is larger than %d bytes", limit),
		status: http.StatusRequestEntityTooLarge, code: codeLimit,
	}
}

func noRoute(path string) error {
	if len(path) > 200 {
		path = strings.ToValidUTF8(path[:200], "") + "..."
	}
	return &failure{
		is:     kind.New(kind.NotFound, "could not route to %q, perhaps your object identifier is invalid?", path),
		status: http.StatusNotFound, code: codeNoRoute,
	}
}

func methodNotAllowed(method string, allow []string) error {
	return &failure{
		is:     kind.New(kind.Invalid, "method %s is not for this path; use %s", method, strings.Join(allow, ", ")),
		status: http.StatusMethodNotAllowed, code: codeInvalid,
	}
}

// retryAfterSeconds is when a refused request may come again.
const retryAfterSeconds = 5

func tooMany(format string, args ...any) error {
	return &failure{
		is:     kind.New(kind.Limit, format, args...).WithHint("try again in %d seconds", retryAfterSeconds),
		status: http.StatusTooManyRequests, code: codeLimit, retryAfter: retryAfterSeconds,
	}
}

func asKind(err error) (*kind.Error, bool) { return errors.AsType[*kind.Error](err) }
