package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/proxy"
	"weft/agent/relay"
	"weft/internal/kind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeFlow is a TCP connection that stands in for a tunnel's.
type fakeFlow struct{ *net.TCPConn }

func (f fakeFlow) Abort() { relay.Abort(f.TCPConn) }

// WriteTo and ReadFrom of net.TCPConn are promoted.
var _ relay.Flow = fakeFlow{}

// fakeDialer connects everything to an echo server, or fails with what it is told.
type fakeDialer struct {
	tb   testing.TB
	echo string

	mu    sync.Mutex // guards what follows
	asked []localapi.Dial
	fail  *fault.Error
	block chan struct{}
}

func (d *fakeDialer) DialFlow(ctx context.Context, req localapi.Dial) (relay.Flow, error) {
	d.mu.Lock()
	d.asked = append(d.asked, req)
	fail, block := d.fail, d.block
	d.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "tcp", d.echo)
	if err != nil {
		return nil, err
	}
	return fakeFlow{c.(*net.TCPConn)}, nil
}

func (d *fakeDialer) DialPacket(ctx context.Context, req localapi.Dial) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, req)
	if d.fail != nil {
		return nil, d.fail
	}
	a, b := net.Pipe()
	go func() { _, _ = io.Copy(b, b) }()
	return a, nil
}

func (d *fakeDialer) last() localapi.Dial {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		return localapi.Dial{}
	}
	return d.asked[len(d.asked)-1]
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// echoServer ends its side when the client ends its own.
func echoServer(tb testing.TB) string {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	tb.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func start(tb testing.TB, cfg proxy.Config) (*proxy.Server, string) {
	tb.Helper()
	s, err := proxy.New(cfg)
	must(tb, err)
	ln, err := proxy.Listen(tb.Context(), "127.0.0.1:0", false)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return s, ln.Addr().String()
}

func startEcho(tb testing.TB) (*fakeDialer, *proxy.Server, string) {
	tb.Helper()
	d := &fakeDialer{tb: tb, echo: echoServer(tb)}
	s, addr := start(tb, proxy.Config{Dialer: d, PacketDialer: d})
	return d, s, addr
}

func dial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", addr)
	must(tb, err)
	must(tb, c.SetDeadline(time.Now().Add(10*time.Second)))
	tb.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func send(tb testing.TB, c io.Writer, b ...byte) {
	tb.Helper()
	_, err := c.Write(b)
	must(tb, err)
}

func expect(tb testing.TB, c io.Reader, want ...byte) {
	tb.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		tb.Fatalf("got % x, %v; want % x", got, err, want)
	}
}

var succeeded = []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}

// TestSOCKS_Wire checks the protocol byte by byte.
func TestSOCKS_Wire(t *testing.T) {
	name := func(s string, port uint16) []byte {
		b := append([]byte{5, 1, 0, 3, byte(len(s))}, s...)
		return binary.BigEndian.AppendUint16(b, port)
	}
	for _, tt := range []struct {
		name    string
		methods []byte
		auth    []byte
		request []byte
		want    localapi.Dial
	}{
		{"IPv4", []byte{5, 1, 0}, nil, []byte{5, 1, 0, 1, 10, 1, 2, 3, 0, 22}, localapi.Dial{Name: "10.1.2.3", Port: 22}},
		{"IPv6", []byte{5, 1, 0}, nil, []byte{5, 1, 0, 4, 0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0}, localapi.Dial{Name: "fd00:1::3", Port: 256}},
		{"mapped IPv6", []byte{5, 1, 0}, nil, []byte{5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3, 0, 22}, localapi.Dial{Name: "10.1.2.3", Port: 22}},
		{"name", []byte{5, 1, 0}, nil, name("db-1.a1net", 5432), localapi.Dial{Name: "db-1.a1net", Port: 5432}},
		{"longest name", []byte{5, 1, 0}, nil, name(strings.Repeat("x", 255), 1), localapi.Dial{Name: strings.Repeat("x", 255), Port: 1}},
		{"user is preferred to none", []byte{5, 3, 0, 1, 2}, []byte{1, 5, 'b', '1', 'n', 'e', 't', 2, 'p', 'w'}, name("h", 1), localapi.Dial{Name: "h", Port: 1, VNET: "b1net"}},
		{"empty user and password", []byte{5, 1, 2}, []byte{1, 0, 0}, name("h", 1), localapi.Dial{Name: "h", Port: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, _, addr := startEcho(t)
			c := dial(t, addr)
			send(t, c, tt.methods...)
			if tt.auth == nil {
				expect(t, c, 5, 0)
			} else {
				expect(t, c, 5, 2)
				send(t, c, tt.auth...)
				expect(t, c, 1, 0)
			}
			send(t, c, tt.request...)
			expect(t, c, succeeded...)
			if got := d.last(); got != tt.want {
				t.Errorf("asked for %+v; want %+v", got, tt.want)
			}
			send(t, c, 'h', 'i')
			expect(t, c, 'h', 'i')
			must(t, c.CloseWrite())
			if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
				t.Errorf("after half-close: %q, %v", b, err)
			}
		})
	}
}

// TestSOCKS_Pipelined: a client may send everything at once, data included.
func TestSOCKS_Pipelined(t *testing.T) {
	_, _, addr := startEcho(t)
	c := dial(t, addr)
	all := []byte{5, 1, 0, 5, 1, 0, 1, 10, 1, 2, 3, 0, 22}
	data := bytes.Repeat([]byte("early data "), 400) // more than the handshake's buffer
	send(t, c, append(all, data...)...)
	expect(t, c, 5, 0)
	expect(t, c, succeeded...)
	expect(t, c, data...)
}

func TestSOCKS_Refuses(t *testing.T) {
	hello := []byte{5, 1, 0}
	for _, tt := range []struct {
		name      string
		send      []byte
		want      []byte
		malformed uint64
	}{
		{"SOCKS4", []byte{4, 1, 0, 22, 10, 1, 2, 3, 0}, []byte{0, 0x5b, 0, 0, 0, 0, 0, 0}, 1},
		{"neither protocol", []byte{0x16, 3, 1}, nil, 1},
		{"no method in common", []byte{5, 1, 1}, []byte{5, 0xff}, 1},
		{"no methods", []byte{5, 0}, nil, 1},
		{"wrong password version", []byte{5, 1, 2, 5, 0, 0}, []byte{5, 2}, 1},
		{"BIND", append(hello, 5, 2, 0, 1, 10, 1, 2, 3, 0, 22), []byte{5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0}, 0},
		{"unknown address type", append(hello, 5, 1, 0, 9, 1, 2), []byte{5, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 0}, 1},
		{"empty name", append(hello, 5, 1, 0, 3, 0, 0, 22), []byte{5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0}, 1},
		{"port 0", append(hello, 5, 1, 0, 1, 10, 1, 2, 3, 0, 0), []byte{5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0}, 1},
		{"wrong version in request", append(hello, 4, 1, 0, 1, 10, 1, 2, 3, 0, 22), []byte{5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, s, addr := startEcho(t)
			c := dial(t, addr)
			send(t, c, tt.send...)
			must(t, c.CloseWrite())
			got, _ := io.ReadAll(c) // the end may be a reset: bytes were left unread
			if !bytes.Equal(got, tt.want) {
				t.Errorf("got % x; want % x", got, tt.want)
			}
			if st := s.Stats(); st.Malformed != tt.malformed || len(d.asked) != 0 {
				t.Errorf("stats %+v, asked %v", st, d.asked)
			}
		})
	}
}

// TestCodes is the mapping of every failure to both protocols.
func TestCodes(t *testing.T) {
	d, _, addr := startEcho(t)
	for _, tt := range []struct {
		code   string
		reply  byte
		status int
	}{
		{localapi.CodeProhibited, 2, 403},
		{localapi.CodeRevoked, 2, 403},
		{localapi.CodeUnknownVNET, 2, 404},
		{localapi.CodeAmbiguous, 2, 400},
		{localapi.CodeNotConnected, 3, 409},
		{localapi.CodeNotRegistered, 3, 409},
		{string(kind.Unavailable), 3, 503},
		{localapi.CodeUnknownTarget, 4, 404},
		{localapi.CodeUnreachable, 4, 502},
		{localapi.CodeRefused, 5, 502},
		{localapi.CodeTimeout, 6, 504},
		{string(kind.Limit), 1, 429},
		{string(kind.Invalid), 1, 400},
		{string(kind.Internal), 1, 500},
	} {
		t.Run(tt.code, func(t *testing.T) {
			d.mu.Lock()
			d.fail = fault.New(tt.code, "it is so").WithHint("do that").WithCause(io.ErrClosedPipe)
			d.mu.Unlock()
			c := dial(t, addr)
			send(t, c, 5, 1, 0, 5, 1, 0, 1, 10, 1, 2, 3, 0, 22)
			expect(t, c, 5, 0, 5, tt.reply, 0, 1, 0, 0, 0, 0, 0, 0)
			h := dial(t, addr)
			_, err := io.WriteString(h, "CONNECT h:22 HTTP/1.1\r\nHost: h:22\r\n\r\n")
			must(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(h), nil)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			must(t, err)
			must(t, resp.Body.Close())
			if resp.StatusCode != tt.status || string(body) != "weft: it is so\ndo that\n" || resp.Header.Get("Weft-Error") != tt.code {
				t.Errorf("status %d, body %q, header %v", resp.StatusCode, body, resp.Header)
			}
		})
	}
}

func TestHTTP_Refuses(t *testing.T) {
	_, _, addr := startEcho(t)
	for _, tt := range []struct {
		name, request string
		status        int
		header        string
	}{
		{"GET from a browser", "GET http://10.1.2.3/ HTTP/1.1\r\nHost: 10.1.2.3\r\n\r\n", 405, "Allow"},
		{"not HTTP", "HELO mail\r\n\r\n", 400, ""},
		{"no port", "CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", 400, ""},
		{"port 0", "CONNECT h:0 HTTP/1.1\r\nHost: h\r\n\r\n", 400, ""},
		{"another scheme", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Bearer x\r\n\r\n", 407, "Proxy-Authenticate"},
		{"malformed credential", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic !\r\n\r\n", 407, "Proxy-Authenticate"},
		{"head too large", "CONNECT h:1 HTTP/1.1\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, addr)
			_, err := io.WriteString(c, tt.request)
			must(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			must(t, err)
			must(t, resp.Body.Close())
			if resp.StatusCode != tt.status || tt.header != "" && resp.Header.Get(tt.header) == "" {
				t.Errorf("status %d, header %v; want %d with %s", resp.StatusCode, resp.Header, tt.status, tt.header)
			}
		})
	}
}

func TestServer_HandshakeDeadline(t *testing.T) {
	d := &fakeDialer{tb: t, echo: echoServer(t)}
	_, addr := start(t, proxy.Config{Dialer: d, HandshakeTimeout: 50 * time.Millisecond})
	c := dial(t, addr)
	send(t, c, 5)
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("got %q, %v; want the end of the connection", b, err)
	}
}

func TestServer_DialTimeout(t *testing.T) {
	d := &fakeDialer{tb: t, block: make(chan struct{})}
	_, addr := start(t, proxy.Config{Dialer: d, DialTimeout: 50 * time.Millisecond})
	c := dial(t, addr)
	send(t, c, 5, 1, 0, 5, 1, 0, 1, 10, 1, 2, 3, 0, 22)
	expect(t, c, 5, 0, 5, 6, 0, 1, 0, 0, 0, 0, 0, 0)
}

func TestServer_ConnectionLimit(t *testing.T) {
	d := &fakeDialer{tb: t, echo: echoServer(t)}
	s, addr := start(t, proxy.Config{Dialer: d, MaxConns: 2})
	for range 2 {
		c := dial(t, addr)
		send(t, c, 5, 1, 0, 5, 1, 0, 1, 10, 1, 2, 3, 0, 22)
		expect(t, c, 5, 0)
		expect(t, c, succeeded...)
	}
	// The reset may come before the client's connect has returned.
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr); err == nil {
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("the third connection reads %d bytes", n)
		}
		_ = c.Close()
	}
	if st := s.Stats(); st.OverLimit != 1 || st.Open != 2 {
		t.Errorf("stats %+v", st)
	}
}

// TestServer_TargetAborts: a reset of the target is a reset for the client, not an end of file.
func TestServer_TargetAborts(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	d := &fakeDialer{tb: t, echo: ln.Addr().String()}
	_, addr := start(t, proxy.Config{Dialer: d})
	c := dial(t, addr)
	send(t, c, 5, 1, 0, 5, 1, 0, 1, 10, 1, 2, 3, 0, 22)
	target, err := ln.Accept()
	must(t, err)
	expect(t, c, 5, 0)
	expect(t, c, succeeded...)
	relay.Abort(target)
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF { //nolint:errorlint // exactly the bare EOF is the fault
		t.Errorf("read: %v; want a reset", err)
	}
}

func TestSOCKS_UDPAssociate(t *testing.T) {
	d, s, addr := startEcho(t)
	c := dial(t, addr)
	send(t, c, 5, 1, 2)
	expect(t, c, 5, 2)
	send(t, c, 1, 5, 'b', '1', 'n', 'e', 't', 0)
	expect(t, c, 1, 0)
	send(t, c, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0)
	expect(t, c, 5, 0, 0, 1, 127, 0, 0, 1)
	var port [2]byte
	_, err := io.ReadFull(c, port[:])
	must(t, err)
	u, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(binary.BigEndian.Uint16(port[:]))})
	must(t, err)
	t.Cleanup(func() { _ = u.Close() })
	must(t, u.SetDeadline(time.Now().Add(10*time.Second)))
	for _, msg := range [][]byte{
		append([]byte{0, 0, 0, 1, 10, 1, 2, 3, 0, 53}, "question"...),
		append([]byte{0, 0, 0, 3, 2, 'n', 's', 0, 53}, "by name"...),
	} {
		send(t, u, msg...)
		got := make([]byte, 1500)
		n, err := u.Read(got)
		if err != nil || !bytes.Equal(got[:n], msg) {
			t.Fatalf("got %q, %v; want %q", got[:n], err, msg)
		}
		if a := d.last(); a.VNET != "b1net" || a.Port != 53 {
			t.Errorf("asked for %+v", a)
		}
	}
	// A fragment, another sender and garbage are dropped and counted.
	send(t, u, 0, 0, 1, 1, 10, 1, 2, 3, 0, 53, 'x')
	send(t, u, 1)
	other, err := net.DialUDP("udp", nil, u.RemoteAddr().(*net.UDPAddr))
	must(t, err)
	t.Cleanup(func() { _ = other.Close() })
	send(t, other, 0, 0, 0, 1, 10, 1, 2, 3, 0, 53, 'x')
	wait := time.NewTicker(time.Millisecond)
	defer wait.Stop()
	for end := time.Now().Add(20 * time.Second); s.Stats().UDPDrops != 3; <-wait.C {
		if time.Now().After(end) {
			t.Fatalf("stats %+v; want three drops", s.Stats())
		}
	}
	must(t, c.Close())
	for end := time.Now().Add(20 * time.Second); s.Stats().Open != 0; <-wait.C {
		if time.Now().After(end) {
			t.Fatal("the association outlives its connection")
		}
	}
}

// TestSOCKS_UDPFlowLimit: one association cannot open flows without end.
func TestSOCKS_UDPFlowLimit(t *testing.T) {
	d, s, addr := startEcho(t)
	c := dial(t, addr)
	send(t, c, 5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0)
	expect(t, c, 5, 0, 5, 0, 0, 1, 127, 0, 0, 1)
	var port [2]byte
	_, err := io.ReadFull(c, port[:])
	must(t, err)
	u, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(binary.BigEndian.Uint16(port[:]))})
	must(t, err)
	t.Cleanup(func() { _ = u.Close() })
	must(t, u.SetDeadline(time.Now().Add(10*time.Second)))
	for i := range byte(64) {
		msg := []byte{0, 0, 0, 1, 10, 1, 2, i, 0, 53, 'x'}
		send(t, u, msg...)
		expect(t, u, msg...)
	}
	send(t, u, 0, 0, 0, 1, 10, 1, 2, 200, 0, 53, 'x')
	wait := time.NewTicker(time.Millisecond)
	defer wait.Stop()
	for end := time.Now().Add(20 * time.Second); s.Stats().UDPDrops != 1; <-wait.C {
		if time.Now().After(end) {
			t.Fatalf("stats %+v; want one drop", s.Stats())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) != 64 {
		t.Errorf("%d flows were dialled", len(d.asked))
	}
}

func TestListen_Refuses(t *testing.T) {
	ln, err := proxy.Listen(t.Context(), "127.0.0.1:0", false)
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	for _, tt := range []struct {
		name, addr string
		kind       kind.Kind
		says       string
	}{
		{"in use", ln.Addr().String(), kind.Conflict, "cannot listen"},
		{"every address", "0.0.0.0:0", kind.Invalid, "not a loopback address"},
		{"every IPv6 address", "[::]:0", kind.Invalid, "not a loopback address"},
		{"a name", "localhost:0", kind.Invalid, "not IP:PORT"},
		{"no port", "127.0.0.1", kind.Invalid, "not IP:PORT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := proxy.Listen(t.Context(), tt.addr, false)
			if !kind.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want %s, %q", err, tt.kind, tt.says)
			}
		})
	}
	all, err := proxy.Listen(t.Context(), "0.0.0.0:0", true)
	must(t, err)
	must(t, all.Close())
}
