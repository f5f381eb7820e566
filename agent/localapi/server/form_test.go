package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

// TestForm: what no client of ours sends is refused before any handler.
func TestForm(t *testing.T) {
	const host = "Host: localhost\r\n"
	for _, tt := range []struct {
		name, raw string
		status    int
		counted   func(server.Stats) uint64
	}{
		{"absolute form", "GET http://localhost/v1/status HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"absolute form of another host", "GET http://evil.example/v1/status HTTP/1.1\r\n" + host + "\r\n", 403, browsers},
		{"absolute form with a user", "GET http://root@localhost/v1/status HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"CONNECT", "CONNECT localhost HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"CONNECT with a port", "CONNECT localhost:22 HTTP/1.1\r\n" + host + "\r\n", 403, browsers},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"two slashes", "GET //v1/status HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"a path with dots", "GET /v1/x/../status HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"an escaped path", "GET /v1/%73tatus HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"an escaped slash", "GET /v1%2fstatus HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"a slash at the end", "GET /v1/status/ HTTP/1.1\r\n" + host + "\r\n", 400, heads},
		{"HTTP/2 without prior word", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403, browsers},
		{"HTTP/1.0 without a host", "GET /v1/status HTTP/1.0\r\n\r\n", 403, browsers},
		{"two hosts", "GET /v1/status HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", 400, nil},
		{"a GET with a body", "GET /v1/status HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nGET ", 400, bodies},
		{"a GET with a chunked body", "GET /v1/status HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, bodies},
		{"two lengths", "POST /v1/vnet HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}", 400, nil},
		{"a negative length", "POST /v1/vnet HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n{}", 400, nil},
		{"a coding that nobody knows", "POST /v1/vnet HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, nil},
		{"a folded header", "GET /v1/status HTTP/1.1\r\n" + host + "Weft-Profile: a\r\n b\r\n\r\n", 400, nil},
		{"a blank before the colon", "GET /v1/status HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, nil},
		{"many headers", "GET /v1/status HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", 70) + "\r\n", 429, heads},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t, server.Config{})
			c := f.dial(t)
			_, err := io.WriteString(c, tt.raw)
			must(t, err)
			must(t, c.CloseWrite())
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
			must(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			must(t, err)
			must(t, resp.Body.Close())
			if resp.StatusCode != tt.status {
				t.Errorf("status %d; want %d", resp.StatusCode, tt.status)
			}
			if b, err := io.ReadAll(r); len(b) != 0 {
				t.Errorf("and then: %q, %v", b, err)
			}
			if calls := f.agent.called(); len(calls) != 0 {
				t.Errorf("the agent was asked: %q", calls)
			}
			if tt.counted != nil && tt.counted(f.server.Stats()) == 0 {
				t.Errorf("not counted: %+v", f.server.Stats())
			}
		})
	}
}

func heads(s server.Stats) uint64    { return s.BadHeads }
func browsers(s server.Stats) uint64 { return s.Browser }
func bodies(s server.Stats) uint64   { return s.OverBody }

// exchange sends bytes on one connection and returns the statuses of all answers.
func (f *fixture) exchange(tb testing.TB, raw string) []int {
	tb.Helper()
	c := f.dial(tb)
	_, err := io.WriteString(c, raw)
	must(tb, err)
	must(tb, c.CloseWrite())
	var statuses []int
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
}

// TestIdentity_EachRequest: the caller is asked for on every request of a connection, in whatever form it comes, and
// nothing before it on the connection lets one through.
func TestIdentity_EachRequest(t *testing.T) {
	const (
		get  = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
		post = "POST /v1/disconnect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
	)
	for _, tt := range []struct {
		name, raw string
		want      int // answers that are refusals
	}{
		{"pipelined", get + post + get + post, 4},
		{"HTTP/1.0", strings.ReplaceAll(post, "HTTP/1.1", "HTTP/1.0"), 1},
		{"HTTP/1.0 kept alive", strings.ReplaceAll(post, "HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n") + post, 2},
		{"Upgrade to HTTP/2", strings.Replace(post, "\r\n\r\n", "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 1), 1},
		{"Upgrade to a stream", strings.Replace(post, "\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: weft-stream\r\n\r\n", 1), 1},
		{"dial", "POST /v1/dial HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: weft-stream\r\nContent-Length: 24\r\n\r\n" + `{"name":"db","port":22} `, 1},
		{"length and chunks", "POST /v1/disconnect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + post, 2},
		{"chunked with a request in the trailer", "POST /v1/disconnect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Remote-User: root\r\n\r\n" + post, 2},
		{"an interim answer asked for", strings.Replace(post, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for who, as := range map[string]func(*fixture){
				"another user": func(f *fixture) { f.ln.as(other) },
				"unknown": func(f *fixture) {
					f.ln.mu.Lock()
					defer f.ln.mu.Unlock()
					f.ln.err = localsock.ErrUnknownPeer
				},
			} {
				f := setup(t, server.Config{})
				as(f)
				statuses := f.exchange(t, tt.raw)
				refused := 0
				for _, s := range statuses {
					switch s {
					case http.StatusForbidden:
						refused++
					case http.StatusBadRequest: // and the connection is closed
					default:
						t.Errorf("%s: answers %v", who, statuses)
					}
				}
				// One whose caller is unknown is told so once, and the connection is closed.
				if want := map[bool]int{true: 1, false: tt.want}[who == "unknown"]; refused != want {
					t.Errorf("%s: answers %v; want %d refusals", who, statuses, want)
				}
				if calls := f.agent.called(); len(calls) != 0 {
					t.Errorf("%s: the agent was asked: %q", who, calls)
				}
			}
		})
	}
}

// TestIdentity_NotFromHeaders: what programs in between would say of their callers means nothing, for better or worse.
func TestIdentity_NotFromHeaders(t *testing.T) {
	f := setup(t, server.Config{})
	const claims = "X-Remote-User: root\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: root\r\nX-Weft-Uid: 1000\r\nX-Real-IP: 127.0.0.1\r\n" +
		"Forwarded: for=127.0.0.1;by=root\r\nRemote-User: root\r\nRemote-Uid: 0\r\nAuthorization: Basic cm9vdDo=\r\nProxy-Authorization: Basic cm9vdDo=\r\n" +
		"Cookie: uid=0\r\nFrom: root@localhost\r\nVia: 1.1 agent\r\nGrpc-Metadata-Uid: 0\r\n"
	f.ln.as(other)
	for _, rt := range allRoutes {
		status, body := f.doWith(t, rt.method, rt.path, claims, rt.body)
		if e := decodeError(t, body); status != 403 || e.Code != localapi.CodePermission {
			t.Errorf("%s %s with claims: %d, %s", rt.method, rt.path, status, body)
		}
	}
	if calls := f.agent.called(); len(calls) != 0 {
		t.Errorf("the agent was asked: %q", calls)
	}
	f.ln.as(owner)
	if status, body := f.doWith(t, "GET", "/v1/status", claims, ""); status != 200 {
		t.Errorf("the owner with claims: %d, %s", status, body)
	}
}

// TestIdentity_HandlersSeeNoClaims: they are taken away before any handler could believe them.
func TestIdentity_HandlersSeeNoClaims(t *testing.T) {
	h := http.Header{}
	for _, name := range []string{"X-Remote-User", "X-Forwarded-For", "Forwarded", "Remote-User", "Authorization", "Cookie", "Via", "From", "Grpc-Metadata-Uid"} {
		h.Set(name, "root")
	}
	h.Set(localapi.HeaderProfile, "acme")
	h.Set("Content-Type", "application/json")
	server.DropClaimsForTest(h)
	if len(h) != 2 || h.Get(localapi.HeaderProfile) != "acme" {
		t.Errorf("left: %v", h)
	}
}

// TestLimits: slow, endless and oversized heads and bodies end, give their place back, and are counted.
func TestLimits(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for _, tt := range []struct {
		name, raw string
		counted   func(server.Stats) uint64
	}{
		{"a head that never ends", "GET /v1/status HTTP/1.1\r\nHost: local", heads},
		{"a head of too many bytes", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nA: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", heads},
		{"a target of too many bytes", "GET /v1/status?" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\n\r\n", heads},
		{"a head that is none", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", heads},
		{"a body that never ends", "POST /v1/vnet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", func(s server.Stats) uint64 { return s.SlowBodies }},
		{"a body of too many bytes", "POST /v1/vnet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n" + `{"vnet":"` + strings.Repeat("x", 70000-10), bodies},
		{"endless chunks", "POST /v1/vnet HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1ffff\r\n" + `{"vnet":"` + strings.Repeat("x", 1<<17-1-9) + "\r\n", bodies},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t, server.Config{MaxConns: 2, MaxConnsPerUser: 1, HeadTimeout: timeout, BodyTimeout: timeout})
			c := f.dial(t)
			_, _ = io.WriteString(c, tt.raw) // the server may close before its end
			testwait.Until(t, "the limit", func() bool { return tt.counted(f.server.Stats()) == 1 })
			_ = c.Close()
			testwait.Until(t, "the place given back", func() bool {
				status, _ := f.do(t, "GET", "/v1/version", "")
				return status == 200
			})
			if calls := f.agent.called(); len(calls) != 0 {
				t.Errorf("the agent was asked: %q", calls)
			}
		})
	}
}

// TestLimits_PerUser: one account cannot take what another needs, neither streams nor dials.
func TestLimits_PerUser(t *testing.T) {
	hold := make(chan struct{})
	sessions := &fakeSessions{agent: &fakeAgent{hold: hold, echo: "127.0.0.1:1"}}
	f := setup(t, server.Config{Agents: sessions, Owner: root, MaxDials: 3, MaxDialsPerUser: 2, MaxStreams: 3, MaxStreamsPerUser: 2})
	dial := func() string {
		c := f.dial(t)
		_, err := io.WriteString(c, dialRequest(dialBody, ""))
		must(t, err)
		return "started"
	}
	f.ln.as(owner)
	dial()
	dial()
	testwait.Until(t, "two dials", func() bool { return len(sessions.agent.called()) == 2 })
	if status, body := f.request(t, dialRequest(dialBody, "")); status != 429 || f.server.Stats().OverDials != 1 {
		t.Errorf("a third dial of a user: %d, %s", status, body)
	}
	f.ln.as(other)
	dial()
	testwait.Until(t, "another user's dial", func() bool { return len(sessions.agent.called()) == 3 })
	if status, body := f.request(t, dialRequest(dialBody, "")); status != 429 || f.server.Stats().OverDials != 2 {
		t.Errorf("a fourth dial in all: %d, %s", status, body)
	}
	close(hold)

	stream := func() int {
		c := f.dial(t)
		_, err := fmt.Fprint(c, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		must(t, err)
		status := 0
		_, err = fmt.Fscanf(c, "HTTP/1.1 %d", &status)
		must(t, err)
		return status
	}
	for i, want := range []struct {
		who    localsock.Caller
		status int
	}{{owner, 200}, {owner, 200}, {owner, 429}, {other, 200}, {other, 429}} {
		f.ln.as(want.who)
		if status := stream(); status != want.status {
			t.Errorf("stream %d of %s: %d; want %d", i, want.who, status, want.status)
		}
	}
	if n := f.server.Stats().OverStreams; n != 2 {
		t.Errorf("%d streams counted", n)
	}
}

// TestConns_LateCaller: where the caller is known only with the first request, connections count as the caller's from
// then on, and those that say nothing end.
func TestConns_LateCaller(t *testing.T) {
	f := setup(t, server.Config{MaxConns: 8, MaxConnsPerUser: 2, HeadTimeout: 2 * time.Second})
	f.ln.mu.Lock()
	f.ln.late = true
	f.ln.mu.Unlock()
	hold := func() int {
		c := f.dial(t)
		_, err := io.WriteString(c, "GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		return resp.StatusCode
	}
	for i, want := range []int{200, 200, 429} {
		if got := hold(); got != want {
			t.Errorf("connection %d of a user: %d; want %d", i+1, got, want)
		}
	}
	f.ln.as(other)
	if got := hold(); got != 403 { // known, and not the owner
		t.Errorf("another user: %d", got)
	}
	if n := f.server.Stats().OverConns; n != 1 {
		t.Errorf("%d counted", n)
	}
	// Two that say nothing take the places of callers not known yet, and lose them.
	f.dial(t)
	f.dial(t)
	testwait.Until(t, "places for callers not known yet", func() bool {
		status, _ := f.do(t, "GET", "/v1/version", "")
		return status == 403
	})
}
