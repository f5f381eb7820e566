package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/agent/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type flow struct{ *net.TCPConn }

func (f flow) Abort() { relay.Abort(f.TCPConn) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// pair returns the two ends of a TCP connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = ln.Close() }()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	must(t, err)
	s, err := ln.Accept()
	must(t, err)
	for _, c := range []net.Conn{c, s} {
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		t.Cleanup(func() { _ = c.Close() })
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// run relays between a client and a target whose far ends it returns.
func run(ctx context.Context, t *testing.T, first []byte) (client, target *net.TCPConn, result <-chan relay.Result) {
	t.Helper()
	client, c := pair(t)
	target, f := pair(t)
	done := make(chan relay.Result, 1)
	go func() { done <- relay.Run(ctx, c, flow{f}, first) }()
	return client, target, done
}

func wait(t *testing.T, r <-chan relay.Result) relay.Result {
	t.Helper()
	select {
	case res := <-r:
		return res
	case <-time.After(10 * time.Second):
		t.Fatal("the relay goes on")
		return relay.Result{}
	}
}

func TestRun_HalfClose(t *testing.T) {
	client, target, r := run(t.Context(), t, []byte("first "))
	_, err := io.WriteString(client, "second")
	must(t, err)
	must(t, client.CloseWrite())
	if b, err := io.ReadAll(target); err != nil || string(b) != "first second" {
		t.Errorf("target reads %q, %v", b, err)
	}
	big := bytes.Repeat([]byte("answer"), 100_000)
	go func() {
		_, _ = target.Write(big)
		_ = target.CloseWrite()
	}()
	if b, err := io.ReadAll(client); err != nil || !bytes.Equal(b, big) {
		t.Errorf("client reads %d bytes, %v", len(b), err)
	}
	if res := wait(t, r); res.Err != nil || res.Sent != 12 || res.Received != int64(len(big)) {
		t.Errorf("result %+v", res)
	}
}

// TestRun_AbortIsNoEnd: a reset on either side is a reset on the other.
func TestRun_AbortIsNoEnd(t *testing.T) {
	client, target, r := run(t.Context(), t, nil)
	relay.Abort(target)
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("client reads %v; want a reset", err)
	}
	if res := wait(t, r); res.Err == nil {
		t.Error("no error in the result")
	}
	client, target, r = run(t.Context(), t, nil)
	relay.Abort(client)
	if _, err := target.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("target reads %v; want a reset", err)
	}
	wait(t, r)
}

func TestRun_ContextEnds(t *testing.T) {
	cause := errors.New("the agent ends")
	ctx, cancel := context.WithCancelCause(t.Context())
	client, target, r := run(ctx, t, nil)
	_, err := io.WriteString(client, "x")
	must(t, err)
	_, err = io.ReadFull(target, make([]byte, 1))
	must(t, err)
	cancel(cause)
	for name, c := range map[string]net.Conn{"client": client, "target": target} {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s reads %v; want a reset", name, err)
		}
	}
	if res := wait(t, r); !errors.Is(res.Err, cause) {
		t.Errorf("result %+v", res)
	}
}

// TestRun_TargetIsGone: what was read before the relay began may find nobody.
func TestRun_TargetIsGone(t *testing.T) {
	client, c := pair(t)
	_, f := pair(t)
	must(t, f.Close())
	if res := relay.Run(t.Context(), c, flow{f}, []byte("first")); res.Err == nil {
		t.Error("no error in the result")
	}
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("client reads %v; want a reset", err)
	}
}
