package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"weft/api"
	"weft/connector"
	"weft/gateway/connectors"
	"weft/tunnel"
	"weft/vnet"
)

// wire is a UDP path whose far end can be changed under a connection, as when a gateway is killed and another process
// takes its port.
type wire struct {
	front, back *net.UDPConn
	far         atomic.Pointer[netip.AddrPort]
	near        atomic.Pointer[netip.AddrPort]
}

func newWire(tb testing.TB) *wire {
	tb.Helper()
	open := func() *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	w := &wire{front: open(), back: open()}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := w.front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			w.near.Store(&from)
			if far := w.far.Load(); far != nil {
				_, _ = w.back.WriteToUDPAddrPort(buf[:n], *far)
			}
		}
	})
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := w.back.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if far, near := w.far.Load(), w.near.Load(); far != nil && near != nil && from == *far {
				_, _ = w.front.WriteToUDPAddrPort(buf[:n], *near)
			}
		}
	})
	tb.Cleanup(func() {
		_ = w.front.Close()
		_ = w.back.Close()
		wg.Wait()
	})
	return w
}

func (w *wire) addr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// crash is a tunnel with one connector whose gateway can be killed.
type crash struct {
	tb   testing.TB
	wire *wire
	cert tls.Certificate
	key  []byte
	ctrl *fakeControl
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	c := &crash{tb: t, wire: newWire(t), cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}}
	st := baseState(t, tunnel.PublicKey{1})
	if c.key, err = base64.StdEncoding.DecodeString(string(st.Tunnels[tunA].Key)); err != nil {
		t.Fatal(err)
	}
	c.ctrl = newFakeControl(t, st)
	sum := sha256.Sum256(der)
	c.ctrl.mu.Lock()
	c.ctrl.report = &api.GatewayReport{
		ConnectorEndpoints: []string{c.wire.addr(c.wire.front).String()}, CertificateSHA256: hex.EncodeToString(sum[:]),
	}
	c.ctrl.mu.Unlock()
	return c
}

// gateway starts a listener that the wire leads to from now on.
func (c *crash) gateway() *connectors.Listener {
	c.tb.Helper()
	l, err := connectors.Listen(connectors.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: c.cert, ResetKey: quic.StatelessResetKey{1, 2, 3},
		Logger: testLogger(c.tb),
	})
	if err != nil {
		c.tb.Fatal(err)
	}
	l.SetTunnels(map[vnet.TunnelID][]byte{tunA: c.key})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx)
	}()
	c.tb.Cleanup(func() {
		cancel()
		<-done
	})
	addr := l.Addr()
	c.wire.far.Store(&addr)
	return l
}

func (c *crash) connector() {
	c.tb.Helper()
	conn, err := connector.New(connector.Config{
		Token: api.ConnectorToken{TunnelID: tunA}, Control: c.ctrl.client(tunA), Logger: testLogger(c.tb),
	})
	if err != nil {
		c.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.Run(ctx)
	}()
	c.tb.Cleanup(func() {
		cancel()
		<-done
	})
	select {
	case <-conn.Ready(): // it has read the verdict, too
	case <-time.After(5 * time.Second):
		c.tb.Fatal("the connector is not ready")
	}
}

func (c *crash) connected(l *connectors.Listener, within time.Duration) time.Duration {
	c.tb.Helper()
	start := time.Now()
	for l.Stats().Sessions != 1 {
		if time.Since(start) > within {
			c.tb.Fatalf("no connector within %v", within)
		}
		select {
		case <-c.tb.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
	return time.Since(start)
}

// A gateway that was killed says nothing. Its successor knows the addresses and wakes the connectors.
func TestCrash_WakeBringsConnectorsBack(t *testing.T) {
	c := newCrash(t)
	first := c.gateway()
	c.connector()
	c.connected(first, 5*time.Second)
	remotes := first.Remotes()
	second := c.gateway() // the wire leads here now; the first is not heard any more
	second.Wake(t.Context(), remotes)
	t.Logf("back after %v", c.connected(second, 500*time.Millisecond))
}

// Without the addresses, the next ping is answered with a reset.
func TestCrash_PingFindsOut(t *testing.T) {
	c := newCrash(t)
	first := c.gateway()
	c.connector()
	c.connected(first, 5*time.Second)
	second := c.gateway()
	t.Logf("back after %v", c.connected(second, 3*time.Second))
}

// While the gateway is down, attempts become rare; a Wake makes the next one at once.
func TestCrash_WakeEndsTheWait(t *testing.T) {
	c := newCrash(t)
	first := c.gateway()
	c.connector()
	c.connected(first, 5*time.Second)
	remotes := first.Remotes()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c.wire.far.Store(nil)
	select {
	case <-time.After(1500 * time.Millisecond): // the outage itself
	case <-t.Context().Done():
	}
	second := c.gateway()
	second.Wake(t.Context(), remotes)
	t.Logf("back after %v", c.connected(second, 500*time.Millisecond))
}
