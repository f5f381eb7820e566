// Package dev runs a whole Weft in one process: the control plane, a gateway
// and, when asked, connectors, on SQLite in one directory, as an ordinary user.
// It is a composition for development, demonstrations and the tests of other
// programs, not a way to run a production.
//
// What other programs rely on: the ready file appears once everything answers,
// a second start on the same directory keeps the authority, the tokens and (when
// they are free) the ports, and Environment says how to reach it.
package dev

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/api"
	"weft/control"
	"weft/gateway"
	"weft/internal/kind"
)

// Config of a Dev.
type Config struct {
	// Dir holds all state; it is created (0700) when missing.
	Dir string
	// Listen is the address to bind; the zero value means 127.0.0.1.
	Listen netip.Addr
	// Advertise is the name or address that others use; empty means Listen, or for an
	// unspecified Listen the first address of this host.
	Advertise string
	// The ports; 0 means last time's when it is free, else a free one.
	ControlPort, WireGuardPort, ConnectorPort uint16
	// Connectors run in this process.
	Connectors []Connector
	// DrainTimeout is how long RunUntil waits for live sessions; 0: not at all.
	DrainTimeout time.Duration
	// Record has SSH sessions recorded unless control says otherwise.
	Record bool
	// Logger; nil discards.
	Logger *slog.Logger
}

// Dev is one composition.
type Dev struct {
	cfg   Config
	ready chan struct{}
	// serving is set when there is a gateway that can drain.
	serving atomic.Bool
}

// New validates cfg; nothing starts and nothing is written.
func New(cfg Config) (*Dev, error) {
	if cfg.Dir == "" {
		return nil, kind.New(kind.Invalid, "a directory is required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("make the directory absolute: %w", err)
	}
	cfg.Dir = dir
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Advertise == "" {
		if cfg.Advertise, err = advertised(cfg.Listen); err != nil {
			return nil, err
		}
	}
	return &Dev{cfg: cfg, ready: make(chan struct{})}, nil
}

// Ready is closed once control plane, gateway and connectors answer.
func (d *Dev) Ready() <-chan struct{} { return d.ready }

// Run runs everything until ctx ends (then it returns nil) or a part fails.
func (d *Dev) Run(ctx context.Context) error { return d.RunUntil(ctx, nil) }

// RunUntil is Run, but when stop is closed the gateway takes no new sessions, waits for those that are live, for
// Config.DrainTimeout at most, and everything ends.
func (d *Dev) RunUntil(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-stop:
			if !d.serving.Load() {
				cancel()
			}
		case <-ctx.Done():
		}
	})
	return d.run(ctx, func(gctx context.Context, gw *gateway.Gateway) error {
		d.serving.Store(true)
		err := gw.RunUntil(gctx, stop)
		if err == nil {
			cancel() // it has drained
		}
		return err
	})
}

func (d *Dev) run(ctx context.Context, serve serveGateway) error {
	if err := os.MkdirAll(d.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("create the directory: %w", err)
	}
	unlock, err := lockDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	ports, err := d.ports()
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	if err := d.start(gctx, g, ports, serve); err != nil {
		// What did start must end; the first error of the group is the better one when it caused this one.
		g.Go(func() error { return err })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// serveGateway runs a gateway.
type serveGateway func(ctx context.Context, gw *gateway.Gateway) error

// start brings the parts up in order of need and closes ready.
func (d *Dev) start(ctx context.Context, g *errgroup.Group, p ports, serve serveGateway) error {
	ctl, err := control.New(d.controlConfig(p)) //nolint:contextcheck // it opens its store whole, without a context
	if err != nil {
		return fmt.Errorf("set up the control plane: %w", err)
	}
	g.Go(func() error { return named("control plane", ctl.Run(ctx)) })
	if err := wait(ctx, ctl.Ready()); err != nil {
		return err
	}
	in, err := d.record(ctx, ctl, p)
	if err != nil {
		return err
	}
	gw, err := d.gateway(ctx, ctl, in, p)
	if err != nil {
		return err
	}
	g.Go(func() error { return named("gateway", serve(ctx, gw)) })
	if err := wait(ctx, gw.Ready()); err != nil {
		return err
	}
	if err := d.startConnectors(ctx, g, in); err != nil {
		return err
	}
	if err := in.checkHealth(ctx); err != nil {
		return err
	}
	d.cfg.Logger.InfoContext(ctx, "weft dev answers", "control", in.URL, "wireguard_port", p.WireGuard, "connector_port", p.Connector)
	close(d.ready)
	return nil
}

func (d *Dev) controlConfig(p ports) control.Config {
	return control.Config{
		Dir:       filepath.Join(d.cfg.Dir, "control"),
		Listen:    net.JoinHostPort(d.cfg.Listen.String(), strconv.Itoa(int(p.Control))),
		PublicURL: "https://" + net.JoinHostPort(d.cfg.Advertise, strconv.Itoa(int(p.Control))),
		Hostnames: []string{d.cfg.Advertise, "localhost", "127.0.0.1"},
		Logger:    d.cfg.Logger.With("part", "control"),
	}
}

func (d *Dev) gateway(ctx context.Context, ctl *control.Control, in instance, p ports) (*gateway.Gateway, error) {
	token, err := ctl.EnsureGateway(ctx, "dev")
	if err != nil {
		return nil, fmt.Errorf("register the gateway: %w", err)
	}
	client, err := in.client(token, d.cfg.Logger)
	if err != nil {
		return nil, err
	}
	gw, err := gateway.New(gateway.Config{
		StateDir:        filepath.Join(d.cfg.Dir, "gateway"),
		Control:         client,
		Listen:          netip.AddrPortFrom(d.cfg.Listen, p.WireGuard),
		ConnectorListen: netip.AddrPortFrom(d.cfg.Listen, p.Connector),
		AdvertiseHosts:  []string{d.cfg.Advertise},
		AuditFile:       filepath.Join(d.cfg.Dir, "audit.jsonl"),
		DrainTimeout:    d.cfg.DrainTimeout,
		Recording:       gateway.Recording{Enabled: d.cfg.Record},
		Logger:          d.cfg.Logger.With("part", "gateway"),
	})
	if err != nil {
		return nil, fmt.Errorf("set up the gateway: %w", err)
	}
	return gw, nil
}

// client builds a client of this instance.
func (in instance) client(token string, logger *slog.Logger) (*api.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(in.CAPEM)) {
		return nil, errors.New("the development authority is no PEM certificate")
	}
	return api.NewClient(api.ClientConfig{
		BaseURL: in.URL, Token: api.Secret(token), Roots: roots, UserAgent: "weft-dev", Logger: logger,
	})
}

// named says which part failed; the end of the context is no failure.
func named(part string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", part, err)
}

func wait(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
