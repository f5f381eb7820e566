package connectors_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"weft/api"
	"weft/gateway/connectors"
	"weft/internal/connwire"
	"weft/vnet"
)

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, x, x, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// connect opens a connection from an address of this host and says nothing on it; nil when it is turned away at once.
func connect(t *testing.T, from string, to netip.AddrPort) *quic.Conn {
	t.Helper()
	sock, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)})
	if err != nil {
		t.Skipf("no socket at %s: %v", from, err) // only Linux has all of 127/8
	}
	tr := &quic.Transport{Conn: sock}
	t.Cleanup(func() {
		_ = tr.Close()
		_ = sock.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(to), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{connwire.ALPN}, MinVersion: tls.VersionTLS13,
	}, connwire.QUICConfig(1))
	if _, turnedAway := errors.AsType[*quic.ApplicationError](err); turnedAway {
		return nil // closed so early that the dial saw it
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Whoever opens connections and says nothing took every place for a handshake, and no connector could come back.
func TestListener_OneHostCannotTakeEveryHandshake_regression(t *testing.T) {
	key := bytes.Repeat([]byte("k"), 32)
	l, err := connectors.Listen(connectors.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: certificate(t), Logger: slog.New(slog.DiscardHandler),
		Limits: connectors.Limits{MaxHandshakes: 8, MaxHandshakesPerHost: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.SetTunnels(map[vnet.TunnelID][]byte{"tunnel": key})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()

	for range 12 {
		connect(t, "127.0.0.66", l.Addr())
	}
	deadline := time.Now().Add(5 * time.Second)
	for l.Stats().HandshakesDropped < 9 {
		if time.Now().After(deadline) {
			t.Fatalf("of 12 silent connections of one host %d were dropped, want 9", l.Stats().HandshakesDropped)
		}
		<-time.After(5 * time.Millisecond)
	}
	conn := connect(t, "127.0.0.1", l.Addr())
	if conn == nil {
		t.Fatal("another host was turned away")
	}
	state := conn.ConnectionState().TLS
	exported, err := state.ExportKeyingMaterial(api.ConnectorProofLabel, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	h := connwire.Hello{TunnelID: "tunnel", ConnectorID: "replica"}
	copy(h.Proof[:], api.ConnectorProof(key, exported, h.TunnelID, h.ConnectorID))
	b, err := h.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := conn.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	if v, err := connwire.ReadVerdict(s); err != nil || !v.OK {
		t.Errorf("a connector that proves itself meanwhile: %+v, %v", v, err)
	}
}
