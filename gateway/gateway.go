package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"weft/access"
	"weft/api"
	"weft/gateway/audit"
	"weft/gateway/connectors"
	"weft/gateway/enforce"
	"weft/gateway/recording"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
	"weft/tunnel"
	"weft/vnet"
)

// defaultStale is after how long without control nothing new is opened, when the state does not say.
const defaultStale = time.Hour

// Gateway is one gateway. New makes it, Run runs it once.
type Gateway struct {
	cfg   Config
	log   *slog.Logger
	keys  keys
	store store
	pins  *pins
	proxy *sshproxy.Proxy
	// hostCerts certify the host keys that proxy presents.
	hostCerts *hostCerts
	// revocations are of certificates whose sessions were cut.
	revocations *revocations
	epoch       string
	// recorder is nil when it could not be set up.
	recorder *recording.Recorder

	// newTunnel is tunnel.New but in tests.
	newTunnel func(tunnel.Config) (*tunnel.Tunnel, error)
	// openAudit is audit.Open but in tests.
	openAudit func(path string) (*audit.Log, error)
	// now is time.Now but in tests.
	now func() time.Time
	// udpIdle is udpIdle but in tests.
	udpIdle time.Duration

	// Set by Run before any flow can arrive.
	audit      *audit.Log
	connectors *connectors.Listener
	peers      *peers
	remembered []netip.AddrPort // connectors of the last run
	greetOnce  sync.Once
	started    atomic.Bool

	view    atomic.Pointer[enforce.View]
	contact atomic.Pointer[time.Time] // last with control
	// outdated is set while the newest state is one that did not compile.
	outdated atomic.Bool
	good     *api.GatewayState // what view was compiled from; of the goroutine that follows control
	table    *sessions.Table
	leaving  leaving
	denials  *denials
	probes   *probes
	explains *explains
	flows    sync.WaitGroup // UDP flows and probes; TCP flows are the tunnel's handlers
	counts   counters

	ready    chan struct{}
	gotState chan struct{}
	stateOne sync.Once
}

// New prepares the state directory and the keys in it.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: make state directory: %w", err)
	}
	g := &Gateway{
		cfg: cfg, log: cfg.Logger, store: store{cfg.StateDir}, epoch: uuid.NewString(),
		newTunnel: tunnel.New, openAudit: audit.Open, now: time.Now, udpIdle: udpIdle,
		table: sessions.New(cfg.Limits.Sessions), denials: newDenials(),
		probes: newProbes(cfg.Limits.MaxProbesPerDevice), explains: newExplains(),
		ready: make(chan struct{}), gotState: make(chan struct{}),
	}
	var err error
	if g.keys, err = loadKeys(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if g.pins, err = loadPins(cfg.StateDir, cfg.Limits.MaxPinnedHostKeys); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.hostCerts = loadHostCerts(cfg.StateDir, g.keys.sshHost, sshHostFiles[:], g.log)
	g.hostCerts.sign = g.signHostKey
	g.revocations = newRevocations()
	if g.proxy, err = sshproxy.New(sshproxy.Config{HostKeys: g.keys.sshHost, HostCertificates: g.hostCerts.signers}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	// Also when nothing is to be recorded by default: control may ask for it.
	if g.recorder, err = newRecorder(cfg); err != nil {
		if cfg.Recording.Enabled {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		g.log.Warn("recorder not set up: sessions that control wants recorded are refused, or raise an alarm", slog.Any("error", err))
	}
	return g, nil
}

// PublicKey is the gateway's WireGuard key.
func (g *Gateway) PublicKey() tunnel.PublicKey { return g.keys.wireGuard.Public() }

// Ready is closed when the gateway serves: control accepted its report and sent its state.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Run serves until ctx ends (nil) or something that it cannot do without fails.
func (g *Gateway) Run(ctx context.Context) (err error) {
	if g.started.Swap(true) {
		return errors.New("gateway: it was run before")
	}
	if g.audit, err = g.openAudit(g.cfg.AuditFile); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer func() { err = errors.Join(err, g.audit.Close()) }()
	stopRecorder := g.runRecorder(ctx)
	defer func() { err = errors.Join(err, stopRecorder()) }()
	runtime := g.restore(ctx)
	g.connectors, err = connectors.Listen(connectors.Config{
		Listen: g.cfg.ConnectorListen, Certificate: g.keys.certificate,
		ResetKey: quic.StatelessResetKey(g.keys.reset), Limits: g.cfg.Limits.Connectors,
		Logger: g.log.With(slog.String("part", "connectors")),
	})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	tun, err := g.newTunnel(tunnel.Config{
		PrivateKey: g.keys.wireGuard, Listen: g.cfg.Listen, Handler: g, Limits: g.tunnelLimits(),
		Logger: g.log.With(slog.String("part", "tunnel")),
	})
	if err != nil {
		return fmt.Errorf("gateway: %w", errors.Join(err, g.connectors.Close()))
	}
	g.peers = newPeers(tun, runtime.Endpoints, g.log)
	g.remembered = runtime.Connectors
	if err := g.audit.Write(audit.Event{Event: audit.GatewayUp}); err != nil {
		return errors.Join(fmt.Errorf("gateway: %w", err), tun.Close(), g.connectors.Close())
	}
	err = g.serve(ctx)
	return g.stop(ctx, tun, err)
}

// tunnelLimits let the session table, which says on record what it refused, be the first to refuse.
func (g *Gateway) tunnelLimits() tunnel.Limits {
	l := g.cfg.Limits.Tunnel
	if l.MaxFlowsPerSource == 0 {
		l.MaxFlowsPerSource = 8192
	}
	if l.MaxFlows == 0 {
		l.MaxFlows = 1 << 17
	}
	return l
}

// restore takes up the state of the last run, if there is one, so that the gateway serves before control answers.
func (g *Gateway) restore(ctx context.Context) savedRuntime {
	runtime, err := g.store.loadRuntime()
	if err != nil {
		g.log.WarnContext(ctx, "saved runtime not usable", slog.Any("error", err))
	}
	// A time in the future is a clock that was set back: how old the state is cannot be known.
	if !runtime.Contact.IsZero() && !runtime.Contact.After(g.now()) {
		at := runtime.Contact
		g.contact.Store(&at)
	}
	return runtime
}

// serve runs everything that has a life of its own.
func (g *Gateway) serve(ctx context.Context) error {
	grp, gctx := errgroup.WithContext(ctx)
	grp.Go(func() error { return g.connectors.Run(gctx) })
	grp.Go(func() error { return g.peers.run(gctx) })
	grp.Go(func() error { return g.watch(gctx) })
	grp.Go(func() error { return g.announce(gctx) })
	grp.Go(func() error { return g.housekeeping(gctx) })
	grp.Go(func() error { return g.answerQuestions(gctx) })
	grp.Go(func() error { return g.hostCerts.run(gctx) })
	grp.Go(func() error { return g.revocations.run(gctx, g.revokeCertificates, g.log) })
	err := grp.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// stop saves what helps the next start, then ends the flows.
func (g *Gateway) stop(ctx context.Context, tun *tunnel.Tunnel, err error) error {
	ctx = context.WithoutCancel(ctx)
	g.saveRuntime(ctx)
	n := g.table.Reevaluate(func(*sessions.Session) error { return errStopping })
	err = errors.Join(err, tun.Close(), ignoreClosed(g.connectors.Close()))
	g.flows.Wait()
	g.log.InfoContext(ctx, "gateway stopped", slog.Int("flows_cut", n))
	return errors.Join(err, g.audit.Write(audit.Event{Event: audit.GatewayDown}))
}

// watch follows control.
func (g *Gateway) watch(ctx context.Context) error {
	cfg := api.WatchConfig[api.GatewayState]{
		OnState: func(revision uint64, st *api.GatewayState) {
			if g.apply(ctx, revision, st, g.now()) {
				g.saveState(ctx, savedState{Revision: revision, State: st})
			}
		},
		OnContact: func(at time.Time) {
			// While what control says cannot be applied, what is in force grows old.
			if g.view.Load() != nil && !g.outdated.Load() {
				g.contact.Store(&at)
				g.stateOne.Do(func() { close(g.gotState) })
			}
		},
		OnError: func(err error, wait time.Duration) {
			g.log.WarnContext(ctx, "control not reached", slog.Any("error", err), slog.Duration("retry_in", wait))
		},
	}
	saved, err := g.store.loadState()
	if err != nil {
		g.log.WarnContext(ctx, "saved state not usable", slog.Any("error", err))
	} else if saved.State != nil && g.apply(ctx, saved.Revision, saved.State, time.Time{}) {
		cfg.Since, cfg.State = saved.Revision, saved.State
	}
	return fmt.Errorf("follow control: %w", api.Watch(ctx, g.cfg.Control, api.PathGatewaySync, cfg))
}

// apply makes st the state that decides, and cuts what it no longer allows. Of a state that does not
// compile only what it takes away is applied; the rest of the old one goes on, and grows stale until there is one that
// does. heard is when control sent it; zero
// means that it is the last run's, and as old as it was.
func (g *Gateway) apply(ctx context.Context, revision uint64, st *api.GatewayState, heard time.Time) bool {
	start := time.Now()
	view, err := enforce.Compile(revision, st)
	if err != nil {
		g.outdated.Store(true)
		g.counts.badStates.Add(1)
		g.log.ErrorContext(ctx, "state from control does not compile; the old one stays in force",
			slog.Uint64("policy_rev", revision), slog.Any("error", err))
		g.applyNarrowed(ctx, st)
		return false
	}
	for _, p := range view.Problems() {
		g.log.ErrorContext(ctx, "state from control is incomplete", slog.Any("error", p))
	}
	if !heard.IsZero() {
		g.contact.Store(&heard)
	}
	g.outdated.Store(false)
	g.good = st
	g.install(ctx, view, start)
	return true
}

// applyNarrowed takes away what a state that does not compile takes away.
func (g *Gateway) applyNarrowed(ctx context.Context, next *api.GatewayState) {
	if g.good == nil {
		return // there is no view either, and everything is denied
	}
	revision := g.view.Load().Revision() // what is in force is still that one, less what was taken away
	start := time.Now()
	st := narrowed(g.good, next)
	view, err := enforce.Compile(revision, st)
	if err != nil { // a part of a state that compiled does compile; if not, nothing is the safe answer
		g.log.ErrorContext(ctx, "what is left of the old state does not compile; everything is denied", slog.Any("error", err))
		st = &api.GatewayState{Self: g.good.Self}
		if view, err = enforce.Compile(revision, st); err != nil {
			return
		}
	}
	g.good = st
	g.install(ctx, view, start)
}

// install makes a view the one that decides and cuts what it no longer allows.
func (g *Gateway) install(ctx context.Context, view *enforce.View, start time.Time) {
	g.view.Store(view)
	g.hostCerts.trust(view.Self().SSHHostCAs)
	cut := g.table.Reevaluate(func(s *sessions.Session) error { return keep(view, s) })
	g.setTimes(view)
	g.noticeDrain(view)
	g.connectors.SetTunnels(tunnelKeys(view))
	g.peers.set(ctx, view)
	known := make(map[string]bool)
	for d := range view.Devices {
		known[d.ID] = true
	}
	g.greetOnce.Do(func() {
		g.peers.greet(ctx)
		g.connectors.Wake(ctx, g.remembered)
	})
	g.denials.keep(func(id string) bool { return known[id] })
	g.counts.cut.Add(uint64(cut))
	g.log.InfoContext(ctx, "state applied", slog.Uint64("policy_rev", view.Revision()), slog.Int("devices", len(known)),
		slog.Int("flows_cut", cut), slog.Duration("took", time.Since(start)))
}

func tunnelKeys(view *enforce.View) map[vnet.TunnelID][]byte {
	keys := make(map[vnet.TunnelID][]byte, len(view.Tunnels()))
	for _, t := range view.Tunnels() {
		if key, err := decodeKey(t.Key); err == nil { // an unusable key proves nobody
			keys[t.ID] = key
		}
	}
	return keys
}

// stale reports whether the view is too old to open anything.
func (g *Gateway) stale(view *enforce.View) bool {
	limit := time.Duration(view.Self().StaleAfterSeconds) * time.Second
	if limit <= 0 {
		limit = defaultStale
	}
	at := g.contact.Load()
	return at == nil || g.now().Sub(*at) > limit
}

// decide answers for a new flow: from the current view, unless it is stale.
func (g *Gateway) decide(f enforce.Flow) enforce.Verdict {
	view := g.view.Load()
	if view == nil {
		return enforce.Verdict{Reason: access.NoSnapshot, Decision: access.Decision{Reason: access.NoSnapshot}}
	}
	v := view.Decide(f)
	if v.Allow && g.stale(view) {
		v.Allow, v.Reason = false, access.NoSnapshot
		v.Decision.Allow, v.Decision.Reason = false, access.NoSnapshot
	}
	return v
}
