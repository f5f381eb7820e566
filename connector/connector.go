// Package connector runs inside a private network: it dials outward to every gateway of its tunnel and opens the
// connections that they ask for. It needs no open port.
//
// It trusts a gateway as far as control vouches for it (a pinned certificate), and even then it dials only
// addresses that a route of its own tunnel covers, in the VNET of that route, and never a loopback, link-local,
// multicast or unspecified address. The protocol is package internal/connwire.
package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"weft/api"
)

// Config of a Connector.
type Config struct {
	Token api.ConnectorToken
	// Control is authenticated by the connector token.
	Control *api.Client
	// Map translates a target address to another dial address, for hosts without a network of their own.
	// The target address must be covered by a route all the same; the dial address may be anything.
	Map map[netip.AddrPort]netip.AddrPort
	// Source says when certificates may be bound to the address of this connector; "" means SourceAuto.
	Source SourceMode
	Limits Limits
	// Version of the software, for people; at most 64 printable ASCII characters without spaces, may be empty.
	Version string
	Logger  *slog.Logger
}

// Limits bound what gateways can drive; zero means the default.
type Limits struct {
	MaxFlowsPerGateway int // 16384
	MaxFlows           int // of all gateways; 32768, and never more than 90 % of the files that the process may open
	MaxDialsInFlight   int // 1024
}

func (c *Config) validate() error {
	if c.Control == nil {
		return errors.New("connector: no control client")
	}
	if c.Token.TunnelID == "" {
		return errors.New("connector: the token names no tunnel")
	}
	for from, to := range c.Map {
		if !from.IsValid() || !to.IsValid() {
			return fmt.Errorf("connector: map %v to %v: invalid address", from, to)
		}
	}
	if err := c.Source.validate(); err != nil {
		return err
	}
	c.Limits.MaxFlowsPerGateway = orDefault(c.Limits.MaxFlowsPerGateway, 16384)
	c.Limits.MaxFlows = orDefault(c.Limits.MaxFlows, 32768)
	if n := maxFiles(); n > 0 {
		// A flow is a socket. Refusing in time beats failing at whatever needs a file next.
		c.Limits.MaxFlows = min(c.Limits.MaxFlows, max(1, n/10*9))
	}
	c.Limits.MaxDialsInFlight = orDefault(c.Limits.MaxDialsInFlight, 1024)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

// Connector is one replica of a tunnel.
type Connector struct {
	cfg    Config
	id     string
	routes atomic.Pointer[routes]
	dialer dialer

	ready     chan struct{}
	readyOnce sync.Once
	counters  counters
}

type counters struct {
	flows, dials                atomic.Int64
	opened, refused, limited    atomic.Uint64
	notRouted, broken, sessions atomic.Uint64
}

// Stats is a snapshot of the counters.
type Stats struct {
	FlowsOpen     int64
	DialsInFlight int64
	Opened        uint64 // flows
	Refused       uint64 // by the target, or unreachable, or timed out
	NotRouted     uint64 // refused here: no route covers the address
	Limited       uint64 // refused here: a limit
	Broken        uint64 // requests that could not be read
	Sessions      uint64 // connections to gateways that were accepted
}

// New validates cfg; nothing starts before Run.
func New(cfg Config) (*Connector, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Connector{cfg: cfg, id: uuid.NewString(), ready: make(chan struct{})}
	c.routes.Store(newRoutes(nil))
	c.dialer = dialer{routes: &c.routes, translate: cfg.Map, mode: cfg.Source}
	return c, nil
}

// ID is this replica's name, new with every New.
func (c *Connector) ID() string { return c.id }

// Ready is closed when the first gateway has accepted the connector.
func (c *Connector) Ready() <-chan struct{} { return c.ready }

// Stats returns the counters.
func (c *Connector) Stats() Stats {
	return Stats{
		FlowsOpen: c.counters.flows.Load(), DialsInFlight: c.counters.dials.Load(),
		Opened: c.counters.opened.Load(), Refused: c.counters.refused.Load(), NotRouted: c.counters.notRouted.Load(),
		Limited: c.counters.limited.Load(), Broken: c.counters.broken.Load(), Sessions: c.counters.sessions.Load(),
	}
}

// Run serves until ctx ends (returns nil) or control refuses the token (returns that error).
func (c *Connector) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	links := &links{connector: c, group: g, running: make(map[string]*running)}
	g.Go(func() error {
		err := api.Watch(gctx, c.cfg.Control, api.PathConnectorSync, api.WatchConfig[api.ConnectorState]{
			OnState: func(revision uint64, s *api.ConnectorState) {
				c.cfg.Logger.DebugContext(gctx, "state received", slog.Uint64("revision", revision))
				c.routes.Store(newRoutes(s.Routes))
				links.set(gctx, s.Gateways)
			},
			OnError: c.syncBroken(gctx),
		})
		return fmt.Errorf("follow control: %w", err)
	})
	err := g.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
