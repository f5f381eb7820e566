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

// The back-off between attempts to reach a gateway.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// links keeps one connection to each gateway of the state.
type links struct {
	connector *Connector
	ctx       context.Context //nolint:containedctx // the life of Run, which owns links
	group     *errgroup.Group

	mu      sync.Mutex
	running map[string]*running // by gateway ID
}

type running struct {
	gateway api.ConnectorGateway
	cancel  context.CancelFunc
}

// set starts what is new, stops what is gone and restarts what changed.
func (l *links) set(gateways map[string]api.ConnectorGateway) {
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
		ctx, cancel := context.WithCancel(l.ctx)
		l.running[id] = &running{gateway: g, cancel: cancel}
		l.group.Go(func() error {
			defer cancel()
			l.connector.keepLink(ctx, g)
			return nil
		})
	}
}

// keepLink connects and serves until ctx ends. A session that worked is followed by
// an attempt at once; failures wait longer and longer, with jitter.
func (c *Connector) keepLink(ctx context.Context, g api.ConnectorGateway) {
	log := c.cfg.Logger.With(slog.String("gateway_id", g.ID))
	wait := minBackoff
	for n := 0; ctx.Err() == nil; n++ {
		worked, err := c.link(ctx, g, n, log)
		if ctx.Err() != nil {
			return
		}
		if worked {
			wait = minBackoff
		}
		pause := wait/2 + rand.N(wait/2)
		log.WarnContext(ctx, "gateway lost", slog.Any("error", err), slog.Duration("retry_in", pause))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		wait = min(2*wait, maxBackoff)
	}
}

// link makes the nth attempt, each at the next endpoint, and serves the connection to its end.
func (c *Connector) link(ctx context.Context, g api.ConnectorGateway, n int, log *slog.Logger) (worked bool, err error) {
	if len(g.Endpoints) == 0 {
		return false, errors.New("gateway has no endpoint")
	}
	endpoint := g.Endpoints[n%len(g.Endpoints)]
	addr, err := resolve(ctx, endpoint)
	if err != nil {
		return false, err
	}
	socket, err := net.ListenUDP("udp", nil)
	if err != nil {
		return false, fmt.Errorf("open socket: %w", err)
	}
	tr := &quic.Transport{Conn: socket}
	defer func() {
		if cerr := errors.Join(tr.Close(), socket.Close()); cerr != nil {
			log.DebugContext(ctx, "close socket", slog.Any("error", cerr))
		}
	}()
	conn, err := c.greet(ctx, tr, addr, g)
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	log.InfoContext(ctx, "gateway connected", slog.String("endpoint", endpoint))
	c.counters.sessions.Add(1)
	c.readyOnce.Do(func() { close(c.ready) })
	return true, c.serve(ctx, conn, log)
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
		NextProtos:            []string{connwire.ALPN},
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
