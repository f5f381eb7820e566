package client_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketPath returns a path that is short enough for a socket.
func socketPath(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weft") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return filepath.Join(dir, "a.sock")
}

func listen(tb testing.TB, socket string) net.Listener {
	tb.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ln.Close() }) // a second close is an error
	return ln
}

// serve answers with net/http's server.
func serve(tb testing.TB, h http.HandlerFunc) *client.Client {
	tb.Helper()
	socket := socketPath(tb)
	ln := listen(tb, socket)
	srv := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	})
	return client.New(socket)
}

// raw answers every connection with f.
func raw(tb testing.TB, f func(c *net.UnixConn)) *client.Client {
	tb.Helper()
	socket := socketPath(tb)
	ln := listen(tb, socket)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f(c.(*net.UnixConn))
			_ = c.Close()
		}
	}()
	tb.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return client.New(socket)
}

// code returns the code of an error of the client, which every failure must be.
func code(tb testing.TB, err error) string {
	tb.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		tb.Fatalf("%v (%T) is no *client.Error", err, err)
	}
	if e.Message == "" {
		tb.Errorf("an error without a message: %+v", e)
	}
	return e.Code
}

func TestClient_AgentNotThere(t *testing.T) {
	missing := socketPath(t)
	stale := socketPath(t)
	ln := listen(t, stale).(*net.UnixListener)
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ socket, code string }{
		"no socket":        {missing, client.CodeAgentMissing},
		"nobody listening": {stale, client.CodeAgentNotRunning},
		"a long path":      {"/tmp/" + strings.Repeat("x", 200), client.CodeAgentNotRunning},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.New(tt.socket).Status(t.Context())
			if got := code(t, err); got != tt.code {
				t.Errorf("code %q, want %q (%v)", got, tt.code, err)
			}
		})
	}
}

func TestClient_PermissionDenied(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("needs a user whom a file's mode can keep out; root passes everywhere")
	}
	socket := socketPath(t)
	listen(t, socket)
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	_, err := client.New(socket).Status(t.Context())
	if got := code(t, err); got != client.CodeSocketPermission {
		t.Errorf("code %q (%v)", got, err)
	}
}

func TestClient_Silent(t *testing.T) {
	socket := socketPath(t)
	listen(t, socket) // the kernel accepts, nobody answers
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.New(socket).Status(ctx)
	if got := code(t, err); got != client.CodeAgentSilent {
		t.Errorf("code %q (%v)", got, err)
	}
	cancel()
	_, err = client.New(socket).Status(ctx)
	if got := code(t, err); got != client.CodeAgentSilent {
		t.Errorf("a call that begins too late: code %q (%v)", got, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = client.New(socket).Status(ctx)
	if got := code(t, err); got != client.CodeCancelled {
		t.Errorf("a call that was cancelled: code %q (%v)", got, err)
	}
}

func TestClient_BadAnswers(t *testing.T) {
	for name, tt := range map[string]struct{ answer, code string }{
		"none":                          {"", client.CodeAgentGone},
		"cut off":                       {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", client.CodeAgentGone},
		"another protocol":              {"SSH-2.0-x\r\n", client.CodeNotAnAgent},
		"no JSON":                       {"HTTP/1.1 200 OK\r\n\r\n<html>", client.CodeNotAnAgent},
		"no schema version":             {"HTTP/1.1 200 OK\r\n\r\n{}", client.CodeNotAnAgent},
		"a later schema version":        {"HTTP/1.1 200 OK\r\n\r\n{\"schema_version\":2}", client.CodeNotAnAgent},
		"a field of another type":       {"HTTP/1.1 200 OK\r\n\r\n{\"schema_version\":1,\"state\":7}", client.CodeNotAnAgent},
		"a failure without a code":      {"HTTP/1.1 500 X\r\n\r\noops", client.CodeNotAnAgent},
		"an upgrade that nobody wanted": {"HTTP/1.1 101 X\r\nUpgrade: weft-stream\r\n\r\n", client.CodeNotAnAgent},
		"malformed chunks":              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", client.CodeNotAnAgent},
	} {
		t.Run(name, func(t *testing.T) {
			c := raw(t, func(c *net.UnixConn) {
				readRequest(c)
				_, _ = io.WriteString(c, tt.answer)
			})
			_, err := c.Status(t.Context())
			if got := code(t, err); got != tt.code {
				t.Errorf("code %q, want %q (%v)", got, tt.code, err)
			}
		})
	}
}

func readRequest(c net.Conn) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return r
}

// An agent that is full answers and closes before it has read anything.
func TestClient_AnsweredBeforeAsked(t *testing.T) {
	c := raw(t, func(c *net.UnixConn) {
		const body = `{"schema_version":1,"code":"limit","message":"too many"}`
		_, _ = fmt.Fprintf(c, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	_, err := c.Register(t.Context(), strings.Repeat("x", 1<<20))
	if got := code(t, err); got != "limit" {
		t.Errorf("code %q (%v)", got, err)
	}
}

func TestClient_BodyLimit(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		for range client.MaxBody>>20 + 2 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	_, err := c.VNETs(t.Context())
	if got := code(t, err); got != client.CodeNotAnAgent {
		t.Errorf("code %q (%v)", got, err)
	}
}

func TestClient_ErrorObject(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"schema_version":1,"code":"unknown_vnet","message":"no x","hint":"do y"}`)
	})
	_, err := c.SelectVNET(t.Context(), "x")
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		t.Fatal(err)
	}
	want := client.Error{Code: localapi.CodeUnknownVNET, Message: "no x", Hint: "do y", Status: 404}
	if diff := cmp.Diff(want, *e); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestClient_Query(t *testing.T) {
	var asked string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RequestURI()
		_, _ = io.WriteString(w, `{"schema_version":1}`)
	})
	q := client.Query{
		Attributes: []string{"a=b&c", "é= "}, Usernames: []string{"u"}, Protocols: []string{"SSH"},
		Ports: []uint16{22, 23}, VNETs: []string{"v"}, IDs: []string{"i"},
	}
	if _, err := c.Targets(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	want := "/v1/targets?attribute=a%3Db%26c&attribute=%C3%A9%3D+&id=i&port=22&port=23&protocol=SSH&username=u&vnet=v"
	if asked != want {
		t.Errorf("asked %s\nwant  %s", asked, want)
	}
	if _, err := c.Resolve(t.Context(), "a b", "", 0); err != nil || asked != "/v1/resolve?name=a+b" {
		t.Errorf("asked %s, %v", asked, err)
	}
	if q.Empty() || !new(client.Query).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestClient_Events(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range []string{
			`{"schema_version":1,"type":"status","status":{"state":"connected"}}`, "",
			`{"schema_version":1,"type":"notice","notice":{"message":"m"}}`,
		} {
			_, _ = io.WriteString(w, line+"\n")
			_ = http.NewResponseController(w).Flush()
		}
	})
	e, err := c.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	first, err := e.Next()
	if err != nil || first.Type != "status" || first.Status.State != localapi.Connected {
		t.Errorf("first event %+v, %v", first, err)
	}
	second, err := e.Next()
	if err != nil || second.Notice == nil || second.Notice.Message != "m" {
		t.Errorf("second event %+v, %v", second, err)
	}
	if _, err := e.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last event: %v", err)
	}
}

func TestClient_EventsEnd(t *testing.T) {
	release := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	e, err := c.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cancel()
	_, err = e.Next()
	if got := code(t, err); got != client.CodeCancelled {
		t.Errorf("code %q (%v)", got, err)
	}
}

func TestClient_DialKeepsEarlyBytes(t *testing.T) {
	c := raw(t, func(c *net.UnixConn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: weft-stream\r\n\r\nearly ")
		in, _ := io.ReadAll(c)
		_, _ = c.Write(in)
	})
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Dial(ctx, localapi.Dial{Name: "x", Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel() // it bounds the opening only
	if _, err := io.WriteString(s, "echo"); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, err := io.Copy(&out, s); err != nil || out.String() != "early echo" {
		t.Errorf("received %q, %v", &out, err)
	}
}

func TestClient_DialRefusesAnotherUpgrade(t *testing.T) {
	c := raw(t, func(c *net.UnixConn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n")
	})
	_, err := c.Dial(t.Context(), localapi.Dial{Name: "x", Port: 1})
	if got := code(t, err); got != client.CodeNotAnAgent {
		t.Errorf("code %q (%v)", got, err)
	}
}

func TestClient_Trace(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"schema_version":1}`) })
	var lines []string
	c.Trace(func(method, target string, status int, _ time.Duration, err error) {
		lines = append(lines, method+" "+target+" "+http.StatusText(status))
		if err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET /v1/version OK"}, lines); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}
