package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

// call makes one request on the agent's socket.
func (r *running) call(method, path, body string) (int, string) {
	r.tb.Helper()
	c, err := localsock.Dial(r.tb.Context(), r.ready.Socket)
	must(r.tb, err)
	defer func() { _ = c.Close() }()
	must(r.tb, c.SetDeadline(time.Now().Add(20*time.Second)))
	req, err := http.NewRequestWithContext(r.tb.Context(), method, "http://localhost"+path, strings.NewReader(body))
	must(r.tb, err)
	must(r.tb, req.Write(c))
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	must(r.tb, err)
	b, err := io.ReadAll(resp.Body)
	must(r.tb, err)
	must(r.tb, resp.Body.Close())
	return resp.StatusCode, string(b)
}

// TestLocalAPI_WholeWay goes from an unregistered agent to a stream over the socket only.
func TestLocalAPI_WholeWay(t *testing.T) {
	control, gateway := newFakeControl(t), newFakeGateway(t)
	control.set(gateway.state())
	a := startAgent(t, testConfig(t))
	expect := func(method, path, body string, status int, says string) {
		t.Helper()
		if got, text := a.call(method, path, body); got != status || !strings.Contains(text, says) {
			t.Errorf("%s %s: %d, %s; want %d, %q", method, path, got, text, status, says)
		}
	}
	expect("GET", localapi.PathStatus, "", 200, `"state":"unregistered","reason":"never_registered"`)
	expect("POST", localapi.PathConnect, "", 409, "warp-cli registration new")
	expect("POST", localapi.PathRegistration, `{"enrolment":"nonsense"}`, 400, `"code":"enrolment_invalid"`)
	expect("POST", localapi.PathRegistration, `{"enrolment":"`+control.enrolment("k", 1)+`"}`, 200, `"email":"jdoe@company.com"`)
	expect("POST", localapi.PathRegistration, `{"enrolment":"`+control.enrolment("k2", 1)+`"}`, 409, `"code":"already_registered"`)
	gateway.admit(control.devicePublicKey())
	expect("POST", localapi.PathConnect, `{"wait_seconds":10}`, 200, `"state":"connected"`)
	expect("GET", localapi.PathVNET, "", 200, `"name":"b1net","comment":"","default":false,"selected":false`)
	expect("POST", localapi.PathVNET, `{"vnet":"b1net"}`, 200, `"name":"b1net","comment":"","default":false,"selected":true`)
	expect("POST", localapi.PathVNET, `{"vnet":"c1net"}`, 404, `"code":"unknown_vnet"`)
	expect("GET", localapi.PathTargets+"?username=bob", "", 200, `"hostname":"az-target"`)
	expect("GET", localapi.PathResolve+"?name=do-target", "", 200, `"vnet_name":"a1net"`)

	c, err := localsock.Dial(t.Context(), a.ready.Socket)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://localhost"+localapi.PathDial, strings.NewReader(`{"name":"10.1.2.3","port":7}`))
	must(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", localapi.UpgradeProtocol)
	must(t, req.Write(c))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, req)
	must(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("dial: %s", resp.Status)
	}
	_, err = io.WriteString(c, "through the tunnel")
	must(t, err)
	must(t, c.CloseWrite())
	if b, err := io.ReadAll(r); err != nil || string(b) != "through the tunnel" {
		t.Errorf("stream: %q, %v", b, err)
	}
	expect("POST", localapi.PathDisconnect, "{}", 200, `"state":"disconnected","reason":"manual"`)
	expect("DELETE", localapi.PathRegistration, "", 200, `"success":true`)
	expect("GET", localapi.PathRegistration, "", 409, `"code":"not_registered"`)
}

// eventStream follows the agent's events.
func eventStream(t *testing.T, a *running) <-chan localapi.Event {
	t.Helper()
	c, err := localsock.Dial(t.Context(), a.ready.Socket)
	must(t, err)
	_, err = io.WriteString(c, "GET "+localapi.PathEvents+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	events := make(chan localapi.Event, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		for dec := json.NewDecoder(resp.Body); ; {
			var e localapi.Event
			if dec.Decode(&e) != nil {
				return
			}
			events <- e
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
		_ = resp.Body.Close()
	})
	return events
}

// awaitEvent returns the next event that matches.
func awaitEvent(t *testing.T, events <-chan localapi.Event, what string, ok func(localapi.Event) bool) localapi.Event {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case e, open := <-events:
			if !open {
				t.Fatalf("the stream ended before %s", what)
			}
			if ok(e) {
				return e
			}
		case <-deadline:
			t.Fatalf("no event: %s", what)
		}
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	events := eventStream(t, w.agent)
	for _, kind := range []string{"status", "targets", "vnets"} {
		if e := <-events; e.Type != kind || e.SchemaVersion != 1 {
			t.Fatalf("snapshot event %+v; want %s", e, kind)
		}
	}
	_, err := w.agent.SelectVNET(t.Context(), "b1net")
	must(t, err)
	awaitEvent(t, events, "the selection", func(e localapi.Event) bool {
		return e.VNETs != nil && len(e.VNETs.VNETs) == 2 && e.VNETs.VNETs[1].Selected
	})
	st := w.gateway.state()
	delete(st.Entries, "t-a/22/SSH")
	w.control.set(st)
	awaitEvent(t, events, "one target less", func(e localapi.Event) bool {
		return e.Targets != nil && len(e.Targets.Targets) == 1 && e.Targets.Revision == 2
	})
	_, err = w.agent.Disconnect(t.Context())
	must(t, err)
	awaitEvent(t, events, "the end of the tunnel", func(e localapi.Event) bool {
		return e.Status != nil && e.Status.State == localapi.Disconnected
	})
	w.connect(t)
	awaitEvent(t, events, "the tunnel", func(e localapi.Event) bool {
		return e.Status != nil && e.Status.State == localapi.Connected
	})
	w.control.revoke()
	awaitEvent(t, events, "the notice of the revocation", func(e localapi.Event) bool {
		return e.Notice != nil && e.Notice.Code == "revoked"
	})
}

// TestEvents_Bounded: a subscriber that takes nothing costs little, and gets the latest.
func TestEvents_Bounded(t *testing.T) {
	w := newWorld(t)
	sub, err := w.agent.Subscribe()
	must(t, err)
	t.Cleanup(sub.Close)
	for i := range 200 {
		_, err := w.agent.SelectVNET(t.Context(), []string{"b1net", "a1net"}[i%2])
		must(t, err)
	}
	if got := sub.Take(); len(got) < 3 || len(got) > 3+32 || got[0].Status == nil || got[0].Status.VNET.Name != "a1net" {
		t.Errorf("%d events after 200 changes", len(got))
	}
	if got := sub.Take(); len(got) != 0 {
		t.Errorf("and %d more", len(got))
	}
	var more []interface{ Close() }
	for {
		s, err := w.agent.Subscribe()
		if err != nil {
			wantFault(t, err, "limit", "")
			break
		}
		more = append(more, s)
		if len(more) > 100 {
			t.Fatal("no limit on subscribers")
		}
	}
	for _, s := range more {
		s.Close()
	}
}

// TestDial_AgainAfterOutage: a dial that began while the gateway was away succeeds as
// soon as it is back, not when TCP sends again.
func TestDial_AgainAfterOutage(t *testing.T) {
	w := newWorld(t)
	w.gateway.stop()
	type result struct {
		conn net.Conn
		at   time.Time
		err  error
	}
	done := make(chan result, 1)
	began := time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 40*time.Second)
		defer cancel()
		f, err := w.agent.DialFlow(ctx, localapi.Dial{Name: "do-target", Port: echoPort})
		done <- result{f, time.Now(), err}
	}()
	w.agent.waitState(localapi.Connecting)
	// TCP sends again after 1, 3 and 7 s, and then not before 15 s.
	testwait.Until(t, "the fourth try is far away", func() bool { return time.Since(began) > 7200*time.Millisecond })
	w.gateway.start(w.gateway.addr)
	w.gateway.admit(w.control.devicePublicKey())
	w.agent.waitState(localapi.Connected)
	up := time.Now()
	r := <-done
	must(t, r.err)
	defer func() { _ = r.conn.Close() }()
	if late := r.at.Sub(up); late > 4*time.Second {
		t.Errorf("the dial succeeded %s after the link was up", late)
	}
	echo(t, r.conn)
}
