package control_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"weft/api"
	"weft/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(covering{m}) }

// rawClient sends requests as foreign clients do.
type rawClient struct {
	s    *controltest.Server
	http *http.Client
}

func newRawClient(t *testing.T, s *controltest.Server) *rawClient {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return &rawClient{s: s, http: &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is an answer with its envelope.
type reply struct {
	status int
	header http.Header
	raw    []byte
	env    api.Envelope
	result map[string]any
	list   []map[string]any
}

// do sends a request; token "" sends none. Path is below the server, "~" in it stands for the account's path.
func (c *rawClient) do(t *testing.T, method, path, token, body string) reply {
	t.Helper()
	if rest, ok := bytes.CutPrefix([]byte(path), []byte("~")); ok {
		path = c.s.Account(string(rest))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.send(t, req)
}

// send sends a request and checks the form of its answer.
func (c *rawClient) send(t *testing.T, req *http.Request) reply {
	t.Helper()
	method, path := req.Method, req.URL.Path
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	r := reply{status: resp.StatusCode, header: resp.Header, raw: raw}
	if err := json.Unmarshal(raw, &r.env); err != nil {
		t.Fatalf("%s %s: the answer is no envelope: %q", method, path, raw)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s %s: content type is %q", method, path, ct)
	}
	if r.env.Errors == nil || r.env.Messages == nil || len(r.env.Messages) != 0 || r.env.Success != (len(r.env.Errors) == 0) || r.env.Success != (r.status < 300) {
		t.Errorf("%s %s: status %d with envelope %s", method, path, r.status, raw)
	}
	_ = json.Unmarshal(r.env.Result, &r.result) // whichever of the two it is
	_ = json.Unmarshal(r.env.Result, &r.list)
	return r
}

// admin is do with the API token.
func (c *rawClient) admin(t *testing.T, method, path, body string) reply {
	t.Helper()
	return c.do(t, method, path, c.s.Token, body)
}

// good is admin that must succeed.
func (c *rawClient) good(t *testing.T, method, path, body string) reply {
	t.Helper()
	r := c.admin(t, method, path, body)
	if r.status != http.StatusOK {
		t.Fatalf("%s %s %s: status %d: %s", method, path, body, r.status, r.raw)
	}
	return r
}
