package connector

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"weft/api"
	"weft/internal/connwire"
)

// links keeps one connection to each gateway of the state.
type links struct {
	connector *Connector
	group     *errgroup.Group

	mu      sync.Mutex
	running map[string]*running // by gateway ID
}

type running struct {
	gateway api.ConnectorGateway
	cancel  context.CancelFunc
}

// set starts what is new, stops what is gone and restarts what changed; what it starts ends with ctx.
func (l *links) set(ctx context.Context, gateways map[string]api.ConnectorGateway) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range l.running {
		if g, ok := gateways[id]; !ok || !reflect.DeepEqual(g, r.gateway) {
			r.cancel()
			delete(l.running, id)
		}
	}
	for id, g := range gateways {
		if _, ok := l.running[id]; ok {
			continue
		}
		linkCtx, cancel := context.WithCancel(ctx)
		l.running[id] = &running{gateway: g, cancel: cancel}
		l.group.Go(func() error {
			defer cancel()
			newLink(l.connector, g).run(linkCtx)
			return nil
		})
	}
}

// resolve finds the UDP address of host:port.
func resolve(ctx context.Context, endpoint string) (*net.UDPAddr, error) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	p, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve endpoint: %w", err)
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("resolve endpoint: %s has no address", host)
	}
	ip := ips[rand.N(len(ips))]
	return &net.UDPAddr{IP: ip.IP, Zone: ip.Zone, Port: p}, nil
}

// greet dials, pins the certificate and says Hello.
func (c *Connector) greet(ctx context.Context, tr *quic.Transport, addr *net.UDPAddr, g api.ConnectorGateway) (*quic.Conn, error) {
	key, err := base64.StdEncoding.DecodeString(string(g.Key))
	if err != nil || len(key) == 0 {
		return nil, errors.New("control gave no usable key for the gateway")
	}
	dialCtx, cancel := context.WithTimeout(ctx, 2*connwire.HandshakeTimeout)
	defer cancel()
	conn, err := tr.Dial(dialCtx, addr, &tls.Config{
		// The certificate is pinned by its hash, which control vouches for: a
		// chain and a name would say less.
		InsecureSkipVerify:    true,
		VerifyPeerCertificate: pinned(g.CertificateSHA256),
		NextProtos:            connwire.Protocols(),
		MinVersion:            tls.VersionTLS13,
	}, connwire.QUICConfig(int64(c.cfg.Limits.MaxFlowsPerGateway)))
	if err != nil {
		return nil, err
	}
	if err := c.hello(dialCtx, conn, key); err != nil {
		return nil, errors.Join(err, conn.CloseWithError(connwire.CodeRefused, "hello failed"))
	}
	return conn, nil
}

func pinned(sum string) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errors.New("gateway presented no certificate")
		}
		got := sha256.Sum256(raw[0])
		if !strings.EqualFold(hex.EncodeToString(got[:]), sum) {
			return errors.New("gateway presented another certificate than control announced")
		}
		return nil
	}
}

func (c *Connector) hello(ctx context.Context, conn *quic.Conn, key []byte) error {
	state := conn.ConnectionState().TLS
	exported, err := state.ExportKeyingMaterial(api.ConnectorProofLabel, nil, 32)
	if err != nil {
		return fmt.Errorf("export keying material: %w", err)
	}
	h := connwire.Hello{TunnelID: c.cfg.Token.TunnelID, ConnectorID: c.id, Software: c.cfg.Version}
	copy(h.Proof[:], api.ConnectorProof(key, exported, h.TunnelID, h.ConnectorID))
	b, err := h.Append(nil)
	if err != nil {
		return err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return fmt.Errorf("open first stream: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { stream.CancelRead(connwire.StreamAbort) })
	defer stop()
	if _, err := stream.Write(b); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	v, err := connwire.ReadVerdict(stream)
	if err != nil {
		return err
	}
	if !v.OK {
		return fmt.Errorf("gateway refused the connector: %s", v.Message)
	}
	return nil
}

func (c *Connector) syncBroken(ctx context.Context) func(error, time.Duration) {
	return func(err error, wait time.Duration) {
		c.cfg.Logger.WarnContext(ctx, "control not reached", slog.Any("error", err), slog.Duration("retry_in", wait))
	}
}
