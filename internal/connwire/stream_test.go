package connwire_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/nettest"

	"weft/internal/connwire"
)

// quicPair connects two ends over loopback.
func quicPair(tb testing.TB) (client, server *quic.Conn) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	open := func() *quic.Transport {
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			tb.Fatal(err)
		}
		tr := &quic.Transport{Conn: socket}
		tb.Cleanup(func() {
			_ = tr.Close()
			_ = socket.Close()
		})
		return tr
	}
	st, ct := open(), open()
	l, err := st.Listen(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{connwire.ALPN},
		MinVersion: tls.VersionTLS13,
	}, connwire.QUICConfig(100))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err = ct.Dial(ctx, st.Conn.LocalAddr(), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{connwire.ALPN}, MinVersion: tls.VersionTLS13,
	}, connwire.QUICConfig(100))
	if err != nil {
		tb.Fatal(err)
	}
	if server, err = l.Accept(ctx); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = client.CloseWithError(0, "")
		_ = server.CloseWithError(0, "")
		_ = l.Close()
	})
	return client, server
}

// streamPair opens a stream between two connected ends; one byte makes it known to the other.
func streamPair(tb testing.TB, client, server *quic.Conn) (a, b *connwire.Stream) {
	tb.Helper()
	out, err := client.OpenStream()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := out.Write([]byte{0}); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	in, err := server.AcceptStream(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		tb.Fatal(err)
	}
	a = connwire.NewStream(out, client.LocalAddr(), client.RemoteAddr())
	b = connwire.NewStream(in, server.LocalAddr(), server.RemoteAddr())
	return a, b
}

func TestStream_IsANetConn(t *testing.T) {
	client, server := quicPair(t)
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := streamPair(t, client, server)
		return a, b, func() {
			a.Abort()
			b.Abort()
		}, nil
	})
}

func TestStream_AbortIsNotAnEnd(t *testing.T) {
	client, server := quicPair(t)
	a, b := streamPair(t, client, server)
	a.Abort()
	if err := b.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after the other side's abort: %v", err)
	}
}

// socketPair is a TCP connection over loopback.
func socketPair(tb testing.TB) (a, b *connwire.SocketConn) {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		tb.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		tb.Fatal(err)
	}
	a, b = &connwire.SocketConn{TCPConn: c}, &connwire.SocketConn{TCPConn: s}
	tb.Cleanup(func() {
		a.Abort()
		b.Abort()
	})
	return a, b
}

// relayed is: user - client side | Relay | stream - far.
type relayed struct {
	user   *connwire.SocketConn
	far    *connwire.Stream
	counts connwire.Counts
	done   chan error
}

func newRelayed(t *testing.T) *relayed {
	t.Helper()
	client, server := quicPair(t)
	near, far := streamPair(t, client, server)
	user, clientSide := socketPair(t)
	r := &relayed{user: user, far: far, done: make(chan error, 1)}
	go func() { r.done <- connwire.Relay(clientSide, near, &r.counts) }()
	return r
}

func (r *relayed) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("the relay did not end")
		return nil
	}
}

func TestRelay_HalfCloseBothWays(t *testing.T) {
	r := newRelayed(t)
	up, down := bytes.Repeat([]byte("up"), 1<<19), bytes.Repeat([]byte("down"), 1<<18)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.user.Write(up); err != nil {
			t.Error(err)
		}
		if err := r.user.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(r.far)
	if err != nil || !bytes.Equal(got, up) {
		t.Fatalf("%d bytes up, want %d: %v", len(got), len(up), err)
	}
	wg.Wait()
	// The other direction still works after the first has ended.
	wg.Go(func() {
		if _, err := r.far.Write(down); err != nil {
			t.Error(err)
		}
		if err := r.far.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	if got, err = io.ReadAll(r.user); err != nil || !bytes.Equal(got, down) {
		t.Fatalf("%d bytes down, want %d: %v", len(got), len(down), err)
	}
	wg.Wait()
	if err := r.wait(t); err != nil {
		t.Errorf("relay: %v", err)
	}
	if r.counts.Up.Load() != int64(len(up)) || r.counts.Down.Load() != int64(len(down)) {
		t.Errorf("counted %d up, %d down", r.counts.Up.Load(), r.counts.Down.Load())
	}
}

func TestRelay_ResetReachesTheOtherSide(t *testing.T) {
	t.Run("from the socket", func(t *testing.T) {
		r := newRelayed(t)
		r.user.Abort()
		if err := r.far.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.far.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read: %v, want a reset", err)
		}
		if err := r.wait(t); !errors.Is(err, connwire.ErrReset) {
			t.Errorf("relay: %v, want a reset", err)
		}
	})
	t.Run("from the stream", func(t *testing.T) {
		r := newRelayed(t)
		r.far.Abort()
		if err := r.user.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.user.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read: %v, want a reset", err)
		}
		if err := r.wait(t); !errors.Is(err, connwire.ErrReset) {
			t.Errorf("relay: %v, want a reset", err)
		}
	})
}

func TestMux_GivesDatagramsToTheirFlow(t *testing.T) {
	client, server := quicPair(t)
	near, far := streamPair(t, client, server)
	nearMux, farMux := connwire.NewMux(client), connwire.NewMux(server)
	got := make(chan string, 16)
	nearFlow := nearMux.Flow(near, func(b []byte) { got <- "near " + string(b) })
	farFlow := farMux.Flow(far, func(b []byte) { got <- "far " + string(b[:1]) })
	var wg sync.WaitGroup
	wg.Go(func() { _ = farMux.Run(context.Background()) })
	wg.Go(func() { _ = nearMux.Run(context.Background()) })
	wg.Go(func() { _ = farFlow.Receive() })
	t.Cleanup(wg.Wait)
	t.Cleanup(func() {
		_ = client.CloseWithError(0, "")
		_ = server.CloseWithError(0, "")
	})
	expect := func(want string) {
		t.Helper()
		select {
		case g := <-got:
			if g != want {
				t.Errorf("got %q, want %q", g, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no %q", want)
		}
	}
	if err := nearFlow.Send([]byte("1")); err != nil {
		t.Fatal(err)
	}
	expect("far 1")
	if err := nearFlow.Send(bytes.Repeat([]byte("2"), 9000)); err != nil { // by the stream
		t.Fatal(err)
	}
	expect("far 2")
	if err := farFlow.Send([]byte("3")); err != nil {
		t.Fatal(err)
	}
	expect("near 3")
	// A datagram of no flow is dropped and counted.
	if err := client.SendDatagram(connwire.AppendDatagram(nil, 400, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if err := nearFlow.Send([]byte("4")); err != nil {
		t.Fatal(err)
	}
	expect("far 4")
	if farMux.Dropped() != 1 {
		t.Errorf("dropped %d, want 1", farMux.Dropped())
	}
	if err := nearFlow.Close(); err != nil {
		t.Error(err)
	}
}
