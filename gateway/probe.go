package gateway

import (
	"context"
	"slices"
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

// probes knows the probe flows of each device, the oldest first. A device that connects anew comes from another port,
// and nothing tells the gateway that the flow before is over; so the newest flow takes the place of the oldest, and a
// device can be reconnected as often as one likes. Safe for concurrent use.
type probes struct {
	max int

	mu   sync.Mutex
	open map[string][]*tunnel.UDPConn // by device ID
}

func newProbes(limit int) *probes {
	return &probes{max: limit, open: make(map[string][]*tunnel.UDPConn)}
}

// enter returns the flow that has to go, if any; its place is taken already.
func (p *probes) enter(device string, c *tunnel.UDPConn) (oldest *tunnel.UDPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	flows := append(p.open[device], c)
	if len(flows) > p.max {
		oldest = flows[0]
		flows = slices.Delete(flows, 0, 1)
	}
	p.open[device] = flows
	return oldest
}

func (p *probes) leave(device string, c *tunnel.UDPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	flows := slices.DeleteFunc(p.open[device], func(f *tunnel.UDPConn) bool { return f == c })
	if len(flows) == 0 {
		delete(p.open, device)
		return
	}
	p.open[device] = flows
}

// handleProbe answers what an agent sends, unchanged: that is how it knows that it is connected.
func (g *Gateway) handleProbe(ctx context.Context, r *tunnel.UDPRequest, d *enforce.Device) {
	g.peers.came(d.PublicKey)
	conn, err := r.Accept()
	if err != nil {
		return
	}
	if oldest := g.probes.enter(d.ID, conn); oldest != nil {
		g.counts.probesReplaced.Add(1)
		oldest.Abort()
	}
	g.flows.Go(func() {
		defer g.probes.leave(d.ID, conn)
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
