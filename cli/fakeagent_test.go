package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/agent/localapi"
)

// world is what a fake agent knows; scripts write it as JSON.
type world struct {
	Version      localapi.Version       `json:"version"`
	Status       localapi.Status        `json:"status"`
	Registration *localapi.Registration `json:"registration"`
	VNETs        []localapi.VNET        `json:"vnets"`
	Targets      localapi.TargetList    `json:"targets"`
	Resolution   localapi.Resolution    `json:"resolution"`
	Profiles     []localapi.Profile     `json:"profiles"`
	Sessions     []localapi.Session     `json:"sessions"`
	// SSHHosts are the answers about names; others are unknown. Forwards are kept.
	SSHHosts map[string]localapi.SSHHost `json:"ssh_hosts"`
	Forwards []localapi.Forward          `json:"forwards"`
	// Errors are answered instead, by "METHOD /path".
	Errors map[string]localapi.Error `json:"errors"`
	// Raw is answered instead, by "METHOD /path", with status 200.
	Raw map[string]string `json:"raw"`
	treeWorld
	faultWorld
}

// fakeAgent serves a world over a real socket, by net/http's own server. It filters targets
// in the plainest way, and keeps what it was asked.
type fakeAgent struct {
	log     io.Writer
	streams sync.WaitGroup // dials: they have left the server

	mu sync.Mutex // guards w and log
	w  world
}

// startAgent serves w at a socket of its own until the test ends, and returns the socket.
func startAgent(tb testing.TB, w world) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weft") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(dir, "a.sock")
	stop, err := serveAgent(tb.Context(), socket, w, io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(stop(), os.RemoveAll(dir)); err != nil {
			tb.Errorf("stop fake agent: %v", err)
		}
	})
	return socket
}

// serveAgent serves w at socket until stop, and writes what it is asked to log.
func serveAgent(ctx context.Context, socket string, w world, log io.Writer) (stop func() error, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	f := &fakeAgent{w: w, log: log}
	srv := &http.Server{Handler: f}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	return func() error {
		err := srv.Close()
		if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		f.streams.Wait()
		return err
	}, nil
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	f.mu.Lock()
	fmt.Fprintln(f.log, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)+sessionFields(r)))
	key := r.Method + " " + r.URL.Path
	raw, isRaw := f.w.Raw[key]
	failure, isError := f.w.Errors[key]
	f.mu.Unlock()
	switch {
	case strings.Contains(r.Host, ".") || len(body) > 0 && r.Header.Get("Content-Type") != "application/json":
		reply(w, http.StatusForbidden, localapi.Error{Code: localapi.CodePermission, Message: "looks like a browser"})
	case isRaw:
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		_, _ = io.WriteString(w, raw)
	case isError:
		reply(w, localapi.HTTPStatus(failure.Code), failure)
	case key == "POST "+localapi.PathDial:
		f.dial(w, body)
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.answer(w, r, key, body)
	}
}

// answer asks each part that plays a noun, then itself. It is called with the lock held.
func (f *fakeAgent) answer(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	for _, answer := range []func(http.ResponseWriter, *http.Request, string, []byte) bool{
		f.answerProfiles, f.answerTree, f.answerReach, f.answerFaults,
	} {
		if answer(w, r, key, body) {
			return
		}
	}
	s := &f.w.Status
	s.SchemaVersion = localapi.SchemaVersion
	var v any = s
	switch key {
	case "GET " + localapi.PathVersion:
		f.w.Version.SchemaVersion = localapi.SchemaVersion
		v = f.w.Version
	case "GET " + localapi.PathStatus:
	case "GET " + localapi.PathRegistration:
		if f.w.Registration == nil {
			reply(w, http.StatusConflict, localapi.Error{Code: localapi.CodeNotRegistered, Message: "this device is not registered"})
			return
		}
		v = f.w.Registration
	case "POST " + localapi.PathRegistration:
		v = f.w.Registration
	case "DELETE " + localapi.PathRegistration:
		f.w.Registration = nil
		v = localapi.Done{SchemaVersion: localapi.SchemaVersion, Success: true}
	case "POST " + localapi.PathConnect:
		s.State, s.Reason = localapi.Connected, localapi.ReasonHealthy
	case "POST " + localapi.PathDisconnect:
		s.State, s.Reason = localapi.Disconnected, localapi.ReasonManual
		var d localapi.Disconnect
		if json.Unmarshal(body, &d) == nil && d.ForSeconds > 0 {
			at := time.Date(2026, 11, 22, 10, 0, d.ForSeconds, 0, time.UTC)
			s.ResumeAt = &at
		}
	case "POST " + localapi.PathVNET:
		f.selectVNET(w, body)
		return
	case "GET " + localapi.PathVNET:
		v = localapi.VNETList{SchemaVersion: localapi.SchemaVersion, VNETs: f.w.VNETs}
	case "GET " + localapi.PathTargets:
		l := f.w.Targets
		l.SchemaVersion = localapi.SchemaVersion
		l.Targets = filter(l.Targets, r.URL.Query())
		v = l
	case "GET " + localapi.PathResolve:
		f.w.Resolution.SchemaVersion = localapi.SchemaVersion
		v = f.w.Resolution
	default:
		reply(w, http.StatusNotFound, localapi.Error{Code: "not_found", Message: "no such path"})
		return
	}
	reply(w, http.StatusOK, v)
}

func (f *fakeAgent) selectVNET(w http.ResponseWriter, body []byte) {
	var q localapi.SelectVNET
	if err := json.Unmarshal(body, &q); err != nil {
		reply(w, http.StatusBadRequest, localapi.Error{Code: "invalid", Message: "malformed JSON"})
		return
	}
	known := slices.ContainsFunc(f.w.VNETs, func(v localapi.VNET) bool { return v.Name == q.VNET || v.ID == q.VNET })
	if !known {
		reply(w, http.StatusNotFound, localapi.Error{Code: localapi.CodeUnknownVNET, Message: "there is no virtual network " + q.VNET})
		return
	}
	for i := range f.w.VNETs {
		v := &f.w.VNETs[i]
		v.Selected = v.Name == q.VNET || v.ID == q.VNET
	}
	reply(w, http.StatusOK, localapi.VNETList{SchemaVersion: localapi.SchemaVersion, VNETs: f.w.VNETs})
}

// dial plays a target by its port: 7 echoes until the end of input; 9 takes everything and says how much at the end;
// 19 sends 64 MiB; 13 says one line and closes altogether; everything else gets a greeting and is closed after the input.
func (f *fakeAgent) dial(w http.ResponseWriter, body []byte) {
	var d localapi.Dial
	if err := json.Unmarshal(body, &d); err != nil {
		reply(w, http.StatusBadRequest, localapi.Error{Code: "invalid", Message: "malformed JSON"})
		return
	}
	f.streams.Add(1)
	defer f.streams.Done()
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer nc.Close()
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + localapi.UpgradeProtocol + "\r\n\r\n"
	in := rw.Reader
	switch d.Port {
	case 7:
		_, _ = io.WriteString(nc, head)
		_, _ = io.Copy(nc, in)
	case 9:
		_, _ = io.WriteString(nc, head)
		n, _ := io.Copy(io.Discard, in)
		fmt.Fprintf(nc, "%d bytes\n", n)
	case 13:
		_, _ = io.WriteString(nc, head+"bye\n")
	case 19:
		_, _ = io.WriteString(nc, head)
		_, _ = io.Copy(nc, io.LimitReader(pattern{}, bulk))
	default:
		// The greeting may come with the head in one read.
		_, _ = io.WriteString(nc, head+"hello from "+d.Name+"\n")
		_, _ = io.Copy(io.Discard, in)
	}
}

// bulk is the size of large transfers.
const bulk = 64 << 20

// pattern reads the same bytes for ever.
type pattern struct{}

var xs = bytes.Repeat([]byte{'x'}, 64<<10)

func (pattern) Read(p []byte) (int, error) {
	return copy(p, xs), nil
}

// filter selects as the issue says: OR within a flag (within a key for attributes), AND across.
func filter(all []localapi.Target, q map[string][]string) []localapi.Target {
	byKey := map[string][]string{}
	for _, a := range q["attribute"] {
		k, v, _ := strings.Cut(a, "=")
		byKey[k] = append(byKey[k], v)
	}
	var out []localapi.Target
	for _, t := range all {
		ok := fits(q["protocol"], t.Protocol) && fits(q["port"], fmt.Sprint(t.Port)) && fits(q["id"], t.ID) &&
			fits(q["username"], t.Usernames...) && fitsHostname(q["hostname"], t.Hostname) && fitsIP(q["ip"], t.Addresses)
		for k, vs := range byKey {
			ok = ok && fits(vs, t.Attributes[k])
		}
		var nets []string
		for _, a := range t.Addresses {
			nets = append(nets, a.VNETName, a.VNETID)
		}
		if ok && fits(q["vnet"], nets...) {
			out = append(out, t)
		}
	}
	return out
}

func fits(wanted []string, have ...string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(have, func(h string) bool { return slices.Contains(wanted, h) })
}

func reply(w http.ResponseWriter, status int, v any) {
	if e, ok := v.(localapi.Error); ok {
		e.SchemaVersion = localapi.SchemaVersion
		v = e
	}
	data, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data))) // as the agent does
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// readWorld decodes strictly, so that a mistyped script fails.
func readWorld(data []byte) (world, error) {
	var w world
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&w)
	return w, err
}

// seedWorld is the world of testdata/seed.json.
func seedWorld(tb testing.TB) world {
	tb.Helper()
	data, err := os.ReadFile("testdata/seed.json")
	if err != nil {
		tb.Fatal(err)
	}
	w, err := readWorld(data)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}
