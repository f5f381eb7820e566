package tunnel

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	defaultMTU = 1280 // survives PPPoE, nested tunnels and IPv6's minimum
	minMTU     = 1280 // of IPv6, RFC 8200 section 5
	maxMTU     = 65535 - 80
	// closeGrace is how long Close lets resets leave at most, closeQuiet the
	// milliseconds without a packet after which they have left.
	closeGrace = 200 * time.Millisecond
	closeQuiet = 10
)

// Tunnel is one end. It is safe for concurrent use.
type Tunnel struct {
	log     *slog.Logger
	limits  Limits
	gateway bool
	listen  netip.AddrPort
	public  atomic.Pointer[PublicKey]
	rekeyed atomic.Int64 // when SetPrivateKey ended all sessions, as nanoseconds after epoch; 0: never

	wg    *wgdevice.Device
	dev   *device
	queue *fairQueue
	stack *stack.Stack
	bind  *meteredBind

	peers      *peerTable
	flows      *flowTable
	addrs      addressSet
	icmpErrors icmpErrors
	icmpLimit  *rate.Limiter
	drops      drops
	handlers   handlerGroup
	workers    workers

	ctx       context.Context //nolint:containedctx // the life of the tunnel, which its handlers get
	cancel    context.CancelFunc
	closeOnce sync.Once
}

// New builds the device and brings it up; Close ends it.
func New(cfg Config) (*Tunnel, error) {
	return NewWithBind(cfg, nil)
}

// NewWithBind is New over another transport than UDP sockets; nil means UDP.
// It is for tests of packages that need a tunnel and no network.
func NewWithBind(cfg Config, bind conn.Bind) (*Tunnel, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("new tunnel: %w", err)
	}
	if bind == nil {
		bind = newBind(cfg.Listen, cfg.Handler != nil)
	}
	t := &Tunnel{
		log:        cfg.logger(),
		limits:     cfg.Limits.withDefaults(),
		gateway:    cfg.Handler != nil,
		listen:     cfg.Listen,
		bind:       &meteredBind{Bind: bind, inbound: new(inbound)},
		peers:      newPeerTable(),
		addrs:      addressSet{set: make(map[netip.Addr]struct{})},
		icmpErrors: icmpErrors{flows: make(map[icmpKey]func(error))},
		icmpLimit:  rate.NewLimiter(icmpPerSecond, icmpBurst),
	}
	if !t.gateway {
		t.limits = t.limits.forClient()
	}
	public := cfg.PrivateKey.Public()
	t.public.Store(&public)
	t.addrs.port.Store(rand.Uint32())
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.flows = newFlowTable(t.limits, &t.drops)
	t.queue = newFairQueue(t.limits.MaxQueueBytes, &t.drops)
	if err := t.start(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("new tunnel: %w", err), t.Close())
	}
	return t, nil
}

func (t *Tunnel) start(cfg Config) error {
	var err error
	if t.stack, err = newStack(); err != nil {
		return err
	}
	t.bind.gate = newGate(gatePackets, &t.drops)
	t.dev = newDevice(cfg.mtu(), t.queue, t.bind.gate, t.bind.inbound, &t.drops)
	if t.gateway {
		err = setUpGateway(t.stack, t.dev)
		t.forward(cfg.Handler)
	} else {
		err = setUpClient(t.stack, t.dev)
		t.dev.inspect = t.icmpErrors.inspect
	}
	if err != nil {
		return err
	}
	for _, a := range cfg.Addresses {
		if err := t.AddAddress(a); err != nil {
			return err
		}
	}
	t.wg = wgdevice.NewDevice(t.dev, t.bind, wireguardLogger(t.log))
	uapi := fmt.Sprintf("private_key=%s\nlisten_port=%d\n", hex.EncodeToString(cfg.PrivateKey[:]), cfg.Listen.Port())
	if err := t.wg.IpcSet(uapi); err != nil {
		return fmt.Errorf("configure WireGuard: %w", err)
	}
	if err := t.wg.Up(); err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	return nil
}

func (c Config) mtu() int { return orDefault(c.MTUBytes, defaultMTU) }

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

func (c Config) validate() error {
	switch {
	case c.PrivateKey.IsZero():
		return errors.New("no private key")
	case c.MTUBytes != 0 && (c.MTUBytes < minMTU || c.MTUBytes > maxMTU):
		return fmt.Errorf("MTU of %d bytes is not between %d and %d", c.MTUBytes, minMTU, maxMTU)
	case c.Handler != nil && len(c.Addresses) > 0:
		return errors.New("a gateway end has no addresses of its own")
	}
	return nil
}

// wireguardLogger passes WireGuard's errors on; its running commentary only
// when debugging.
func wireguardLogger(l *slog.Logger) *wgdevice.Logger {
	out := &wgdevice.Logger{Verbosef: wgdevice.DiscardLogf, Errorf: func(format string, args ...any) {
		l.LogAttrs(context.Background(), slog.LevelWarn, "wireguard", slog.String("text", fmt.Sprintf(format, args...)))
	}}
	if l.Enabled(context.Background(), slog.LevelDebug) {
		out.Verbosef = func(format string, args ...any) {
			l.LogAttrs(context.Background(), slog.LevelDebug, "wireguard", slog.String("text", fmt.Sprintf(format, args...)))
		}
	}
	return out
}

// Close ends every flow and goroutine, handlers included: their context is
// cancelled and their flows are reset. A second Close does nothing.
func (t *Tunnel) Close() error {
	t.closeOnce.Do(t.close)
	return nil
}

func (t *Tunnel) close() {
	t.flows.close()
	t.cancel()
	t.queue.discardData() // it would only delay the resets
	if t.flows.abort(func(Flow) bool { return true }) > 0 || !t.queue.empty() {
		t.drain()
	}
	if t.wg != nil {
		t.wg.Close() // closes the device and the queue first
	}
	t.queue.close()
	if t.stack != nil {
		// A request that is being accepted waits for an endpoint that only
		// this ends; one that begins meanwhile is caught by the second round.
		t.stack.Close()
		t.handlers.wait(t.stack.Close)
		t.flows.abort(func(Flow) bool { return true })
		t.stack.Destroy()
	}
	t.workers.close()
}

// drain gives the resets of close a moment to leave, and to answer what is
// still on its way here, so that the other end fails at once and not by its
// timers.
func (t *Tunnel) drain() {
	end := time.Now().Add(closeGrace)
	for quiet := 0; quiet < closeQuiet && time.Now().Before(end); quiet++ {
		if !t.queue.empty() {
			quiet = 0
		}
		time.Sleep(time.Millisecond)
	}
}

func (t *Tunnel) isClosed() bool { return t.ctx.Err() != nil }

// PublicKey of this end.
func (t *Tunnel) PublicKey() PublicKey { return *t.public.Load() }

// SetPrivateKey gives this end another key while it is up. The sessions of all peers end, and theirs must know the new
// public key before a handshake can succeed; see ForceHandshake. Flows live on: they know nothing of keys.
func (t *Tunnel) SetPrivateKey(k PrivateKey) error {
	if k.IsZero() {
		return errors.New("set private key: no key")
	}
	t.peers.set.Lock()
	defer t.peers.set.Unlock()
	if t.isClosed() {
		return fmt.Errorf("set private key: %w", ErrClosed)
	}
	if err := t.wg.IpcSet("private_key=" + hex.EncodeToString(k[:]) + "\n"); err != nil {
		return errors.New("set private key: WireGuard refuses it") // its own words might hold the key
	}
	t.rekeyed.Store(int64(time.Since(epoch)))
	public := k.Public()
	t.public.Store(&public)
	return nil
}

// ListenPort is the UDP port in use.
func (t *Tunnel) ListenPort() uint16 { return t.bind.port() }

// Rebind reopens the UDP sockets after a network change. The port stays if it
// was configured; otherwise there is a new one. Flows survive.
func (t *Tunnel) Rebind() error {
	if t.isClosed() {
		return fmt.Errorf("rebind: %w", ErrClosed)
	}
	if t.listen.Port() != 0 {
		if err := t.wg.BindUpdate(); err != nil {
			return fmt.Errorf("rebind: %w", err)
		}
		return nil
	}
	if err := t.wg.IpcSet("listen_port=0\n"); err != nil {
		return fmt.Errorf("rebind: %w", err)
	}
	return nil
}

// AbortFlows resets every open flow that matches and returns how many. match
// must not call the tunnel.
func (t *Tunnel) AbortFlows(match func(Flow) bool) int { return t.flows.abort(match) }

// Stats returns the counters.
func (t *Tunnel) Stats() Stats {
	open, dials := t.flows.counts()
	return Stats{
		FlowsOpen: int64(open), DialsInFlight: int64(dials), Dropped: t.drops.snapshot(),
		PacketsSent: t.bind.sent.Load(), PacketsReceived: t.bind.received.Load(),
	}
}

// handlerGroup counts running handlers, and starts none after wait began.
type handlerGroup struct {
	mu      sync.Mutex
	closing bool
	wg      sync.WaitGroup
}

func (g *handlerGroup) add() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return false
	}
	g.wg.Add(1)
	return true
}

func (g *handlerGroup) done() { g.wg.Done() }

// wait returns when every handler has, and calls nudge while they have not.
func (g *handlerGroup) wait(nudge func()) {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	done := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
			nudge()
		}
	}
}
