package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"weft/agent/localapi"
)

// fitsHostname is the filter by pattern in the plainest way.
func fitsHostname(patterns []string, hostname string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), strings.ToLower(hostname))
		return err == nil && ok
	})
}

// fitsIP is the filter by address or prefix in the plainest way.
func fitsIP(wanted []string, have []localapi.Address) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
		return slices.ContainsFunc(have, func(a localapi.Address) bool {
			p, err := netip.ParsePrefix(w)
			return a.IP == w || err == nil && p.Contains(netip.MustParseAddr(a.IP))
		})
	})
}

// liveAgent is a fake agent whose world changes, with an event stream, and that can be stopped and started.
type liveAgent struct {
	*fakeAgent
	tb     testing.TB
	dir    string
	socket string

	mu    sync.Mutex // guards what follows
	dials map[uint16]localapi.Error
	// dialling is the number of dials so far, each of which waits for gate to be closed; nil: for nothing.
	dialling int
	gate     chan struct{}
	streams  map[chan struct{}]bool
	srv      *http.Server
	served   chan error
}

func startLiveAgent(tb testing.TB, w world) *liveAgent {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weft") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		tb.Fatal(err)
	}
	l := &liveAgent{
		fakeAgent: &fakeAgent{w: w, log: io.Discard}, tb: tb, dir: dir, socket: filepath.Join(dir, "a.sock"),
		dials: map[uint16]localapi.Error{}, streams: map[chan struct{}]bool{},
	}
	l.start()
	tb.Cleanup(func() {
		l.stop()
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return l
}

func (l *liveAgent) start() {
	l.tb.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(l.tb.Context(), "unix", l.socket)
	if err != nil {
		l.tb.Fatal(err)
	}
	l.srv = &http.Server{Handler: l}
	l.served = make(chan error, 1)
	go func() { l.served <- l.srv.Serve(ln) }()
}

// stop ends the agent and every stream.
func (l *liveAgent) stop() {
	l.tb.Helper()
	if err := l.srv.Close(); err != nil {
		l.tb.Error(err)
	}
	if err := <-l.served; !errors.Is(err, http.ErrServerClosed) {
		l.tb.Error(err)
	}
	l.fakeAgent.streams.Wait()
}

// change changes the world and tells it to every stream.
func (l *liveAgent) change(f func(*world)) {
	l.fakeAgent.mu.Lock()
	f(&l.w)
	l.fakeAgent.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.streams {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (l *liveAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET " + localapi.PathEvents:
		l.events(w, r)
	case "POST " + localapi.PathDial:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var d localapi.Dial
		if err := json.Unmarshal(body, &d); err != nil {
			return
		}
		l.mu.Lock()
		e, failed := l.dials[d.Port]
		l.dialling++
		gate := l.gate
		l.mu.Unlock()
		if gate != nil {
			<-gate
		}
		if failed {
			reply(w, localapi.HTTPStatus(e.Code), e)
			return
		}
		l.dial(w, body)
	default:
		l.fakeAgent.ServeHTTP(w, r)
	}
}

// events writes the status and the list, and both again after each change.
func (l *liveAgent) events(w http.ResponseWriter, r *http.Request) {
	changed := make(chan struct{}, 1)
	l.mu.Lock()
	l.streams[changed] = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.streams, changed)
	}()
	enc := json.NewEncoder(w)
	for {
		l.fakeAgent.mu.Lock()
		st, list := l.w.Status, l.w.Targets
		l.fakeAgent.mu.Unlock()
		if r.URL.RawQuery == "targets=none" {
			list.Targets = nil
		}
		st.SchemaVersion, list.SchemaVersion = localapi.SchemaVersion, localapi.SchemaVersion
		for _, ev := range []localapi.Event{{Type: "status", Status: &st}, {Type: "targets", Targets: &list}} {
			ev.SchemaVersion = localapi.SchemaVersion
			if enc.Encode(ev) != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// target is one that speaks SSH.
func target(hostname string, port uint16) localapi.Target {
	return localapi.Target{
		ID: hostname + "-id", Hostname: hostname, Protocol: "SSH", Port: port, Attributes: map[string]string{"hostname": hostname},
		Addresses: []localapi.Address{{IP: "10.0.0.1", VNETID: "v1", VNETName: "a1net"}}, Usernames: []string{"root"},
	}
}
