package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
)

// FuzzHandler sends any request to a real control plane, with a token that may do everything. Whatever comes, the answer
// is never a 5xx, always has the envelope, and nothing is written unless it is a success.
func FuzzHandler(f *testing.F) {
	s := controltest.New(f)
	all, err := control.TableForTest()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range all {
		path := strings.ReplaceAll(r.Path, "{account}", "~")
		f.Add(r.Method, path, "page=1", bodies[r.Method+" "+strings.Replace(r.Path, accountPath, "~", 1)], "", "application/json")
	}
	for _, o := range objects {
		f.Add("POST", accountPathShort+o.path, "", o.body, "", "application/json")
	}
	f.Add("GET", "/client/v4/accounts/~/teamnet/routes/network/10.0.0.0%2F8", "a=%00", "{", `"x"`, "text/plain")
	f.Add("PATCH", "/client/v4/accounts/~/infrastructure/targets/%ff", "page=-1", "[[[[", "*", "")
	f.Add("PUT", "/", "%", "{\"a\":1,\"A\":2}", "", "application/json;;")
	f.Fuzz(func(t *testing.T, method, path, query, body, ifMatch, contentType string) {
		path = strings.ReplaceAll(path, "~", s.AccountID)
		u, err := url.ParseRequestURI(path)
		if err != nil || len(body) > 2<<20 || !isToken(method) {
			t.Skip()
		}
		u.RawQuery = query
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", bytes.NewReader([]byte(body)))
		r.Method, r.URL, r.RemoteAddr = method, u, "127.0.0.1:1"
		r.Header.Set("Authorization", "Bearer "+s.Token)
		for name, v := range map[string]string{"If-Match": ifMatch, "Content-Type": contentType} {
			if v != "" {
				r.Header[name] = []string{v}
			}
		}
		before := revisionOf(t.Context(), t, s)
		w := httptest.NewRecorder()
		s.Control.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s?%s: %d: %s", method, path, query, w.Code, w.Body)
		}
		if after := revisionOf(t.Context(), t, s); after != before && w.Code != http.StatusOK {
			t.Fatalf("%s %s?%s: status %d, and the revision went from %d to %d", method, path, query, w.Code, before, after)
		}
		checkEnvelope(t, u.Path, w)
	})
}

const accountPathShort = api.PathManagement + "/accounts/~"

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func revisionOf(ctx context.Context, t *testing.T, s *controltest.Server) uint64 {
	t.Helper()
	rev, err := s.Control.RevisionForTest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func checkEnvelope(t *testing.T, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code == http.StatusNotModified || path == api.PathOpenAPI && w.Code == http.StatusOK {
		return
	}
	var env struct {
		Success  *bool             `json:"success"`
		Errors   []api.ErrorItem   `json:"errors"`
		Messages []json.RawMessage `json:"messages"`
		Result   json.RawMessage   `json:"result"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &env); err != nil {
		t.Fatalf("status %d without JSON: %q", w.Code, w.Body)
	}
	switch {
	case env.Success == nil || env.Errors == nil || env.Messages == nil || len(env.Messages) > 0 || env.Result == nil:
		t.Fatalf("status %d with the envelope %s", w.Code, w.Body)
	case *env.Success != (w.Code == http.StatusOK) || *env.Success != (len(env.Errors) == 0):
		t.Fatalf("status %d with the envelope %s", w.Code, w.Body)
	case !*env.Success && (env.Errors[0].Code < 1000 || env.Errors[0].Message == "" || w.Code < 400):
		t.Fatalf("status %d with the envelope %s", w.Code, w.Body)
	case w.Header().Get("Content-Type") != "application/json":
		t.Fatalf("content type %q", w.Header().Get("Content-Type"))
	}
}
