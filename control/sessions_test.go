package control_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
	"weft/internal/kind"
)

func liveSession(id, email string, start int64) api.Session {
	return api.Session{
		ID: id, State: api.SessionOpen, Email: email, UserID: "u-" + email, DeviceID: "d1", DeviceName: "laptop", TargetID: "t1", Hostname: "web-1",
		VNETID: "v1", VNETName: "office", Source: netip.MustParseAddrPort("100.64.0.1:4000"), Destination: netip.MustParseAddrPort("10.20.0.5:22"),
		Protocol: "SSH", Transport: "tcp", Login: "root", StartedAt: time.Unix(start, 0).UTC(),
	}
}

func sessionIDs(l []api.Session) (out []string) {
	for _, s := range l {
		out = append(out, s.ID+"@"+s.GatewayName)
	}
	return out
}

func TestSessions_List(t *testing.T) {
	s := controltest.New(t)
	one, two := s.FakeGateway("one"), s.FakeGateway("two")
	one.Put(liveSession("s1", "a@company.com", 100))
	two.Put(liveSession("s2", "b@company.com", 200))
	one.Put(liveSession("s3", "c@company.com", 300))
	var out api.Sessions
	begin := time.Now()
	s.Call(http.MethodGet, api.PathSessions, nil, &out)
	t.Logf("listed in %v", time.Since(begin))
	if diff := cmp.Diff([]string{"s3@one", "s2@two", "s1@one"}, sessionIDs(out.Sessions)); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if !out.Complete || len(out.Gateways) != 2 || out.SchemaVersion != api.SessionsSchemaVersion {
		t.Errorf("%+v", out)
	}
	s.Call(http.MethodGet, api.PathSessions+"?gateway=ONE&limit=1", nil, &out)
	if got := sessionIDs(out.Sessions); len(got) != 1 || got[0] != "s3@one" || out.Complete || len(out.Gateways) != 1 || out.Gateways[0].Total != 2 {
		t.Errorf("%+v", out)
	}
	// A gateway that does not listen is named, and the others answer.
	two.Silence()
	s.Call(http.MethodGet, api.PathSessions, nil, &out)
	if out.Complete || len(out.Sessions) != 2 || out.Gateways[0].Name != "one" || !out.Gateways[0].Answered || out.Gateways[1].Answered {
		t.Errorf("%+v", out)
	}
}

func TestSessions_Refusals(t *testing.T) {
	s := controltest.New(t)
	gw := s.FakeGateway("one")
	gw.Put(liveSession("s1", "a@company.com", 100))
	reader, err := s.Control.CreateToken(t.Context(), store.TokenFields{Name: "reader", Permissions: []string{"Zero Trust Read"}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Control.CreateToken(t.Context(), store.TokenFields{Name: "other", Permissions: []string{"Access: Apps and Policies Write"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, token, method, path string
		in                        any
		want                      kind.Kind
	}{
		{"a reader lists", reader, http.MethodGet, api.PathSessions, nil, ""},
		{"another area does not", other, http.MethodGet, api.PathSessions, nil, kind.Denied},
		{"a reader does not kill", reader, http.MethodDelete, api.PathSessions + "/s1", nil, kind.Denied},
		{"nobody lists", "", http.MethodGet, api.PathSessions, nil, kind.Unauthenticated},
		{"no limit below 0", s.Token, http.MethodGet, api.PathSessions + "?limit=-1", nil, kind.Invalid},
		{"no long filter", s.Token, http.MethodGet, api.PathSessions + "?user=" + strings.Repeat("x", 301), nil, kind.Invalid},
		{"no unknown gateway", s.Token, http.MethodGet, api.PathSessions + "?gateway=three", nil, kind.NotFound},
		{"no unknown session", s.Token, http.MethodDelete, api.PathSessions + "/nobody", nil, kind.NotFound},
		{"no very long ID", s.Token, http.MethodDelete, api.PathSessions + "/" + strings.Repeat("x", 500), nil, kind.NotFound},
		{"no long reason", s.Token, http.MethodDelete, api.PathSessions + "/s1", api.SessionKill{Reason: strings.Repeat("x", 301)}, kind.Invalid},
		{"no control characters", s.Token, http.MethodDelete, api.PathSessions + "/s1", api.SessionKill{Reason: "a\x1b[2Jb"}, kind.Invalid},
		{"no two lines", s.Token, http.MethodDelete, api.PathSessions + "/s1", api.SessionKill{Reason: "a\nb"}, kind.Invalid},
		{"no unknown fields", s.Token, http.MethodDelete, api.PathSessions + "/s1", map[string]string{"why": "x"}, kind.Invalid},
	} {
		err := s.ClientWith(api.Secret(tt.token)).Do(t.Context(), tt.method, tt.path, tt.in, nil)
		if tt.want == "" && err != nil || tt.want != "" && !kind.Is(err, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if k := gw.Kills(); len(k) != 1 || k[0].SessionID != "nobody" {
		t.Errorf("the gateway was asked %+v", k)
	}
}

func TestSessions_Kill(t *testing.T) {
	s := controltest.New(t)
	s.FakeGateway("one")
	two := s.FakeGateway("two")
	two.Put(liveSession("s2", "b@company.com", 200))
	two.Put(liveSession("s3", "b@company.com", 200))
	var out api.SessionKilled
	s.Call(http.MethodDelete, api.PathSessions+"/s2", api.SessionKill{Reason: " maintenance "}, &out)
	if out.Already || out.Session.ID != "s2" || out.Session.GatewayName != "two" {
		t.Errorf("%+v", out)
	}
	if k := two.Kills(); len(k) != 1 || k[0] != (api.KillQuestion{SessionID: "s2", Reason: "maintenance", By: "test"}) {
		t.Errorf("the gateway was asked %+v", k)
	}
	s.Call(http.MethodDelete, api.PathSessions+"/s2", nil, &out)
	if !out.Already {
		t.Error("the second time it is killed anew")
	}
	two.End("s3", "closed")
	if err := s.Client.Do(t.Context(), http.MethodDelete, api.PathSessions+"/s3", nil, nil); !kind.Is(err, kind.NotFound) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("one that had ended: %v", err)
	}
	var got []string
	for _, e := range auditEvents(t, s) {
		if e.ObjectType == "sessions" {
			got = append(got, e.Actor.Type+" "+e.Action+" "+e.ObjectID)
			if e.Action == "session.kill" && e.ObjectID == "s2" && len(got) > 5 && !strings.Contains(string(e.Detail), `"maintenance"`) {
				t.Errorf("detail %s", e.Detail)
			}
		}
	}
	want := []string{
		"token session.kill_failed s3", "token session.kill s3", "token session.killed s2", "token session.kill s2",
		"token session.killed s2", "token session.kill s2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on record, newest first (-want +got):\n%s", diff)
	}
}

// A kill must not be lost while its gateway is away for a moment, and must not be said to have worked while it is away for long.
func TestSessions_KillWaitsForTheGateway(t *testing.T) {
	s := controltest.New(t)
	gw := s.FakeGateway("one")
	s.Control.SetKillTimeoutForTest(time.Minute)
	gw.Put(liveSession("s1", "a@company.com", 100))
	gw.Silence()
	done := make(chan error, 1)
	go func() { done <- s.Client.Do(t.Context(), http.MethodDelete, api.PathSessions+"/s1", nil, nil) }()
	eventually(t, "the wish is on record", func() bool {
		for _, e := range auditEvents(t, s) {
			if e.Action == "session.kill" {
				return true
			}
		}
		return false
	})
	gw.Listen(s)
	if err := <-done; err != nil {
		t.Errorf("killed after the gateway came back: %v", err)
	}
	if len(gw.Kills()) == 0 {
		t.Error("the gateway was not asked")
	}
	gw.Silence()
	s.Control.SetKillTimeoutForTest(10 * time.Millisecond)
	err := s.Client.Do(t.Context(), http.MethodDelete, api.PathSessions+"/s1", nil, nil)
	if !kind.Is(err, kind.Unavailable) || !strings.Contains(err.Error(), "one") {
		t.Errorf("killed without a gateway: %v, want one that names it", err)
	}
}

func auditEvents(t *testing.T, s *controltest.Server) (out []store.AuditEvent) {
	t.Helper()
	err := s.Control.StoreForTest().View(t.Context(), func(r *store.Reader) (err error) {
		out, err = r.AuditEvents(t.Context(), 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSessions_Watch(t *testing.T) {
	s := controltest.New(t)
	one, two := s.FakeGateway("one"), s.FakeGateway("two")
	one.Put(liveSession("s1", "a@company.com", 100))
	body, err := s.Client.Stream(t.Context(), api.PathSessionsWatch)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	lines := bufio.NewScanner(body)
	next := func() (e api.SessionsEvent) {
		t.Helper()
		for {
			if !lines.Scan() {
				t.Fatalf("the stream ended: %v", lines.Err())
			}
			e = api.SessionsEvent{}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			if e.Type != api.SessionsHeartbeat {
				return e
			}
		}
	}
	e := next()
	if e.Type != api.SessionsSnapshot || len(e.Put) != 1 || len(e.Gateways) != 2 || !e.Gateways[1].Answered {
		t.Fatalf("first %+v", e)
	}
	two.Put(liveSession("s2", "b@company.com", 200))
	if e = next(); e.Type != api.SessionsDelta || len(e.Put) != 1 || e.Put[0].ID != "s2" || e.Put[0].GatewayName != "two" || len(e.Gateways) != 0 {
		t.Errorf("began: %+v", e)
	}
	changed := liveSession("s2", "b@company.com", 200)
	changed.Login = "admin"
	two.Put(changed)
	if e = next(); len(e.Put) != 1 || e.Put[0].Login != "admin" {
		t.Errorf("changed: %+v", e)
	}
	changed.BytesUp = 7 // bytes alone are no news
	two.Put(changed)
	one.End("s1", "closed")
	if e = next(); len(e.Put) != 0 || len(e.Ended) != 1 || e.Ended[0].ID != "s1" || e.Ended[0].Reason != "closed" {
		t.Errorf("ended: %+v", e)
	}
	two.Silence()
	if e = next(); len(e.Gateways) != 1 || e.Gateways[0].Name != "two" || e.Gateways[0].Answered || len(e.Ended) != 0 {
		t.Errorf("silent: %+v", e)
	}
}

// A gateway with more sessions than it may tell, which come and go faster than it is asked: what is kept in mind is what it told.
func TestSessions_WatchForgetsWhatIsBeyondTheLimit(t *testing.T) {
	w := control.NewSessionWatchForTest()
	const told = 3
	round := func(from int64, skip ...int64) api.SessionsEvent {
		a := api.SessionsAnswer{Epoch: "e", Sequence: uint64(from), Full: true, Total: 100}
		for i := from + told; len(a.Sessions) < told; i-- {
			if !slices.Contains(skip, i) {
				a.Sessions = append(a.Sessions, liveSession(fmt.Sprint("s", i), "a@company.com", i))
			}
		}
		return w.Step("one", a)
	}
	ended := func(e api.SessionsEvent) (out []string) {
		for _, x := range e.Ended {
			out = append(out, x.ID+" "+x.Reason)
		}
		return out
	}
	round(1) // s4 s3 s2
	if e := round(2, 4); !cmp.Equal(ended(e), []string{"s4 " + api.SessionGone}) {
		t.Errorf("one that should be among the newest is not: %+v", e)
	}
	for i := range int64(50) {
		if e := round(10 * (i + 1)); len(e.Ended) != 0 || len(e.Put) != told {
			t.Fatalf("others, all newer: %+v", e)
		}
	}
	if n := w.Known("one"); n != told {
		t.Errorf("%d are kept in mind, want %d", n, told)
	}
}

func TestSessions_WatchesHaveALimitAndEndWithTheToken(t *testing.T) {
	s := controltest.New(t)
	s.FakeGateway("one")
	token, err := s.Control.CreateToken(t.Context(), store.TokenFields{Name: "watcher"})
	if err != nil {
		t.Fatal(err)
	}
	client := s.ClientWith(api.Secret(token))
	var open []io.ReadCloser
	for {
		body, err := client.Stream(t.Context(), api.PathSessionsWatch)
		if err != nil {
			if !kind.Is(err, kind.Limit) {
				t.Fatal(err)
			}
			break
		}
		open = append(open, body)
		if len(open) > 100 {
			t.Fatal("there is no limit")
		}
	}
	if _, err := s.Control.RevokeTokens(t.Context(), "watcher"); err != nil {
		t.Fatal(err)
	}
	for _, body := range open {
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Logf("end of a stream: %v", err)
		}
		_ = body.Close()
	}
	eventually(t, "a place is free", func() bool {
		body, err := s.Client.Stream(t.Context(), api.PathSessionsWatch)
		if err == nil {
			_ = body.Close()
		}
		return err == nil
	})
}

// A gateway that was made a moment ago is among those that are asked, whatever the state is that streams are told.
func TestSessions_NewGateways(t *testing.T) {
	s := controltest.New(t)
	for i := range 20 {
		name := fmt.Sprint("gateway-", i)
		s.Call(http.MethodPost, api.PathGateways, api.NewGateway{Name: name}, nil)
		var out api.Sessions
		s.Call(http.MethodGet, api.PathSessions+"?limit=0", nil, &out)
		if len(out.Gateways) != i+1 {
			t.Fatalf("after %s there are %d gateways: %+v", name, len(out.Gateways), out.Gateways)
		}
		s.Call(http.MethodGet, api.PathSessions+"?limit=0&gateway="+name, nil, &out)
	}
}
