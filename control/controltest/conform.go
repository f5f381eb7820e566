package controltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"weft/control"
)

// watcher compares every answer of a server with the server's own description of it, whichever program asked, and every
// request that was accepted with what the description lets one send.
type watcher struct {
	test string
	doc  *document

	mu    sync.Mutex
	wrong []string // guarded by mu
}

// maxFindings bounds what a test is told.
const maxFindings = 20

// document is a description in the form in which it is asked.
type document struct {
	schemas *schemas
	// operations are sorted so that of two templates that fit, the one with the literal segment comes first.
	operations []*operation
}

type operation struct {
	method, path string
	segments     []string
	request      map[string]any
	optional     bool
	answer       map[string]any // by content type
}

var (
	documents   = map[string]*document{} // by their text
	documentsMu sync.Mutex
)

// parseDocument reads a description; each is read once per process.
func parseDocument(raw []byte) (*document, error) {
	documentsMu.Lock()
	defer documentsMu.Unlock()
	if d := documents[string(raw)]; d != nil {
		return d, nil
	}
	all, err := decode(raw)
	if err != nil {
		return nil, err
	}
	d := &document{schemas: &schemas{named: map[string]map[string]any{}}}
	for name, s := range asObject(asObject(asObject(all)["components"])["schemas"]) {
		d.schemas.named[name] = asObject(s)
	}
	for path, item := range asObject(asObject(all)["paths"]) {
		for method, o := range asObject(item) {
			d.operations = append(d.operations, newOperation(strings.ToUpper(method), path, asObject(o)))
		}
	}
	slices.SortFunc(d.operations, func(a, b *operation) int {
		// "{" sorts behind every letter, so literal segments come first.
		return strings.Compare(a.path+" "+a.method, b.path+" "+b.method)
	})
	documents[string(raw)] = d
	return d, nil
}

func newOperation(method, path string, o map[string]any) *operation {
	x := &operation{method: method, path: path, segments: strings.Split(path, "/"), answer: map[string]any{}}
	body := asObject(o["requestBody"])
	x.optional = body["required"] == false
	x.request = asObject(asObject(asObject(body["content"])["application/json"])["schema"])
	for kind, c := range asObject(asObject(asObject(o["responses"])["200"])["content"]) {
		x.answer[kind] = asObject(c)["schema"]
	}
	return x
}

func decode(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return v, d.Decode(&v)
}

// find is the operation of a request, nil for none.
func (d *document) find(method string, u *url.URL) *operation {
	segments := strings.Split(u.EscapedPath(), "/")
	for _, o := range d.operations {
		if o.method == method && o.fits(segments) {
			return o
		}
	}
	return nil
}

func (o *operation) fits(segments []string) bool {
	if len(segments) != len(o.segments) {
		return false
	}
	for i, s := range o.segments {
		if s != segments[i] && !strings.HasPrefix(s, "{") {
			return false
		}
	}
	return true
}

// around is control.Config.Around.
func (w *watcher) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := &recordedBody{ReadCloser: r.Body}
		r.Body = body
		rec := &recorder{ResponseWriter: rw}
		path := *r.URL
		method := r.Method
		defer func() { w.check(method, &path, body.read.Bytes(), rec) }()
		next.ServeHTTP(rec, r)
	})
}

// maxRecorded bounds what is kept of a body.
const maxRecorded = 4 << 20

type recordedBody struct {
	io.ReadCloser
	read bytes.Buffer
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.read.Len() < maxRecorded {
		b.read.Write(p[:n])
	}
	return n, err
}

type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.body.Len() < maxRecorded {
		r.body.Write(p)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (w *watcher) check(method string, u *url.URL, request []byte, rec *recorder) {
	o := w.doc.find(method, u)
	if rec.status < 300 && rec.status != 0 {
		if o == nil {
			w.report("%s %s succeeds and is not in the description", method, u.Path)
			return
		}
		note(o, w.test)
	} else if o != nil && rec.status == http.StatusBadRequest {
		note(&operation{method: "refused " + o.method, path: o.path}, w.test)
	}
	if rec.body.Len() >= maxRecorded || rec.status == 0 {
		return
	}
	for _, bad := range w.doc.answerErrors(o, rec) {
		w.report("%s %s (%d): the answer does not fit its description: %s", method, u.Path, rec.status, bad)
	}
	if o != nil && rec.status < 300 && o.request != nil && (!o.optional || len(bytes.TrimSpace(request)) > 0) {
		v, err := decode(request)
		if err != nil {
			w.report("%s %s: accepted without JSON: %v", method, u.Path, err)
			return
		}
		for _, bad := range w.doc.schemas.validate(o.request, v, "") {
			w.report("%s %s: accepted a body that does not fit its description: %s", method, u.Path, bad)
		}
	}
}

func (d *document) answerErrors(o *operation, rec *recorder) []string {
	switch {
	case rec.status == http.StatusNotModified:
		if rec.body.Len() > 0 || rec.Header().Get("ETag") == "" {
			return []string{"304 with a body or without an ETag"}
		}
		return nil
	case rec.status >= 300:
		return d.body(map[string]any{"$ref": "#/components/schemas/Error"}, rec.body.Bytes())
	}
	kind := rec.Header().Get("Content-Type")
	schema, ok := o.answer[kind]
	if !ok {
		return []string{"the content type is " + kind}
	}
	if kind == "application/x-ndjson" {
		var wrong []string
		for line := range bytes.Lines(rec.body.Bytes()) {
			if bytes.HasSuffix(line, []byte("\n")) { // the last one may be cut
				wrong = append(wrong, d.body(asObject(schema), line)...)
			}
		}
		return wrong
	}
	if kind == "application/octet-stream" {
		return nil // of which no schema says anything
	}
	return d.body(asObject(schema), rec.body.Bytes())
}

func (d *document) body(schema map[string]any, raw []byte) []string {
	v, err := decode(raw)
	if err != nil {
		return []string{"it is not JSON: " + err.Error()}
	}
	return d.schemas.validate(schema, v, "")
}

func (w *watcher) report(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) < maxFindings {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

// findings are what was wrong so far; they are told once.
func (w *watcher) findings() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.wrong
	w.wrong = nil
	return f
}

var (
	covered   = map[string]map[string]bool{} // operation -> tests
	coveredMu sync.Mutex
)

func note(o *operation, test string) {
	test, _, _ = strings.Cut(test, "/")
	coveredMu.Lock()
	defer coveredMu.Unlock()
	key := o.method + " " + o.path
	if covered[key] == nil {
		covered[key] = map[string]bool{}
	}
	covered[key][test] = true
}

// Covered says which tests of this process had an answer of success from an operation, such as "GET /weft/v1/health",
// and which a refusal of the request as such (400), "refused POST /weft/v1/explain".
func Covered() map[string][]string {
	coveredMu.Lock()
	defer coveredMu.Unlock()
	out := map[string][]string{}
	for o, tests := range covered {
		out[o] = slices.Sorted(maps.Keys(tests))
	}
	return out
}

// watch makes cfg's server watched.
func watch(cfg *control.Config, test string) *watcher {
	w := &watcher{test: test}
	cfg.Around = w.around
	return w
}
