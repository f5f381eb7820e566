package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/liveness"
	"weft/agent/localapi"
	"weft/agent/netwatch"
	"weft/api"
	"weft/tunnel"
)

const (
	keepalive      = 25 * time.Second // keeps NAT mappings; it detects nothing
	resolveTimeout = 3 * time.Second  // for the name of a gateway's endpoint
	outageMemory   = time.Minute      // how long an outage may explain a new epoch that comes late
	justNow        = 2 * time.Second  // how long it surely does
)

// candidate is one endpoint of one gateway.
type candidate struct {
	id, name string
	key      tunnel.PublicKey
	endpoint string // host:port
	probe    netip.AddrPort
}

// link is the open tunnel: it holds the device, follows the view, and does for the
// liveness monitor what that asks.
type link struct {
	a      *Agent
	log    *slog.Logger
	tun    *tunnel.Tunnel
	rejoin func(force bool) // connects to control anew
	mon    *liveness.Monitor
	cancel context.CancelFunc
	wg     sync.WaitGroup
	echo   *echoer
	ctx    context.Context //nolint:containedctx // the life of the link, for its name lookups

	probesSent, probesAnswered atomic.Uint64

	drainNews chan struct{} // has a token when the gateways that drain may be others

	using sync.Mutex // held over a change of candidate, which may look a name up

	mu         sync.Mutex // guards what follows; nothing blocks under it
	addrs      map[netip.Addr]struct{}
	control    localAddrs
	candidates []candidate
	current    int
	drains     map[string]bool  // gateways that take no new connections, by ID
	used       tunnel.PublicKey // the peer that the tunnel has; zero: none
	attempt    int              // which address of an endpoint's name
	probe      *tunnel.UDPConn
	epochs     map[string]string // by gateway, as control said in this process
	latency    time.Duration
	endpoint   netip.AddrPort
	outage     liveness.Outage // the last one that ended
	explained  bool            // that a restart of the gateway was its cause is known
	news       bool            // of a restart came during the outage that lasts
	downAt     time.Time       // the last answer before the outage that lasts; zero: none
	down       bool
	openAtDown int // flows when the last outage began
}

var (
	_ liveness.Link     = (*link)(nil)
	_ liveness.Listener = (*link)(nil)
)

// newLink makes the tunnel and starts to watch it; close ends it.
func newLink(ctx context.Context, a *Agent, key tunnel.PrivateKey, v *view, rejoin func(force bool)) (*link, error) {
	l := &link{
		a: a, log: a.log, down: true, rejoin: rejoin, drainNews: make(chan struct{}, 1),
		addrs: make(map[netip.Addr]struct{}), epochs: make(map[string]string),
	}
	var err error
	if l.tun, err = tunnel.New(tunnel.Config{PrivateKey: key, Logger: quiet(a.log)}); err != nil { //nolint:contextcheck // the tunnel outlives the call that makes it
		return nil, err
	}
	l.echo = &echoer{tun: l.tun}
	l.mon = liveness.New(liveness.Config{Link: l, Listener: l, Times: a.cfg.Times})
	ctx, l.cancel = context.WithCancel(ctx)
	l.ctx = ctx
	if err := l.apply(ctx, v); err != nil {
		l.close()
		return nil, err
	}
	if !v.live {
		a.status.notice(noticeCachedState, fmt.Sprintf("control has not answered since the start; using its state of %s ago", a.age().Round(time.Second)))
	}
	l.wg.Go(func() { l.mon.Run(ctx) })
	l.wg.Go(func() { l.watchNetwork(ctx) })
	l.wg.Go(func() { l.watchDraining(ctx) })
	return l, nil
}

// close aborts the flows and takes the tunnel down.
func (l *link) close() {
	l.a.plane.Store(nil)
	l.cancel()
	if err := l.tun.Close(); err != nil {
		l.log.Warn("close tunnel", "error", err)
	}
	l.wg.Wait()
	l.a.trim.soon()
}

// apply makes the tunnel follow a view: addresses first, so that a flow which sees
// the new list can be bound; those no longer wanted last.
func (l *link) apply(ctx context.Context, v *view) error {
	want := wantedAddrs(v)
	gone, err := l.addAddrs(want)
	if err != nil {
		return err
	}
	l.a.plane.Store(&plane{link: l, tun: l.tun, addrs: v.addrs, nudge: l.mon.Nudge, check: l.mon.Check, hope: l.mon.Hope, echo: l.echo})
	for _, a := range gone {
		if err := l.tun.RemoveAddress(a); err != nil {
			return err
		}
	}
	if err := l.setCandidates(ctx, v); err != nil {
		return err
	}
	l.noteEpochs(v)
	return nil
}

func wantedAddrs(v *view) map[netip.Addr]struct{} {
	want := map[netip.Addr]struct{}{v.control.v4: {}, v.control.v6: {}}
	for _, a := range v.addrs {
		want[a.v4], want[a.v6] = struct{}{}, struct{}{}
	}
	return want
}

// addAddrs adds what is missing and returns what is too much.
func (l *link) addAddrs(want map[netip.Addr]struct{}) (gone []netip.Addr, err error) {
	l.mu.Lock()
	have := l.addrs
	l.mu.Unlock()
	for a := range want {
		if _, ok := have[a]; !ok {
			if err := l.tun.AddAddress(a); err != nil {
				return nil, err
			}
		}
	}
	for a := range have {
		if _, ok := want[a]; !ok {
			gone = append(gone, a)
		}
	}
	l.mu.Lock()
	l.addrs = want
	l.mu.Unlock()
	return gone, nil
}

// setCandidates takes the endpoints of a view over; the one in use stays while it
// is offered with the same key.
func (l *link) setCandidates(ctx context.Context, v *view) error {
	prefs := l.a.preferred()
	override, _ := l.a.endpointOverride(&prefs)
	var cs []candidate
	for _, g := range v.gateways {
		if override != "" {
			g.Endpoints = []string{override}
		}
		cs = append(cs, candidatesOf(l.log, g)...)
	}
	if len(cs) == 0 {
		return errors.New("no gateway has a usable endpoint")
	}
	l.mu.Lock()
	var now candidate
	if len(l.candidates) > 0 {
		now = l.candidates[l.current]
	}
	at := slices.Index(cs, now)
	stay := at >= 0 && l.control == v.control
	l.candidates, l.control = cs, v.control
	l.drains = drainingOf(v)
	select {
	case l.drainNews <- struct{}{}:
	default:
	}
	l.current = max(at, 0)
	l.mu.Unlock()
	if stay {
		return nil
	}
	return l.useChanged(ctx, now.endpoint != "")
}

// useChanged points the tunnel at another candidate than before.
func (l *link) useChanged(ctx context.Context, had bool) error {
	err := l.use(ctx)
	if had {
		l.mon.EndpointChanged()
	}
	return err
}

// candidatesOf lists what can be tried of a gateway; IPv4 is used for probes as long
// as the gateway has such an address.
func candidatesOf(log *slog.Logger, g api.AgentGateway) []candidate {
	key, err := tunnel.ParsePublicKey(g.PublicKey)
	probe := g.ProbeV4
	if !probe.IsValid() {
		probe = g.ProbeV6
	}
	if err != nil || !probe.IsValid() || g.ProbePort == 0 {
		log.Warn("control named an unusable gateway", "gateway_id", g.ID, "error", err)
		return nil
	}
	var cs []candidate
	for _, e := range g.Endpoints {
		cs = append(cs, candidate{
			id: g.ID, name: g.Name, key: key, endpoint: e, probe: netip.AddrPortFrom(probe, g.ProbePort),
		})
	}
	return cs
}

// use points the tunnel at the current candidate.
func (l *link) use(ctx context.Context) error {
	l.using.Lock()
	defer l.using.Unlock()
	l.mu.Lock()
	c, attempt, control := l.candidates[l.current], l.attempt, l.control
	before := l.used
	l.mu.Unlock()
	endpoint, err := lookUp(ctx, c.endpoint, attempt)
	if err != nil {
		return err
	}
	if before != c.key && !before.IsZero() {
		// A gateway that is not used must not be kept alive either.
		if err := l.tun.RemovePeer(before); err != nil {
			return err
		}
	}
	if err := l.tun.SetPeer(tunnel.Peer{
		// No keepalive yet: with one, WireGuard would begin a handshake of its own, which
		// the monitor's would make worthless half a millisecond later.
		PublicKey: c.key, Endpoint: endpoint, AllowedIPs: everything,
	}); err != nil {
		return err
	}
	l.mu.Lock()
	l.used = c.key
	l.mu.Unlock()
	probe, err := l.tun.DialUDP(ctx, control.of(c.probe.Addr()), c.probe)
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.probe
	l.probe, l.endpoint = probe, endpoint
	latency := l.latency
	l.mu.Unlock()
	if old != nil {
		_ = old.Close() // its reader ends
	}
	l.wg.Go(func() { l.readAnswers(probe) })
	l.a.status.setLink(linkStatus{gateway: c.name, endpoint: endpoint.String(), latency: latency})
	return nil
}

var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// lookUp resolves a gateway's endpoint: its name, unlike a target's, is a public one.
func lookUp(ctx context.Context, endpoint string, attempt int) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(endpoint); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read gateway endpoint: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read gateway endpoint: %w", err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("look up gateway endpoint: %w", err)
	}
	a := addrs[attempt%len(addrs)]
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// A probe is a magic word and a number; the gateway sends it back as it is.
const (
	probeMagic = "weftprb1"
	probeBytes = len(probeMagic) + 8
)

// Probe implements liveness.Link.
func (l *link) Probe(seq uint64) error {
	l.mu.Lock()
	c := l.probe
	l.mu.Unlock()
	if c == nil {
		return errors.New("no probe address")
	}
	b := make([]byte, 0, probeBytes)
	b = binary.BigEndian.AppendUint64(append(b, probeMagic...), seq)
	_, err := c.Write(b)
	if err == nil {
		l.probesSent.Add(1)
	}
	return err
}

// readAnswers ends when c is closed.
func (l *link) readAnswers(c *tunnel.UDPConn) {
	b := make([]byte, 64)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if n == probeBytes && string(b[:len(probeMagic)]) == probeMagic {
			l.probesAnswered.Add(1)
			l.mon.Answer(binary.BigEndian.Uint64(b[len(probeMagic):n]))
		}
	}
}

func (l *link) peer() tunnel.PublicKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.candidates[l.current].key
}

// Handshake implements liveness.Link.
func (l *link) Handshake() error {
	err := l.tun.ForceHandshake(l.peer())
	if err != nil {
		l.log.Debug("force handshake", "error", err)
	}
	return err
}

// Rebind implements liveness.Link.
func (l *link) Rebind() error {
	err := l.tun.Rebind()
	if err != nil {
		l.log.Warn("reopen sockets", "error", err)
	}
	return err
}

// Next implements liveness.Link. With one endpoint it looks its name up again and
// takes a new port: the old one's way may be blocked.
func (l *link) Next() (moved bool) {
	l.mu.Lock()
	l.current = (l.current + 1) % len(l.candidates)
	if l.current == 0 {
		l.attempt++
	}
	moved = len(l.candidates) > 1
	c := l.candidates[l.current]
	l.mu.Unlock()
	if !moved {
		_ = l.Rebind() // logged there
		if _, err := netip.ParseAddrPort(c.endpoint); err == nil {
			return false
		}
	}
	if err := l.use(l.ctx); err != nil && l.ctx.Err() == nil {
		l.log.Warn("use another gateway endpoint", "endpoint", c.endpoint, "error", err)
	}
	return moved
}

// Traffic implements liveness.Link.
func (l *link) Traffic() (sent, received uint64) {
	s, _ := l.tun.PeerStats(l.peer()) // zero for no peer
	return s.TxBytes, s.RxBytes
}

func (l *link) moved() uint64 {
	sent, received := l.Traffic()
	return sent + received
}

// LinkUp implements liveness.Listener.
func (l *link) LinkUp(o liveness.Outage, rtt time.Duration) {
	l.mu.Lock()
	l.outage, l.down, l.latency = o, false, rtt
	l.explained = l.news || o.Reason == liveness.GatewayRestart
	c, e := l.candidates[l.current], l.endpoint
	l.mu.Unlock()
	if err := l.tun.SetPeer(tunnel.Peer{
		PublicKey: c.key, Endpoint: e, AllowedIPs: everything, Keepalive: keepalive,
	}); err != nil {
		l.log.Warn("keep the tunnel alive", "error", err)
	}
	l.showLink(rtt)
	if !o.Since.IsZero() {
		l.noticeOutage(o)
		// On another network, or after sleep, the old connection to control is dead
		// although nothing says so.
		l.rejoin(o.Reason == liveness.NetworkChange || o.Reason == liveness.Wake)
	}
	l.a.flows.redial()
	l.a.status.set(localapi.Connected, localapi.ReasonHealthy, "")
	l.log.Info("link is up", "reason", string(o.Reason), "rtt", rtt)
}

// noticeOutage tells of what is over; a restart of the gateway is told of where it is learned.
func (l *link) noticeOutage(o liveness.Outage) {
	took := o.Until.Sub(o.Since).Round(100 * time.Millisecond)
	switch o.Reason {
	case liveness.NoAnswer:
		l.a.status.notice(noticeOutage, fmt.Sprintf("the gateway did not answer for %s", took))
	case liveness.Wake:
		l.a.status.notice(noticeWake, "this machine was asleep; connected again")
	case liveness.NetworkChange:
		l.a.status.notice(noticeNetworkChanged, "the network changed; connected again")
	case liveness.Starting, liveness.GatewayRestart:
	}
}

// LinkAnswer implements liveness.Listener.
func (l *link) LinkAnswer(rtt time.Duration) {
	l.mu.Lock()
	l.latency = rtt
	l.mu.Unlock()
	l.showLink(rtt)
	l.a.trim.look(time.Now(), l.moved)
}

func (l *link) showLink(rtt time.Duration) {
	l.mu.Lock()
	c, e := l.candidates[l.current], l.endpoint
	l.mu.Unlock()
	l.a.status.setLink(linkStatus{gateway: c.name, endpoint: e.String(), latency: rtt})
}

// LinkDown implements liveness.Listener.
func (l *link) LinkDown(r liveness.Reason, last time.Time) {
	open, _, _ := l.a.flows.count()
	l.mu.Lock()
	l.down, l.downAt, l.openAtDown, l.news = true, last, open, false
	l.mu.Unlock()
	reason, detail := localapi.ReasonStarting, ""
	switch r {
	case liveness.NoAnswer:
		reason, detail = localapi.ReasonGatewayUnreachable, l.silence()
	case liveness.GatewayRestart:
		reason = localapi.ReasonGatewayRestarted
	case liveness.NetworkChange, liveness.Wake:
		reason = localapi.ReasonNetworkChanged
	case liveness.Starting:
	}
	l.a.status.set(localapi.Connecting, reason, detail)
}

// LinkFailing implements liveness.Listener.
func (l *link) LinkFailing(liveness.Reason) {
	l.a.status.set(localapi.Connecting, localapi.ReasonGatewayUnreachable, l.silence())
}

func (l *link) silence() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.candidates[l.current]
	return fmt.Sprintf("gateway %s at %s does not answer", c.name, c.endpoint)
}

// noteEpochs notices that the gateway in use has restarted: its flows are lost.
func (l *link) noteEpochs(v *view) {
	if !v.live {
		return // of a time before this process: nothing to compare with
	}
	epochs := make(map[string]string, len(v.gateways))
	for _, g := range v.gateways {
		epochs[g.ID] = g.Epoch
	}
	l.mu.Lock()
	old := l.epochs
	l.epochs = epochs
	current := l.candidates[l.current]
	l.mu.Unlock()
	if maps.Equal(old, epochs) || old[current.id] == "" || old[current.id] == epochs[current.id] {
		return
	}
	proven := l.provenSince(justNow)
	lost := l.abortLost()
	if proven {
		l.mon.Check() // the link has come up with the new gateway: the news is what was late
	} else {
		l.mon.GatewayRestarted()
	}
	l.a.status.notice(noticeGatewayRestarted, fmt.Sprintf("gateway %s restarted; %s", current.name, connections(lost)))
	l.log.Info("gateway restarted", "gateway_id", current.id, "flows_lost", lost)
}

// provenSince reports whether an outage that nothing explains yet ended, with an answer, within d.
func (l *link) provenSince(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unexplainedLocked(d)
}

func (l *link) unexplainedLocked(d time.Duration) bool {
	return !l.down && !l.explained && !l.outage.Since.IsZero() && time.Since(l.outage.Until) < d
}

// abortLost resets the flows that a restarted gateway does not know. If it was silent
// lately, those are the ones from before the silence; others were opened after it
// came back, and the news of its restart is late. An outage explains one restart: the
// next one has lost what was opened since.
func (l *link) abortLost() int {
	l.mu.Lock()
	before, known := time.Now(), 0
	switch {
	case l.down:
		l.news = true
		if !l.downAt.IsZero() {
			known = l.openAtDown
		}
	case l.unexplainedLocked(outageMemory):
		before, known = l.outage.Since, l.openAtDown
		l.explained = true
	}
	l.mu.Unlock()
	return max(l.a.flows.abortBefore(before), known)
}

func connections(n int) string {
	switch n {
	case 0:
		return "no connection was lost"
	case 1:
		return "1 connection was lost"
	default:
		return fmt.Sprintf("%d connections were lost", n)
	}
}

// watchNetwork has the sockets reopened when the way to the gateway changes.
func (l *link) watchNetwork(ctx context.Context) {
	last := l.way(ctx)
	netwatch.Watch(ctx, l.log, func() {
		now := l.way(ctx)
		if now == last {
			l.mon.Check() // the same address may still lead through another network
			return
		}
		l.log.InfoContext(ctx, "network changed", "from", last, "to", now)
		last = now
		l.mon.NetworkChanged()
	})
}

// way returns the local address that the system would use towards the gateway; it
// sends nothing. Zero: there is no way.
func (l *link) way(ctx context.Context) netip.Addr {
	l.mu.Lock()
	e := l.endpoint
	l.mu.Unlock()
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", e.String())
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = c.Close() }() // nothing was sent
	a, _ := c.LocalAddr().(*net.UDPAddr)
	if a == nil {
		return netip.Addr{}
	}
	return a.AddrPort().Addr()
}
