package control_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
)

// refused fails unless r is a refusal of the right shape.
func refused(t *testing.T, what string, r reply, statuses ...int) {
	t.Helper()
	if !slices.Contains(statuses, r.status) {
		t.Errorf("%s: status %d, want one of %v: %s", what, r.status, statuses, r.raw)
		return
	}
	if len(r.env.Errors) == 0 || r.env.Errors[0].Code < 1000 || r.env.Errors[0].Message == "" {
		t.Errorf("%s: %s", what, r.raw)
	}
}

func TestTable_WrongMethodsAndPaths(t *testing.T) {
	w := newEverything(t)
	before := w.revision(t)
	methods := map[string][]string{}
	schemes := map[string]string{}
	for _, r := range rows(t) {
		methods[r.Path] = append(methods[r.Path], r.Method)
		schemes[r.Path] = r.Scheme
	}
	for path, have := range methods {
		slices.Sort(have)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
			if slices.Contains(have, method) || method == "HEAD" {
				continue
			}
			r := w.send(t, request{method: method, path: w.fill(path), token: w.s.Token})
			what := method + " " + path
			refused(t, what, r, http.StatusMethodNotAllowed)
			allow := strings.Split(r.header.Get("Allow"), ", ")
			for _, m := range have {
				if !slices.Contains(allow, m) {
					t.Errorf("%s: Allow is %v without %s", what, allow, m)
				}
			}
		}
		for _, wrong := range []string{
			path + "/nonsense/further", path + "/", "/" + path, path + "%2F", "/" + strings.Replace(path[1:], "/", "%2F", 1), path + "/%00", path + "/%ff", path + "/..", strings.ToUpper(path),
		} {
			r := w.send(t, request{method: have[0], path: w.fill(wrong), token: w.s.Token})
			refused(t, have[0]+" "+wrong, r, http.StatusNotFound, http.StatusMethodNotAllowed)
		}
	}
	if after := w.revision(t); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}

// Every parameter of every path is tried with IDs of nothing and with what is no ID.
func TestTable_UnknownIDs(t *testing.T) {
	w := newEverything(t)
	before := w.revision(t)
	parameter := regexp.MustCompile(`\{([^}]+)\}`)
	for _, r := range rows(t) {
		for _, name := range parameter.FindAllStringSubmatch(r.Path, -1) {
			for _, id := range []string{"00000000-0000-0000-0000-000000000000", "no", "%2F", "a%2Fb", "%00", "%ff", "..%2f..", "%27%20OR%201%3D1", strings.Repeat("x", 3000), "%F0%9F%92%A9"} {
				if name[1] == "network" && id == "%2F" {
					continue
				}
				a := w.send(t, request{method: r.Method, path: w.fill(r.Path, name[1], id), token: w.tokens[r.Scheme], body: w.goodBody(t, r)})
				want := []int{http.StatusNotFound}
				if name[1] == "network" || name[1] == "addr" {
					want = []int{http.StatusNotFound, http.StatusBadRequest}
				}
				refused(t, fmt.Sprintf("%s %s with %s=%.50s", r.Method, r.Path, name[1], id), a, want...)
			}
		}
	}
	if after := w.revision(t); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}

func TestTable_BadBodies(t *testing.T) {
	w := newEverything(t)
	fields := requestFields(t, w.s)
	before := w.revision(t)
	for _, r := range rows(t) {
		if !r.Body {
			continue
		}
		good := w.goodBody(t, r)
		what := r.Method + " " + r.Path
		send := func(contentType, body string) reply {
			return w.send(t, request{method: r.Method, path: w.fill(r.Path), token: w.tokens[r.Scheme], body: body, header: map[string]string{"Content-Type": contentType}})
		}
		object := strings.HasPrefix(good, "{")
		for name, tc := range map[string]struct {
			contentType, body string
			status            int
		}{
			"text":               {"text/plain", good, 415},
			"a form":             {"application/x-www-form-urlencoded", good, 415},
			"XML":                {"application/xml", good, 415},
			"a malformed type":   {"application/json;;", good, 415},
			"no body":            {"application/json", "", 400},
			"only spaces":        {"application/json", " \n", 400},
			"half":               {"application/json", good[:len(good)/2], 400},
			"more after it":      {"application/json", good + "{}", 400},
			"a stray brace":      {"application/json", good + "}", 400},
			"a number":           {"application/json", "5", 400},
			"a string":           {"application/json", `"x"`, 400},
			"true":               {"application/json", "true", 400},
			"the other shape":    {"application/json", map[bool]string{true: `[` + good + `]`, false: `{"a":1}`}[object], 400},
			"too large":          {"application/json", `"` + strings.Repeat("x", 1<<20) + `"`, 413},
			"too deep":           {"application/json", strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200), 400},
			"deep lists":         {"application/json", strings.Repeat("[", 10_000), 400},
			"no UTF-8":           {"application/json", "{\"\xff\":1}", 400},
			"a NUL in a key":     {"application/json", `{"a\u0000":1}`, 400},
			"a NUL in a text":    {"application/json", `{"name":"a\u0000"}`, 400},
			"a key twice":        {"application/json", `{"a":1,"a":1}`, 400},
			"a key twice, cased": {"application/json", `{"a":1,"A":1}`, 400},
			"an unknown key":     {"application/json", `{"no_such_field_at_all":1}`, 400},
			"a comment":          {"application/json", "/**/" + good, 400},
			"a byte order mark":  {"application/json", "\xef\xbb\xbf" + good, 400},
			"a huge number":      {"application/json", `{"no_such_field_at_all":1e999999}`, 400},
		} {
			if r.BodyOptional && strings.TrimSpace(tc.body) == "" {
				continue
			}
			if a := send(tc.contentType, tc.body); a.status == http.StatusOK {
				t.Errorf("%s with %s: accepted", what, name)
			} else if tc.status == 400 {
				refused(t, what+" with "+name, a, 400)
			} else {
				refused(t, what+" with "+name, a, tc.status)
			}
		}
		for field, wrong := range fields[r.Method+" "+r.Path] {
			a := send("application/json", fmt.Sprintf(`{%q:%s}`, field, wrong))
			refused(t, what+" with "+field+"="+wrong, a, 400)
			if e := a.env.Errors; len(e) > 0 && (e[0].Source == nil || !strings.HasPrefix(e[0].Source.Pointer, "/"+field)) {
				t.Errorf("%s with %s=%s points elsewhere: %s", what, field, wrong, a.raw)
			}
		}
	}
	if after := w.revision(t); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}

// requestFields are the fields of each operation's body with a value of another type.
func requestFields(t *testing.T, s *controltest.Server) map[string]map[string]string {
	t.Helper()
	doc, _ := describedAs(t, s)
	named := doc["components"].(map[string]any)["schemas"].(map[string]any)
	out := map[string]map[string]string{}
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			body, ok := o.(map[string]any)["requestBody"].(map[string]any)
			if !ok {
				continue
			}
			schema := body["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
			ref, _ := schema["$ref"].(string)
			of, _ := named[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
			properties, _ := of["properties"].(map[string]any)
			wrong := map[string]string{}
			for field, p := range properties {
				if v := otherType(p.(map[string]any)); v != "" {
					wrong[field] = v
				}
			}
			out[strings.ToUpper(method)+" "+path] = wrong
		}
	}
	return out
}

// otherType is a value that a schema does not allow, "" when it allows all.
func otherType(schema map[string]any) string {
	if list, ok := schema["anyOf"].([]any); ok {
		return otherType(list[0].(map[string]any))
	}
	kind := fmt.Sprint(schema["type"])
	switch {
	case schema["$ref"] != nil, strings.Contains(kind, "object"):
		return `"x"`
	case strings.Contains(kind, "array"):
		return `{"x":1}`
	case strings.Contains(kind, "string"), strings.Contains(kind, "boolean"):
		return `[5]`
	case strings.Contains(kind, "integer"):
		return `"x"`
	}
	return ""
}

func TestTable_Pages(t *testing.T) {
	w := newEverything(t)
	before := w.revision(t)
	for _, r := range rows(t) {
		if r.List != "paged" && r.List != "cursor" {
			continue
		}
		get := func(query string) reply {
			return w.send(t, request{method: "GET", path: w.fill(r.Path) + "?" + query, token: w.tokens[r.Scheme]})
		}
		bad := []string{"per_page=0", "per_page=-1", "per_page=x", "per_page=1.5", "per_page=99999999999999999999", "per_page=%00", "per_page=1e3", "a=%zz", "a=%ff", "%00=1"}
		if r.List == "paged" {
			bad = append(bad, "page=0", "page=-1", "page=x", "page=1.5", "page=99999999999999999999", "page=%D9%A1")
			for _, past := range []string{"page=1000000", "page=1000001", "page=1000000&per_page=1000", "page=1000000&per_page=1000000"} {
				if a := get(past); a.status != http.StatusOK || a.list == nil || len(a.list) != 0 {
					t.Errorf("%s?%s: status %d: %s", r.Path, past, a.status, a.raw)
				}
			}
		}
		for _, q := range bad {
			refused(t, r.Path+"?"+q, get(q), http.StatusBadRequest)
		}
		if a := get("per_page=1"); a.status != http.StatusOK || len(a.list) > 1 {
			t.Errorf("%s?per_page=1: status %d: %s", r.Path, a.status, a.raw)
		}
	}
	if after := w.revision(t); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}

// Without, with another and with too small a credential nothing is told and nothing done, at every endpoint.
func TestTable_Credentials(t *testing.T) {
	w := newEverything(t)
	readOnly := map[string]string{}
	for _, p := range control.Permissions() {
		if area, ok := strings.CutSuffix(p, " Read"); ok {
			readOnly[area] = newToken(t, w.s, store.TokenFields{Name: p, Permissions: []string{p}})
		}
	}
	before := w.revision(t)
	for _, r := range rows(t) {
		if r.Scheme == "" {
			continue
		}
		what, path, body := r.Method+" "+r.Path, w.fill(r.Path), w.goodBody(t, r)
		refused(t, what+" without a credential", w.send(t, request{method: r.Method, path: path, body: body}), 400)
		for scheme, token := range w.tokens {
			if scheme != r.Scheme && scheme != "" {
				refused(t, what+" with a "+scheme, w.send(t, request{method: r.Method, path: path, body: body, token: token}), 401)
			}
		}
		if strings.Contains(r.Path, "{account}") {
			other := strings.Replace(path, w.s.AccountID, strings.Repeat("0", 32), 1)
			refused(t, what+" of another account", w.send(t, request{method: r.Method, path: other, body: body, token: w.s.Token}), 404)
		}
		if area, ok := strings.CutSuffix(r.Permission, " Write"); ok {
			refused(t, what+" read-only", w.send(t, request{method: r.Method, path: path, body: body, token: readOnly[area]}), 403)
		}
	}
	if after := w.revision(t); after != before {
		t.Errorf("the revision went from %d to %d", before, after)
	}
}
