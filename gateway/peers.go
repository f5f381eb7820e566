package gateway

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weft/gateway/enforce"
	"weft/tunnel"
)

const (
	// removalGrace lets the resets of a removed device's flows leave before its keys are forgotten.
	removalGrace = 100 * time.Millisecond
	// endpointLife is after how long without a handshake a peer's endpoint is not worth remembering:
	// WireGuard's own limit on a session (REJECT_AFTER_TIME, section 6.1 of its paper).
	endpointLife = 3 * time.Minute
	// endpointBatch is how many peers are asked for their endpoint at a time; asking one costs time in proportion to
	// all of them.
	endpointBatch = 64
)

// peers keeps the tunnel's peers as the state wants them.
type peers struct {
	tunnel *tunnel.Tunnel
	log    *slog.Logger
	remove chan tunnel.PublicKey

	mu      sync.Mutex
	current map[tunnel.PublicKey]tunnel.Peer
	owners  map[tunnel.PublicKey]string // the device of each current peer
	known   map[string]netip.AddrPort   // by public key: where a peer was last
	order   []tunnel.PublicKey          // of the next endpoint batches
	heard   map[tunnel.PublicKey]bool   // peers that came and whose endpoint is not known yet
}

func newPeers(t *tunnel.Tunnel, known map[string]netip.AddrPort, log *slog.Logger) *peers {
	if known == nil {
		known = make(map[string]netip.AddrPort)
	}
	return &peers{
		tunnel: t, log: log, known: known, remove: make(chan tunnel.PublicKey, 1024),
		current: make(map[tunnel.PublicKey]tunnel.Peer), owners: make(map[tunnel.PublicKey]string), heard: make(map[tunnel.PublicKey]bool),
	}
}

// set makes the devices of a view the peers. Flows of devices that are gone are reset, then the peer is removed. A device
// that changes its key keeps its flows: its addresses pass from the old peer to the new one, which until then was a peer
// without addresses.
func (p *peers) set(ctx context.Context, view *enforce.View) {
	want := make(map[tunnel.PublicKey]tunnel.Peer)
	owners := make(map[tunnel.PublicKey]string)
	blocks := make(map[string][]netip.Prefix) // by device
	for d := range view.Devices {
		want[d.PublicKey] = tunnel.Peer{PublicKey: d.PublicKey, AllowedIPs: []netip.Prefix{d.Block.V4, d.Block.V6}}
		owners[d.PublicKey], blocks[d.ID] = d.ID, want[d.PublicKey].AllowedIPs
		if !d.NextKey.IsZero() {
			want[d.NextKey] = tunnel.Peer{PublicKey: d.NextKey}
			owners[d.NextKey] = d.ID
		}
	}
	p.mu.Lock()
	var gone []tunnel.Peer
	for key, old := range p.current {
		if _, ok := want[key]; !ok {
			if slices.Equal(old.AllowedIPs, blocks[p.owners[key]]) {
				old.AllowedIPs = nil // the device has another key now: its flows go on
			}
			gone = append(gone, old)
			delete(p.current, key)
			delete(p.known, key.String())
		}
	}
	var put []tunnel.Peer
	for key, peer := range want {
		peer.Endpoint = p.known[key.String()]
		if old, ok := p.current[key]; ok {
			peer.Endpoint = old.Endpoint // what was set at first; it has roamed since
		}
		p.current[key] = peer
		put = append(put, peer)
	}
	p.owners = owners
	p.mu.Unlock()
	p.abort(ctx, gone)
	for _, peer := range put {
		if err := p.tunnel.SetPeer(peer); err != nil {
			p.log.ErrorContext(ctx, "peer not set", slog.String("public_key", peer.PublicKey.String()), slog.Any("error", err))
		}
	}
}

// abort resets the flows of peers that are gone and has them removed.
func (p *peers) abort(ctx context.Context, gone []tunnel.Peer) {
	if len(gone) == 0 {
		return
	}
	blocks := make([]netip.Prefix, 0, 2*len(gone))
	for _, g := range gone {
		blocks = append(blocks, g.AllowedIPs...)
	}
	p.tunnel.AbortFlows(func(f tunnel.Flow) bool {
		for _, b := range blocks {
			if b.Contains(f.Source.Addr()) {
				return true
			}
		}
		return false
	})
	for _, g := range gone {
		select {
		case p.remove <- g.PublicKey:
		default: // many at once: they lose their resets, not their removal
			p.drop(ctx, g.PublicKey)
		}
	}
}

// run removes peers after their grace.
func (p *peers) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case key := <-p.remove:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(removalGrace):
			}
			p.drop(ctx, key)
			for more := true; more; { // what waited meanwhile has had its grace, or nearly
				select {
				case key := <-p.remove:
					p.drop(ctx, key)
				default:
					more = false
				}
			}
		}
	}
}

// drop removes a peer unless it is wanted again.
func (p *peers) drop(ctx context.Context, key tunnel.PublicKey) {
	p.mu.Lock()
	_, wanted := p.current[key]
	p.mu.Unlock()
	if wanted {
		return
	}
	if err := p.tunnel.RemovePeer(key); err != nil {
		p.log.ErrorContext(ctx, "peer not removed", slog.String("public_key", key.String()), slog.Any("error", err))
	}
}

// greet starts a handshake with every peer whose endpoint is known, so that a restart is over for it
// in milliseconds instead of the 15 s after which it would notice by itself.
func (p *peers) greet(ctx context.Context) {
	p.mu.Lock()
	var keys []tunnel.PublicKey
	for key, peer := range p.current {
		if peer.Endpoint.IsValid() {
			keys = append(keys, key)
		}
	}
	p.mu.Unlock()
	for _, key := range keys {
		if err := p.tunnel.ForceHandshake(key); err != nil {
			p.log.DebugContext(ctx, "handshake not started", slog.String("public_key", key.String()), slog.Any("error", err))
		}
	}
	p.log.InfoContext(ctx, "greeted known peers", slog.Int("peers", len(keys)))
}

// came notes that a peer is there; if that is new, its endpoint is worth saving soon.
func (p *peers) came(key tunnel.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.known[key.String()]; !known && len(p.heard) < endpointBatch {
		p.heard[key] = true
	}
}

// news reports whether peers came since endpoints was called.
func (p *peers) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.heard) > 0
}

// endpoints refreshes what is known of a batch of peers, of those that came first, and returns all.
func (p *peers) endpoints(now time.Time) map[string]netip.AddrPort {
	p.mu.Lock()
	if len(p.order) == 0 {
		for key := range p.current {
			p.order = append(p.order, key)
		}
	}
	n := min(endpointBatch, len(p.order))
	batch := slices.Concat(p.order[:n], slices.Collect(maps.Keys(p.heard)))
	p.order = p.order[n:]
	clear(p.heard)
	p.mu.Unlock()
	fresh := make(map[string]netip.AddrPort, len(batch))
	for _, key := range batch {
		var at netip.AddrPort
		if st, ok := p.tunnel.PeerStats(key); ok && now.Sub(st.LastHandshake) < endpointLife {
			at = st.Endpoint
		}
		fresh[key.String()] = at
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, at := range fresh {
		if at.IsValid() {
			p.known[key] = at
		} else {
			delete(p.known, key)
		}
	}
	out := make(map[string]netip.AddrPort, len(p.known))
	for key, at := range p.known {
		out[key] = at
	}
	return out
}
