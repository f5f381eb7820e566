package sshproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/recording"
	"weft/gateway/sshproxy"
	"weft/internal/sshhost"
)

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// heapInUse is what lives after a collection.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// crowd is a recording proxy for many connections at once, whose clients and target are another process.
type crowd struct {
	*world
	recorder *recording.Recorder
	company  *company
	ended    func()
}

func newCrowd(tb testing.TB, recorded bool) *crowd {
	tb.Helper()
	ca := newSigner(tb)
	co := startCompany(tb, ca.PublicKey())
	c := &crowd{world: &world{t: tb, ca: ca, proxyKey: newSigner(tb)}, company: co}
	p, err := sshproxy.New(sshproxy.Config{HostKeys: []ssh.Signer{c.proxyKey}})
	if err != nil {
		tb.Fatal(err)
	}
	c.proxy = p
	if recorded {
		_, key := newKey(tb)
		if c.recorder, err = recording.New(recording.Config{Dir: tb.TempDir(), Key: key}); err != nil {
			tb.Fatal(err)
		}
	}
	c.serve()
	co.do("dial "+c.addr, 0)
	return c
}

func (c *crowd) serve() {
	c.t.Helper()
	ln := listenLoopback(c.t)
	c.addr = ln.Addr().String()
	ctx, cut := context.WithCancelCause(context.Background())
	var wg sync.WaitGroup
	stopRecorder := func() {}
	if c.recorder != nil {
		rctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = c.recorder.Run(rctx) }() // its end is the benchmark's
		stopRecorder = func() { cancel(); <-done }
	}
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.one(ctx, conn, n) })
		}
	})
	c.ended = sync.OnceFunc(func() {
		c.company.stop()
		cut(errors.New("over"))
		_ = ln.Close()
		wg.Wait()
		stopRecorder()
	})
	c.t.Cleanup(c.ended)
}

func (c *crowd) close() { c.ended() }

// one serves a connection as the gateway does.
func (c *crowd) one(ctx context.Context, conn net.Conn, n int) {
	up, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.company.host)
	if err != nil {
		_ = conn.Close()
		return
	}
	var rec *recording.Session
	res := c.proxy.Serve(ctx, conn, up, sshproxy.Session{
		ID: "s" + strconv.Itoa(n), Email: "jdoe@company.com", Target: "host-a (10.0.0.1, prod)",
		Authorize: func(string) access.Decision { return access.Decision{Allow: true, Reason: access.Allowed} },
		Certify: func(_ context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
			return c.certificate(pub, login), nil
		},
		CheckHostKey: func(ssh.PublicKey) error { return nil },
		OnLogin: func(login string, _ access.Decision) (err error) {
			if c.recorder != nil {
				rec, err = c.recorder.Start(recording.SessionConfig{
					Subject: recording.Subject{SessionID: "s" + strconv.Itoa(n), Login: login},
					OnFail:  func(err error) { c.t.Errorf("recording failed: %v", err) },
				})
			}
			return err
		},
		OnEvent: func(sshproxy.Event) {},
		Tap: func(channel int) sshproxy.Tap {
			if rec == nil {
				return nil
			}
			return rec.Channel(channel, "session")
		},
	})
	if rec == nil {
		return
	}
	if _, err := rec.Close(recording.EndClosed, int64(res.BytesUp), int64(res.BytesDown)); err != nil {
		c.t.Errorf("end a recording: %v", err)
	}
}

// company is a process that is the target and the clients. It is told what to do by lines on its standard input, and
// answers each with a line.
type company struct {
	tb   testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	host string // where the target listens
	stop func()
}

const companyCA = "WEFT_TEST_COMPANY_CA"

func startCompany(tb testing.TB, ca ssh.PublicKey) *company {
	tb.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestCompany$")
	cmd.Env = append(os.Environ(), companyCA+"="+string(ssh.MarshalAuthorizedKey(ca)))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c := &company{tb: tb, cmd: cmd, in: in, out: bufio.NewReader(out)}
	c.stop = sync.OnceFunc(func() {
		_ = in.Close() // tells it to end
		_ = cmd.Wait() // the test would have failed by its answers
	})
	tb.Cleanup(c.stop)
	c.host = strings.TrimPrefix(c.answer(), "host ")
	return c
}

func (c *company) answer() string {
	c.tb.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.tb.Fatalf("the other process: %v", err)
	}
	return strings.TrimSpace(line)
}

func (c *company) do(what string, n int) {
	c.tb.Helper()
	if _, err := fmt.Fprintln(c.in, what, n); err != nil {
		c.tb.Fatal(err)
	}
	if got := c.answer(); got != "done" {
		c.tb.Fatalf("%s %d: %s", what, n, got)
	}
}

// TestCompany is the other process; as a test of its own it does nothing.
func TestCompany(t *testing.T) {
	line := os.Getenv(companyCA)
	if line == "" {
		t.Skip("it is run by benchmarks")
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	h, err := sshhost.New(sshhost.Config{HostKey: newSigner(t), UserCA: ca, Users: []string{"root"}, Name: "host-a", Handshake: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ln := listenLoopback(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Serve(ctx, ln) }) // its end is ours
	g := &guests{}
	say := func(s string) { _, _ = io.WriteString(os.Stdout, s+"\n") } // who asked is gone if it fails
	say("host " + ln.Addr().String())
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := g.obey(strings.Fields(orders.Text())); err != nil {
			say(err.Error())
			continue
		}
		say("done")
	}
	for _, c := range g.open {
		_ = c.Close() // the proxy may have gone before
	}
	cancel()
	wg.Wait()
}

// guests are the clients of the other process.
type guests struct {
	addr string
	open []*ssh.Client
}

func (g *guests) obey(words []string) error {
	if words[0] == "dial" {
		g.addr = words[1]
		return nil
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var first error
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				c, err := g.visit(words[0] == "shells")
				mu.Lock()
				if err != nil && first == nil {
					first = err
				}
				if c != nil {
					g.open = append(g.open, c)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// visit logs in for a shell and stays, or for a command and leaves.
func (g *guests) visit(stay bool) (*ssh.Client, error) {
	c, err := ssh.Dial("tcp", g.addr, &ssh.ClientConfig{User: "root", HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute})
	if err != nil {
		return nil, err
	}
	s, err := c.NewSession()
	if err != nil {
		return nil, err
	}
	if !stay {
		defer func() { _ = c.Close() }() // it is over
		_, err := s.Output("hostname")
		return nil, err
	}
	out, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := s.StdinPipe()
	if err != nil {
		return nil, err
	}
	err = errors.Join(s.RequestPty("xterm", 24, 80, nil), s.Shell())
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(in, "seq 20\r"); err != nil {
		return nil, err
	}
	// A screen of output and the prompt after it.
	var seen strings.Builder
	b := make([]byte, 1024)
	for !strings.Contains(seen.String(), "20\r\n") {
		n, err := out.Read(b)
		if err != nil {
			return nil, err
		}
		seen.Write(b[:n])
	}
	return c, nil
}
