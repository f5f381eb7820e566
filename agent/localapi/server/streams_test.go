package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/agent/relay"
	"weft/internal/testwait"
)

// target accepts one connection at a time and hands it over.
func target(tb testing.TB) (string, <-chan *net.TCPConn) {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	conns := make(chan *net.TCPConn, 16)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- c.(*net.TCPConn)
		}
	})
	tb.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String(), conns
}

const dialBody = `{"name":"db-1","port":22,"vnet":"b1net"}`

func dialRequest(body, more string) string {
	return fmt.Sprintf("POST /v1/dial HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: weft-stream\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s%s", len(body), body, more)
}

// upgrade sends a dial and expects the stream.
func (f *fixture) upgrade(tb testing.TB, more string) (*net.UnixConn, *bufio.Reader) {
	tb.Helper()
	c := f.dial(tb)
	_, err := io.WriteString(c, dialRequest(dialBody, more))
	must(tb, err)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	must(tb, err)
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != localapi.UpgradeProtocol {
		tb.Fatalf("answer %d, %v", resp.StatusCode, resp.Header)
	}
	return c, r
}

func TestDial_HalfCloseBothWays(t *testing.T) {
	f := setup(t, server.Config{})
	addr, conns := target(t)
	f.agent.echo = addr
	c, r := f.upgrade(t, "early")
	peer := <-conns
	t.Cleanup(func() { _ = peer.Close() })
	if calls := f.agent.called(); len(calls) != 1 || calls[0] != "dial {Name:db-1 Port:22 VNET:b1net}" {
		t.Errorf("calls %q", calls)
	}
	_, err := io.WriteString(c, " and late")
	must(t, err)
	must(t, c.CloseWrite())
	if b, err := io.ReadAll(peer); err != nil || string(b) != "early and late" {
		t.Errorf("target reads %q, %v", b, err)
	}
	_, err = io.WriteString(peer, "answer after the end of the question")
	must(t, err)
	must(t, peer.CloseWrite())
	if b, err := io.ReadAll(r); err != nil || string(b) != "answer after the end of the question" {
		t.Errorf("caller reads %q, %v", b, err)
	}

	// The other way round.
	c, r = f.upgrade(t, "")
	peer2 := <-conns
	t.Cleanup(func() { _ = peer2.Close() })
	_, err = io.WriteString(peer2, "banner")
	must(t, err)
	must(t, peer2.CloseWrite())
	if b, err := io.ReadAll(r); err != nil || string(b) != "banner" {
		t.Errorf("caller reads %q, %v", b, err)
	}
	_, err = io.WriteString(c, "still talking")
	must(t, err)
	must(t, c.Close())
	if b, err := io.ReadAll(peer2); err != nil || string(b) != "still talking" {
		t.Errorf("target reads %q, %v", b, err)
	}
}

func TestDial_ErrorBeforeUpgrade(t *testing.T) {
	f := setup(t, server.Config{})
	f.agent.fail = fault.New(localapi.CodeProhibited, "policy does not allow it").WithHint("run: warp-cli target list")
	status, body := f.request(t, dialRequest(dialBody, ""))
	if e := decodeError(t, body); status != 403 || e.Code != localapi.CodeProhibited || e.Hint == "" {
		t.Errorf("status %d, %s", status, body)
	}
	f.ln.as(other)
	status, body = f.request(t, dialRequest(dialBody, ""))
	if e := decodeError(t, body); status != 403 || e.Code != localapi.CodePermission {
		t.Errorf("as another user: status %d, %s", status, body)
	}
}

func TestDial_TargetAborts(t *testing.T) {
	f := setup(t, server.Config{})
	addr, conns := target(t)
	f.agent.echo = addr
	_, r := f.upgrade(t, "")
	relay.Abort(<-conns)
	if _, err := r.ReadByte(); err == nil {
		t.Error("a byte came from nowhere")
	}
}

func TestDial_Timeout(t *testing.T) {
	f := setup(t, server.Config{DialTimeout: 50 * time.Millisecond})
	f.agent.hold = make(chan struct{})
	status, body := f.request(t, dialRequest(dialBody, ""))
	if e := decodeError(t, body); status != 504 || e.Code != localapi.CodeTimeout {
		t.Errorf("status %d, %s", status, body)
	}
}

func TestDial_Limit(t *testing.T) {
	f := setup(t, server.Config{MaxDials: 1})
	addr, conns := target(t)
	f.agent.echo, f.agent.hold = addr, make(chan struct{})
	c := f.dial(t)
	_, err := io.WriteString(c, dialRequest(dialBody, ""))
	must(t, err)
	testwait.Until(t, "the first dial", func() bool { return len(f.agent.called()) == 1 })
	status, body := f.request(t, dialRequest(dialBody, ""))
	if e := decodeError(t, body); status != 429 || e.Code != "limit" || f.server.Stats().OverDials != 1 {
		t.Errorf("status %d, %s, %+v", status, body, f.server.Stats())
	}
	close(f.agent.hold)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	if resp.StatusCode != 101 {
		t.Errorf("the first dial: %d", resp.StatusCode)
	}
	_ = (<-conns).Close()
}

func TestConns_Limit(t *testing.T) {
	f := setup(t, server.Config{MaxConns: 3, MaxConnsPerUser: 2})
	hold := func() net.Conn {
		c := f.dial(t)
		_, err := io.WriteString(c, "GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		if resp.StatusCode != 200 && f.ln.caller() != other {
			t.Fatalf("status %d", resp.StatusCode)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		return c
	}
	hold()
	second := hold()
	status, body := f.do(t, "GET", "/v1/version", "")
	if e := decodeError(t, body); status != 429 || e.Code != "limit" {
		t.Errorf("third connection of a user: %d, %s", status, body)
	}
	f.ln.as(other)
	hold()
	f.ln.as(root)
	if status, _ := f.do(t, "GET", "/v1/version", ""); status != 429 {
		t.Errorf("fourth connection in all: %d", status)
	}
	if n := f.server.Stats().OverConns; n != 2 {
		t.Errorf("%d counted", n)
	}
	must(t, second.Close())
	f.ln.as(owner)
	testwait.Until(t, "a place is free again", func() bool {
		status, _ := f.do(t, "GET", "/v1/version", "")
		return status == 200
	})
}

// TestConns_StreamGivesItsPlaceBack: hijacked connections are counted, too.
func TestConns_StreamGivesItsPlaceBack(t *testing.T) {
	f := setup(t, server.Config{MaxConns: 1})
	addr, conns := target(t)
	f.agent.echo = addr
	for range 3 {
		testwait.Until(t, "a free place", func() bool {
			status, _ := f.do(t, "GET", "/v1/version", "")
			return status == 200
		})
		var c *net.UnixConn
		testwait.Until(t, "a stream", func() bool { // the server sees the end of that request a little later
			status := 0
			c, status = f.tryUpgrade(t)
			return status == 101
		})
		peer := <-conns
		if status, _ := f.do(t, "GET", "/v1/version", ""); status != 429 {
			t.Errorf("a stream does not count: %d", status)
		}
		must(t, c.Close())
		must(t, peer.Close())
	}
}

// tryUpgrade sends a dial and returns the status of the answer.
func (f *fixture) tryUpgrade(tb testing.TB) (*net.UnixConn, int) {
	tb.Helper()
	c := f.dial(tb)
	_, err := io.WriteString(c, dialRequest(dialBody, ""))
	must(tb, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(tb, err)
	must(tb, resp.Body.Close())
	return c, resp.StatusCode
}

func TestEvents_SnapshotThenChanges(t *testing.T) {
	f := setup(t, server.Config{MaxStreams: 2, MaxStreamsPerUser: 1})
	c := f.dial(t)
	_, err := io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("answer %d, %v", resp.StatusCode, resp.Header)
	}
	dec := json.NewDecoder(resp.Body)
	var e localapi.Event
	if err := dec.Decode(&e); err != nil || e.Type != "status" || e.Status == nil {
		t.Fatalf("snapshot %+v, %v", e, err)
	}
	f.agent.mu.Lock()
	sub := f.agent.subs[0]
	f.agent.mu.Unlock()
	sub.push(localapi.Event{SchemaVersion: 1, Type: "notice", Notice: &localapi.Notice{Code: "outage"}})
	e = localapi.Event{}
	if err := dec.Decode(&e); err != nil || e.Type != "notice" || e.Notice == nil || e.Notice.Code != "outage" {
		t.Fatalf("change %+v, %v", e, err)
	}
	if status, body := f.do(t, "GET", "/v1/events", ""); status != 429 || f.server.Stats().OverStreams != 1 {
		t.Errorf("a second stream of the user: %d, %s", status, body)
	}
	must(t, c.Close())
	select {
	case <-sub.closed:
	case <-time.After(5 * time.Second):
		t.Error("the subscription outlives its reader")
	}
}

func TestEvents_SlowReaderIsEnded(t *testing.T) {
	f := setup(t, server.Config{BodyTimeout: 50 * time.Millisecond})
	c := f.dial(t)
	_, err := io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	testwait.Until(t, "the subscription", func() bool {
		f.agent.mu.Lock()
		defer f.agent.mu.Unlock()
		return len(f.agent.subs) == 1
	})
	sub := f.agent.subs[0]
	big := localapi.Event{SchemaVersion: 1, Type: "notice", Notice: &localapi.Notice{Message: strings.Repeat("x", 64<<10)}}
	for end := time.Now().Add(10 * time.Second); ; {
		select {
		case <-sub.closed:
			if n := f.server.Stats().SlowReaders; n != 1 {
				t.Errorf("%d slow readers counted", n)
			}
			return
		case sub.events <- big:
			select {
			case sub.ready <- struct{}{}:
			default:
			}
		case <-time.After(time.Until(end)):
			t.Fatal("a reader that reads nothing is kept")
		}
	}
}

// Who asks for no rows gets none, and the agent's list keeps its own.
func TestEvents_WithoutRows(t *testing.T) {
	f := setup(t, server.Config{})
	if status, body := f.do(t, "GET", "/v1/events?targets=all", ""); status != 400 || !strings.Contains(body, "targets must be none") {
		t.Errorf("status %d, %s", status, body)
	}
	c := f.dial(t)
	_, err := io.WriteString(c, "GET /v1/events?targets=none HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	dec := json.NewDecoder(resp.Body)
	var e localapi.Event
	must(t, dec.Decode(&e)) // the status
	f.agent.mu.Lock()
	sub := f.agent.subs[0]
	f.agent.mu.Unlock()
	l := &localapi.TargetList{SchemaVersion: 1, Revision: 7, Targets: []localapi.Target{{ID: "t"}}}
	sub.push(localapi.Event{SchemaVersion: 1, Type: "targets", Targets: l})
	e = localapi.Event{}
	if err := dec.Decode(&e); err != nil || e.Targets == nil || e.Targets.Revision != 7 || e.Targets.Targets == nil || len(e.Targets.Targets) != 0 {
		t.Fatalf("event %+v, %v", e, err)
	}
	if len(l.Targets) != 1 {
		t.Error("the agent's own list lost its rows")
	}
}
