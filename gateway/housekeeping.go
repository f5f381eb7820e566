package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// The rhythm of housekeeping.
const (
	saveInterval  = 10 * time.Second
	saveSoon      = time.Second // after a connector or a peer came
	statsInterval = time.Minute
)

// The back-off of the report.
const (
	reportMinWait = 100 * time.Millisecond
	reportMaxWait = 15 * time.Second
)

// announce reports the gateway until control has taken it; then, with the first state, the gateway is ready.
func (g *Gateway) announce(ctx context.Context) error {
	report, err := g.report()
	if err != nil {
		return err
	}
	wait := reportMinWait
	for {
		err := g.cfg.Control.Do(ctx, http.MethodPut, api.PathGatewaySelf, report, nil)
		if err == nil {
			break
		}
		switch kind.Of(err) {
		case kind.Unauthenticated, kind.Denied, kind.NotFound, kind.Invalid:
			return fmt.Errorf("report to control: %w", err)
		default: // worth another attempt
		}
		pause := wait/2 + rand.N(wait/2)
		g.log.WarnContext(ctx, "report not delivered", slog.Any("error", err), slog.Duration("retry_in", pause))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		wait = min(2*wait, reportMaxWait)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-g.gotState:
	}
	close(g.ready)
	g.log.InfoContext(ctx, "gateway ready", slog.Any("wireguard", report.Endpoints), slog.Any("connectors", report.ConnectorEndpoints))
	return nil
}

// report says what agents and connectors need to find the gateway.
func (g *Gateway) report() (api.GatewayReport, error) {
	r := api.GatewayReport{
		PublicKey: g.PublicKey().String(), CertificateSHA256: g.keys.certificateSum(),
		Version: g.cfg.Version, Epoch: g.epoch, Draining: g.leaving.on.Load(),
	}
	hosts, err := g.hosts(g.cfg.Listen.Addr())
	if err != nil {
		return r, err
	}
	r.Endpoints = join(hosts, g.peers.tunnel.ListenPort())
	if hosts, err = g.hosts(g.cfg.ConnectorListen.Addr()); err != nil {
		return r, err
	}
	r.ConnectorEndpoints = join(hosts, g.connectors.Addr().Port())
	return r, nil
}

func join(hosts []string, port uint16) []string {
	out := make([]string, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, net.JoinHostPort(h, strconv.Itoa(int(port))))
	}
	return out
}

// hosts are the names under which a listen address is reached.
func (g *Gateway) hosts(listen netip.Addr) ([]string, error) {
	if len(g.cfg.AdvertiseHosts) > 0 {
		return g.cfg.AdvertiseHosts, nil
	}
	if !listen.IsUnspecified() {
		return []string{listen.String()}, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list own addresses: %w", err)
	}
	var out []string
	for _, a := range addrs {
		p, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(p.IP)
		if ip = ip.Unmap(); ok && ip.IsGlobalUnicast() {
			out = append(out, ip.String())
		}
	}
	if len(out) == 0 {
		out = []string{"127.0.0.1"}
	}
	return out, nil
}

// housekeeping saves what helps a restart, and says how things are.
func (g *Gateway) housekeeping(ctx context.Context) error {
	save, soon, stats := time.NewTicker(saveInterval), time.NewTicker(saveSoon), time.NewTicker(statsInterval)
	defer save.Stop()
	defer soon.Stop()
	defer stats.Stop()
	var accepted uint64
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-save.C:
			g.saveRuntime(ctx)
		case <-soon.C:
			if n := g.connectors.Stats().Accepted; n != accepted || g.peers.news() {
				accepted = n
				g.saveRuntime(ctx)
			}
		case <-stats.C:
			g.log.InfoContext(ctx, "gateway statistics", slog.Any("stats", g.Stats()))
		}
	}
}

func (g *Gateway) saveRuntime(ctx context.Context) {
	r := savedRuntime{Endpoints: g.peers.endpoints(g.now()), Connectors: g.connectors.Remotes()}
	if at := g.contact.Load(); at != nil {
		r.Contact = at.Round(0) // without the monotonic part, which means nothing to the next process
	}
	if err := g.store.saveRuntime(r); err != nil {
		g.log.ErrorContext(ctx, "runtime not saved", slog.Any("error", err))
	}
}

func (g *Gateway) saveState(ctx context.Context, s savedState) {
	if err := g.store.saveState(s); err != nil {
		g.log.ErrorContext(ctx, "state not saved", slog.Any("error", err))
	}
}

func decodeKey(s api.Secret) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(string(s))
	if err == nil && len(b) == 0 {
		err = errors.New("empty key")
	}
	return b, err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
