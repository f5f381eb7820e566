package gateway

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weft/gateway/enforce"
	"weft/gateway/sessions"
	"weft/internal/connwire"
	"weft/targets"
	"weft/tunnel"
)

// How long a UDP flow may be silent.
const (
	udpIdle = 60 * time.Second
	dnsIdle = 10 * time.Second
	dnsPort = 53
)

// HandleUDP decides at once and serves what it accepts in a goroutine of its own.
func (g *Gateway) HandleUDP(ctx context.Context, r *tunnel.UDPRequest) {
	f := r.Flow()
	if d, ok := g.view.Load().Probe(f.Source.Addr(), f.Destination); ok {
		g.handleProbe(ctx, r, d)
		return
	}
	v := g.decide(enforce.Flow{Source: f.Source.Addr(), Destination: f.Destination, Transport: targets.TransportUDP})
	if !v.Allow {
		g.deny(ctx, f, targets.TransportUDP, v, string(v.Reason))
		// Port unreachable is the one ICMP error of which every client's stack tells a UDP socket.
		r.Reject(tunnel.RejectRefused)
		return
	}
	if g.draining() {
		g.deny(ctx, f, targets.TransportUDP, v, endDraining)
		r.Reject(tunnel.RejectRefused)
		return
	}
	s, err := g.enter(ctx, f, targets.TransportUDP, v)
	if err != nil {
		r.Reject(tunnel.RejectRefused)
		return
	}
	client, err := r.Accept()
	if err != nil {
		g.table.Remove(s)
		return
	}
	g.flows.Go(func() {
		if err := g.record(ctx, s); err != nil { // a file may block, so not on the peer's receive path
			client.Abort()
			return
		}
		reason, err := g.serveUDP(ctx, s, client)
		g.finish(ctx, s, reason, err)
	})
}

// serveUDP dials and relays until the flow is idle, cut, or one side ends.
func (g *Gateway) serveUDP(ctx context.Context, s *sessions.Session, client *tunnel.UDPConn) (string, error) {
	defer client.Abort()
	s.OnCut(func(error) { client.Abort() })
	idle := g.udpIdle
	if s.Destination.Port() == dnsPort {
		idle = min(idle, dnsIdle)
	}
	a := &activity{client: client, idle: idle}
	flow, err := g.dialUDP(ctx, s, func(b []byte) {
		if _, err := client.Write(b); err == nil { // one that is not taken is lost, as datagrams are
			s.Counts.Down.Add(int64(len(b)))
			a.touch()
		}
	})
	if err != nil {
		return reasonOf(err), err
	}
	g.table.Dialled(s)
	s.OnCut(func(error) { flow.Abort() })
	a.touch()
	var wg sync.WaitGroup
	var down error
	wg.Go(func() {
		down = flow.Receive()
		client.Abort() // ends the other direction
	})
	up := connwire.CopyDatagrams(flow, client, func(n int) {
		s.Counts.Up.Add(int64(n))
		a.touch()
	})
	if errors.Is(up, os.ErrDeadlineExceeded) {
		err := flow.Close()
		wg.Wait()
		return endIdle, err
	}
	flow.Abort()
	wg.Wait()
	if down == nil {
		return endClosed, nil
	}
	return endReset, errors.Join(up, down)
}

// dialUDP asks a connector for a flow.
func (g *Gateway) dialUDP(ctx context.Context, s *sessions.Session, sink func([]byte)) (udpFlow, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s.OnCut(func(error) { cancel() })
	return g.connectors.DialUDP(ctx, destination(s), sink)
}

// udpFlow is the connector's side of a UDP flow.
type udpFlow interface {
	Send(payload []byte) error
	Receive() error
	Close() error
	Abort()
}

// activity moves the deadline of an idle flow, at most 64 times in the time that it may be idle.
type activity struct {
	client *tunnel.UDPConn
	idle   time.Duration
	last   atomic.Int64 // nanoseconds since 1970
}

func (a *activity) touch() {
	now := time.Now()
	last := a.last.Load()
	if now.UnixNano()-last < int64(a.idle/64) || !a.last.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	_ = a.client.SetReadDeadline(now.Add(a.idle)) // fails only when the flow is over
}
