package control_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
)

// describedAs is the served document.
func describedAs(t *testing.T, s *controltest.Server) (doc map[string]any, raw []byte) {
	t.Helper()
	c := newRawClient(t, s)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+api.PathOpenAPI, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("ETag") == "" {
		t.Fatalf("status %d, headers %v", resp.StatusCode, resp.Header)
	}
	decode(t, raw, &doc)
	req.Header.Set("If-None-Match", resp.Header.Get("ETag"))
	again, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Body.Close() }()
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("with its ETag: %d", again.StatusCode)
	}
	return doc, raw
}

// Every route is described and everything described is a route; both know the same credential and permission.
func TestOpenAPI_IsTheRouter(t *testing.T) {
	s := controltest.New(t)
	doc, _ := describedAs(t, s)
	var described []string
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			pattern := strings.ToUpper(method) + " " + path
			described = append(described, pattern)
			if summary, _ := o.(map[string]any)["summary"].(string); summary == "" {
				t.Errorf("%s has no entry in the catalogue", pattern)
			}
		}
	}
	slices.Sort(described)
	if served := control.ServedPatterns(s.Control); !slices.Equal(described, served) {
		t.Errorf("described are\n%s\nserved are\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
	for _, pattern := range control.CataloguePatterns() {
		if !slices.Contains(described, pattern) {
			t.Errorf("the catalogue has %s, which is not served", pattern)
		}
	}
}

// The rules of OpenAPI 3.1.0 that a generator of clients trips over.
func TestOpenAPI_IsValid(t *testing.T) {
	doc, raw := describedAs(t, controltest.New(t))
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc["openapi"])
	}
	info := doc["info"].(map[string]any)
	if info["title"] == "" || info["version"] == "" {
		t.Errorf("info is %v", info)
	}
	for key := range doc {
		if !slices.Contains([]string{"openapi", "info", "servers", "tags", "paths", "components"}, key) {
			t.Errorf("the document has %q", key)
		}
	}
	components := doc["components"].(map[string]any)
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllStringSubmatch(string(raw), -1) {
		parts := strings.Split(ref[1], "/")
		if len(parts) != 4 || parts[0] != "#" || parts[1] != "components" {
			t.Fatalf("$ref %q", ref[1])
		}
		if section, ok := components[parts[2]].(map[string]any); !ok || section[parts[3]] == nil {
			t.Errorf("$ref %q leads nowhere", ref[1])
		}
	}
	for section, all := range components {
		for name := range all.(map[string]any) {
			if !regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(name) {
				t.Errorf("components/%s has %q", section, name)
			}
			if section != "securitySchemes" && strings.Count(string(raw), `"#/components/`+section+`/`+name+`"`) == 0 {
				t.Errorf("components/%s/%s is not used", section, name)
			}
		}
	}
	ids := map[string]string{}
	shapes := map[string]string{}
	for path, item := range doc["paths"].(map[string]any) {
		shape := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "{}")
		if other := shapes[shape]; other != "" {
			t.Errorf("%s and %s are the same path", path, other)
		}
		shapes[shape] = path
		for method, o := range item.(map[string]any) {
			validOperation(t, method+" "+path, o.(map[string]any), doc, ids)
		}
	}
}

func validOperation(t *testing.T, at string, o, doc map[string]any, ids map[string]string) {
	t.Helper()
	method, path, _ := strings.Cut(at, " ")
	if !slices.Contains([]string{"get", "put", "post", "delete", "patch"}, method) {
		t.Errorf("%s: the method", at)
	}
	id, _ := o["operationId"].(string)
	if other := ids[id]; id == "" || other != "" {
		t.Errorf("%s and %s have the operationId %q", at, other, id)
	}
	ids[id] = at
	declared := map[string]bool{}
	parameters, _ := o["parameters"].([]any)
	for _, p := range parameters {
		m := p.(map[string]any)
		key := m["in"].(string) + "/" + m["name"].(string)
		if declared[key] {
			t.Errorf("%s: parameter %s stands twice", at, key)
		}
		declared[key] = true
		if m["schema"] == nil || m["in"] == "path" && m["required"] != true {
			t.Errorf("%s: parameter %s is %v", at, key, m)
		}
	}
	named := regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(path, -1)
	for _, name := range named {
		if !declared["path/"+name[1]] {
			t.Errorf("%s: no parameter %s", at, name[1])
		}
	}
	for key := range declared {
		if name, ok := strings.CutPrefix(key, "path/"); ok && !strings.Contains(path, "{"+name+"}") {
			t.Errorf("%s: parameter %s is not in the path", at, name)
		}
	}
	responses := o["responses"].(map[string]any)
	for status, r := range responses {
		m := r.(map[string]any)
		if !regexp.MustCompile(`^([1-5][0-9][0-9]|default)$`).MatchString(status) || m["description"] == nil && m["$ref"] == nil {
			t.Errorf("%s: response %s is %v", at, status, m)
		}
	}
	if responses["200"] == nil || responses["default"] == nil {
		t.Errorf("%s: responses %v", at, responses)
	}
	if b, ok := o["requestBody"].(map[string]any); ok && b["content"] == nil {
		t.Errorf("%s: the body has no content", at)
	}
	schemes := doc["components"].(map[string]any)["securitySchemes"].(map[string]any)
	for _, alternative := range o["security"].([]any) {
		for scheme := range alternative.(map[string]any) {
			if schemes[scheme] == nil {
				t.Errorf("%s: no security scheme %s", at, scheme)
			}
		}
	}
}

// An endpoint that asks for no credential is one that was meant to.
func TestOpenAPI_WithoutCredential(t *testing.T) {
	doc, raw := describedAs(t, controltest.New(t))
	var open []string
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			if len(o.(map[string]any)["security"].([]any)) == 0 {
				open = append(open, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(open)
	if want := []string{"GET " + api.PathOpenAPI, "GET " + api.PathHealth, "POST " + api.PathEnrol}; !slices.Equal(open, want) {
		t.Errorf("without a credential: %v, want %v", open, want)
	}
	if len(raw) > 1<<20 {
		t.Errorf("the document has %d bytes", len(raw))
	}
}

// The document is made once; making it is quick, and serving it is copying.
func BenchmarkOpenAPI(b *testing.B) {
	s := controltest.New(b)
	for b.Loop() {
		if _, err := control.DescribeAnew(s.Control); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOpenAPI_IsMadeOnce(t *testing.T) {
	s := controltest.New(t)
	one, err := s.Control.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Control.OpenAPI()
	if err != nil || &one[0] != &two[0] {
		t.Errorf("it is made again: %v", err)
	}
	if !json.Valid(one) {
		t.Error("it is not JSON")
	}
}
