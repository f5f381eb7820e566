package gateway

import (
	"context"
	"sync"
	"time"

	"weft/gateway/enforce"
	"weft/tunnel"
)

const (
	// probeBytes is the largest probe that is answered.
	probeBytes = 1200
	// probeIdle ends a probe flow; an agent at rest probes every 20 s.
	probeIdle = 60 * time.Second
)

// probes counts the probe flows of each device. Safe for concurrent use.
type probes struct {
	max int

	mu   sync.Mutex
	open map[string]int // by device ID
}

func newProbes(limit int) *probes { return &probes{max: limit, open: make(map[string]int)} }

func (p *probes) take(device string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[device] >= p.max {
		return false
	}
	p.open[device]++
	return true
}

func (p *probes) release(device string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[device]--; p.open[device] <= 0 {
		delete(p.open, device)
	}
}

// handleProbe answers what an agent sends, unchanged: that is how it knows that it is connected.
func (g *Gateway) handleProbe(ctx context.Context, r *tunnel.UDPRequest, d *enforce.Device) {
	if !g.probes.take(d.ID) {
		g.counts.probesRefused.Add(1)
		r.Reject(tunnel.RejectRefused)
		return
	}
	g.peers.came(d.PublicKey)
	conn, err := r.Accept()
	if err != nil {
		g.probes.release(d.ID)
		return
	}
	g.flows.Go(func() {
		defer g.probes.release(d.ID)
		defer conn.Abort()
		stop := context.AfterFunc(ctx, conn.Abort)
		defer stop()
		g.echo(conn)
	})
}

func (g *Gateway) echo(conn *tunnel.UDPConn) {
	buf := make([]byte, probeBytes+1)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(probeIdle)); err != nil {
			return
		}
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if n > probeBytes {
			g.counts.probesRefused.Add(1)
			continue
		}
		g.counts.probes.Add(1)
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}
