package server_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/localsock"
)

var update = flag.Bool("update", false, "rewrite golden files")

// fakeSessions has an agent for every account, and notes whose was asked for.
type fakeSessions struct {
	mu    sync.Mutex // guards what follows
	asked []string
	agent *fakeAgent
	held  int
}

func (f *fakeSessions) note(account, profile string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.TrimSuffix(account+"/"+profile, "/"))
}

func (f *fakeSessions) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := strings.Join(f.asked, " ")
	f.asked = nil
	return out
}

func (f *fakeSessions) Session(_ context.Context, account, profile string) (server.Agent, func(), error) {
	f.note(account, profile)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held++
	return f.agent, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.held--
	}, nil
}

func (f *fakeSessions) list(account string) (localapi.ProfileList, error) {
	f.note(account, "")
	return localapi.ProfileList{SchemaVersion: 1, Profiles: []localapi.Profile{{Name: "default", Current: true}}}, nil
}

func (f *fakeSessions) Profiles(_ context.Context, a string) (localapi.ProfileList, error) {
	return f.list(a)
}

func (f *fakeSessions) AddProfile(_ context.Context, a, _ string) (localapi.ProfileList, error) {
	return f.list(a)
}

func (f *fakeSessions) UseProfile(_ context.Context, a, _ string) (localapi.ProfileList, error) {
	return f.list(a)
}

func (f *fakeSessions) RemoveProfile(_ context.Context, a, _ string, _ bool) (localapi.ProfileList, error) {
	return f.list(a)
}

func (f *fakeSessions) RenameProfile(_ context.Context, a, _, _ string) (localapi.ProfileList, error) {
	return f.list(a)
}

func (f *fakeSessions) Sessions() localapi.SessionList {
	f.note("all", "")
	return localapi.SessionList{SchemaVersion: 1, Sessions: []localapi.Session{}}
}

// kindsOfCaller are the columns of the golden table: who calls which service, and for whom.
var kindsOfCaller = []struct {
	name          string
	owner, caller localsock.Caller
	unknown       bool
	forUser       string
}{
	{name: "per-user service, its user", owner: owner, caller: owner},
	{name: "per-user service, another user", owner: owner, caller: other},
	{name: "per-user service, another user for its user", owner: owner, caller: other, forUser: "1000"},
	{name: "per-user service, root", owner: owner, caller: root},
	{name: "per-user service, root for its user", owner: owner, caller: root, forUser: "1000"},
	{name: "per-user service, root for another user", owner: owner, caller: root, forUser: "1001"},
	{name: "per-user service, unknown", owner: owner, unknown: true},
	{name: "system service, a user", owner: root, caller: owner},
	{name: "system service, a user for another", owner: root, caller: owner, forUser: "1001"},
	{name: "system service, a user for root", owner: root, caller: owner, forUser: "0"},
	{name: "system service, root", owner: root, caller: root},
	{name: "system service, root for a user", owner: root, caller: root, forUser: "1000"},
	{name: "system service, unknown", owner: root, unknown: true},
	{name: "Windows service, a user", owner: winSystem, caller: winUser},
	{name: "Windows service, a user for another", owner: winSystem, caller: winUser, forUser: winOther.SID},
	{name: "Windows service, an elevated user", owner: winSystem, caller: winElevated},
	{name: "Windows service, an elevated user for another", owner: winSystem, caller: winElevated, forUser: winOther.SID},
	{name: "elevated per-user service, the same SID filtered", owner: winElevated, caller: winUser},
}

var (
	winSystem   = localsock.Caller{SID: "S-1-5-18", Privileged: true}
	winUser     = localsock.Caller{SID: "S-1-5-21-1-2-3-1001"}
	winElevated = localsock.Caller{SID: "S-1-5-21-1-2-3-1001", Privileged: true}
	winOther    = localsock.Caller{SID: "S-1-5-21-1-2-3-1002"}
)

// TestRoutes_Golden is every route of the table as every kind of caller. A route that is not in the golden file fails.
func TestRoutes_Golden(t *testing.T) {
	rows := map[server.RouteForTest][]string{}
	var b strings.Builder
	b.WriteString("# Every route as every kind of caller: whose session answers, or - for a refusal.\n")
	for i, k := range kindsOfCaller {
		fmt.Fprintf(&b, "# %2d %s\n", i+1, k.name)
		sessions := &fakeSessions{agent: &fakeAgent{echo: "127.0.0.1:1"}}
		f := setup(t, server.Config{Agents: sessions, Owner: k.owner})
		f.ln.as(k.caller)
		if k.unknown {
			f.ln.mu.Lock()
			f.ln.err = localsock.ErrUnknownPeer
			f.ln.mu.Unlock()
		}
		for _, rt := range f.server.RoutesForTest() {
			headers := ""
			if k.forUser != "" {
				headers = localapi.HeaderForUser + ": " + k.forUser + "\r\n"
			}
			served, whose := f.classify(t, rt, headers), sessions.take()
			switch {
			case !served && whose != "":
				t.Errorf("%s: %s %s was refused and the session of %s was asked for", k.name, rt.Method, rt.Path, whose)
			case !served:
				whose = "-"
			case whose == "":
				whose = "served"
			}
			rows[rt] = append(rows[rt], strings.TrimPrefix(whose, "S-1-5-21-1-2-3-"))
		}
	}
	for _, rt := range slices.SortedFunc(maps.Keys(rows), func(x, y server.RouteForTest) int {
		return cmp.Or(strings.Compare(x.Path, y.Path), strings.Compare(x.Method, y.Method))
	}) {
		fmt.Fprintf(&b, "%-6s %-24s %-8s  %s\n", rt.Method, rt.Path, rt.Tier, strings.Join(rows[rt], "  "))
	}
	path := filepath.Join("testdata", "routes.golden")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("the routes differ from %s; look at each line, then run with -update:\n%s", path, diff)
	}
}

// classify sends a request of a route and reports whether the caller was served. The body may say nothing, which
// handlers may well find invalid: they were reached then.
func (f *fixture) classify(tb testing.TB, rt server.RouteForTest, headers string) (served bool) {
	tb.Helper()
	body := "{}"
	switch {
	case rt.Method == http.MethodGet:
		body = ""
	case rt.Path == localapi.PathProfileRename:
		body = `{"name":"a","new_name":"b"}`
	case strings.HasPrefix(rt.Path, localapi.PathProfiles):
		body = `{"name":"a"}`
	}
	c := f.dial(tb)
	defer func() { _ = c.Close() }()
	_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		rt.Method, rt.Path, headers, len(body), body)
	must(tb, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(tb, err)
	defer func() {
		_ = c.Close() // first, or closing the body of a stream would wait for its end
		_ = resp.Body.Close()
	}()
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == "application/x-ndjson" {
		return true // a stream, which does not end
	}
	data, err := io.ReadAll(resp.Body)
	must(tb, err)
	if resp.StatusCode != http.StatusForbidden {
		return true
	}
	e := decodeError(tb, string(data))
	if e.Code != localapi.CodePermission {
		tb.Errorf("%s %s: %+v", rt.Method, rt.Path, e)
	}
	if e.Command == "" && !strings.Contains(e.Message, "does not say who") {
		tb.Errorf("%s %s: a refusal without the command that would work: %+v", rt.Method, rt.Path, e)
	}
	return false
}

// TestRoutes_TCP: a connection that the kernel does not name a caller for is closed without a word.
func TestRoutes_TCP(t *testing.T) {
	agent := &fakeAgent{}
	s, err := server.New(server.Config{Agent: agent, Owner: owner})
	must(t, err)
	addr := serveTCP(t, s)
	for _, rt := range s.RoutesForTest() {
		c := dialAddr(t, addr)
		_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", rt.Method, rt.Path)
		b, rerr := io.ReadAll(c)
		if len(b) != 0 {
			t.Errorf("%s %s: %q (%v, %v); want nothing", rt.Method, rt.Path, b, err, rerr)
		}
	}
	if calls := agent.called(); len(calls) != 0 {
		t.Errorf("the agent was asked: %q", calls)
	}
}

// TestRefusal_Command: the command line of a refusal is whole.
func TestRefusal_Command(t *testing.T) {
	const sock = "warp-cli --socket /run/user/1000/weft/warp.sock "
	for _, tt := range []struct {
		name          string
		owner, caller localsock.Caller
		method, path  string
		headers       string
		want          string
	}{
		{"another user", owner, other, "POST", "/v1/disconnect", "", "sudo -u '#1000' " + sock + "disconnect"},
		{"another user with a profile", owner, other, "POST", "/v1/disconnect", "Weft-Profile: acme\r\n", "sudo -u '#1000' " + sock + "--profile acme disconnect"},
		{"root who names nobody", owner, root, "GET", "/v1/status", "", sock + "--for-user 1000 status"},
		{"a user who acts for another", root, owner, "POST", "/v1/disconnect", "Weft-For-User: bob\r\n", "sudo " + sock + "--for-user bob disconnect"},
		{"a user who asks to be quoted", root, owner, "POST", "/v1/disconnect", "Weft-For-User: a;b 'c'\r\n", "sudo " + sock + `--for-user 'a;b '\''c'\''' disconnect`},
		{"a user at an administrator's route", root, owner, "GET", "/v1/sessions", "", "sudo " + sock + "profile sessions"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t, server.Config{Agents: &fakeSessions{agent: &fakeAgent{}}, Owner: tt.owner})
			f.ln.as(tt.caller)
			status, body := f.doWith(t, tt.method, tt.path, tt.headers, "")
			e := decodeError(t, body)
			if status != 403 || e.Command != tt.want || !strings.Contains(e.Hint, tt.want) || e.Message == "" {
				t.Errorf("status %d, %s; want %s", status, body, tt.want)
			}
			if n := f.server.Stats().NotAllowed; n != 1 {
				t.Errorf("%d refusals counted", n)
			}
		})
	}
}

// TestSession_Chosen: account and profile reach the sessions as asked, and what was taken is given back.
func TestSession_Chosen(t *testing.T) {
	sessions := &fakeSessions{agent: &fakeAgent{}}
	f := setup(t, server.Config{Agents: sessions, Owner: root})
	for _, tt := range []struct {
		name    string
		caller  localsock.Caller
		headers string
		status  int
		want    string
	}{
		{"nothing said", owner, "", 200, "1000"},
		{"a profile", owner, "Weft-Profile: acme-2\r\n", 200, "1000/acme-2"},
		{"oneself", owner, "Weft-For-User: 1000\r\n", 200, "1000"},
		{"a user by an administrator", root, "Weft-For-User: 1001\r\nWeft-Profile: acme\r\n", 200, "1001/acme"},
		{"a user by name", root, "Weft-For-User: root\r\n", 200, "0"},
		{"a user whom nobody knows", root, "Weft-For-User: no such user\r\n", 404, ""},
		{"a uid with a leading zero", root, "Weft-For-User: 01000\r\n", 404, ""},
		{"a uid that is a path", root, "Weft-For-User: ../1000\r\n", 404, ""},
		{"a SID that is a path", root, "Weft-For-User: S-1-5/../x\r\n", 404, ""},
		{"two profiles", owner, "Weft-Profile: a\r\nWeft-Profile: b\r\n", 400, ""},
		{"an empty profile", owner, "Weft-Profile:\r\n", 400, ""},
		{"a profile that is a path", owner, "Weft-Profile: ../x\r\n", 400, ""},
		{"a profile in capitals", owner, "Weft-Profile: ACME\r\n", 400, ""},
		{"two users", root, "Weft-For-User: 1\r\nWeft-For-User: 2\r\n", 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.ln.as(tt.caller)
			status, body := f.doWith(t, "GET", "/v1/status", tt.headers, "")
			if got := sessions.take(); status != tt.status || got != tt.want {
				t.Errorf("status %d, session %q; want %d, %q: %s", status, got, tt.status, tt.want, body)
			}
		})
	}
	sessions.mu.Lock()
	defer sessions.mu.Unlock()
	if sessions.held != 0 {
		t.Errorf("%d sessions were not given back", sessions.held)
	}
}

// TestForUser_IsLogged: what an administrator does for a user is on record, with who did it.
func TestForUser_IsLogged(t *testing.T) {
	var log safeBuffer
	f := setup(t, server.Config{
		Agents: &fakeSessions{agent: &fakeAgent{}}, Owner: root, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	f.ln.as(root)
	for _, path := range []string{"/v1/disconnect", "/v1/profiles"} {
		f.doWith(t, "POST", path, "Weft-For-User: 1000\r\nWeft-Profile: acme\r\n", `{"name":"x"}`)
		want := `msg="administrator acts for a user" method=POST path=` + path + ` caller.uid=0 caller.pid=3 user_id=1000 profile=acme`
		if got := log.String(); !strings.Contains(got, want) {
			t.Errorf("log %q; want %q", got, want)
		}
	}
	f.doWith(t, "POST", "/v1/disconnect", "", "")
	if n := strings.Count(log.String(), "acts for a user"); n != 2 {
		t.Errorf("%d lines; what one does for oneself is nothing to tell", n)
	}
	f.ln.as(owner)
	f.doWith(t, "POST", "/v1/disconnect", "Weft-For-User: 1001\r\n", "")
	if got := log.String(); !strings.Contains(got, `refused a caller" method=POST path=/v1/disconnect caller.uid=1000 caller.pid=1 for_user=1001`) {
		t.Errorf("log %q lacks the refusal", got)
	}
}

// safeBuffer is a buffer that several goroutines write to.
type safeBuffer struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestProfiles_Routes(t *testing.T) {
	sessions := &fakeSessions{agent: &fakeAgent{}}
	f := setup(t, server.Config{Agents: sessions, Owner: owner})
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"list", "GET", "/v1/profiles", "", 200},
		{"show", "GET", "/v1/profiles?name=default", "", 200},
		{"show one that is not there", "GET", "/v1/profiles?name=acme", "", 404},
		{"show nothing", "GET", "/v1/profiles?name=", "", 400},
		{"add", "POST", "/v1/profiles", `{"name":"acme"}`, 200},
		{"add without a name", "POST", "/v1/profiles", `{}`, 400},
		{"add a path", "POST", "/v1/profiles", `{"name":"../acme"}`, 400},
		{"add a long name", "POST", "/v1/profiles", `{"name":"` + strings.Repeat("a", 33) + `"}`, 400},
		{"use", "POST", "/v1/profiles/use", `{"name":"acme"}`, 200},
		{"remove", "POST", "/v1/profiles/remove", `{"name":"acme","force":true}`, 200},
		{"remove with a typing error", "POST", "/v1/profiles/remove", `{"name":"acme","forse":true}`, 400},
		{"rename", "POST", "/v1/profiles/rename", `{"name":"acme","new_name":"acme-eu"}`, 200},
		{"rename to nothing", "POST", "/v1/profiles/rename", `{"name":"acme","new_name":""}`, 400},
		{"sessions", "GET", "/v1/sessions", "", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := f.doWith(t, tt.method, tt.path, "", tt.body)
			var head struct {
				SchemaVersion int `json:"schema_version"`
			}
			if err := json.Unmarshal([]byte(body), &head); status != tt.status || err != nil || head.SchemaVersion != 1 {
				t.Errorf("status %d, %s; want %d", status, body, tt.status)
			}
		})
	}
}
