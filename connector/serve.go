package connector

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"weft/internal/connwire"
)

// requestTimeout bounds how long a stream may take to say what it wants.
const requestTimeout = 5 * time.Second

// udpIdle ends a UDP flow that the gateway forgot; the gateway's own limit is 60 s.
const udpIdle = 2 * time.Minute

// serve accepts streams until the connection or ctx ends, and waits for all of them.
func (c *Connector) serve(ctx context.Context, conn *quic.Conn, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	mux := connwire.NewMux(conn)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the dials of its flows end with the connection
	wg.Go(func() {
		err := mux.Run(ctx)
		log.DebugContext(ctx, "datagrams end", slog.Any("error", err), slog.Uint64("dropped", mux.Dropped()))
	})
	wg.Go(func() { ping(conn) })
	sources := conn.ConnectionState().TLS.NegotiatedProtocol == connwire.ALPNSource
	defer func() {
		_ = conn.CloseWithError(connwire.CodeClosed, "connector stops") // already closed is fine
	}()
	for {
		stream, err := conn.AcceptStream(ctx)
		if err != nil {
			return err
		}
		wg.Go(func() {
			st := connwire.NewStream(stream, conn.LocalAddr(), conn.RemoteAddr())
			c.flow(ctx, mux, st, sources, log)
		})
	}
}

// ping makes a gateway that lost the connection say so.
func ping(conn *quic.Conn) {
	tick := time.NewTicker(connwire.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-conn.Context().Done():
			return
		case <-tick.C:
			if conn.SendDatagram(connwire.Ping()) != nil {
				return // the connection is over
			}
		}
	}
}

// flow serves one stream; sources: the gateway wants to hear from where the target sees it come.
func (c *Connector) flow(ctx context.Context, mux *connwire.Mux, st *connwire.Stream, sources bool, log *slog.Logger) {
	if n := c.counters.flows.Add(1); n > int64(c.cfg.Limits.MaxFlows) {
		c.counters.flows.Add(-1)
		c.refuse(ctx, st, connwire.ErrLimit, log)
		return
	}
	defer c.counters.flows.Add(-1)
	if err := st.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		st.Abort()
		return
	}
	q, err := connwire.ReadRequest(st)
	if err != nil {
		c.counters.broken.Add(1)
		log.DebugContext(ctx, "request broken", slog.Any("error", err))
		st.Abort()
		return
	}
	if err := st.SetReadDeadline(time.Time{}); err != nil {
		st.Abort()
		return
	}
	target, err := c.open(ctx, q)
	if err != nil {
		c.refuse(ctx, st, err, log.With(slog.String("dst", q.Destination.String()), slog.String("vnet_id", q.VNET)))
		return
	}
	c.counters.opened.Add(1)
	switch t := target.(type) {
	case *net.TCPConn:
		answer := []byte{byte(connwire.StatusOK)}
		if sources {
			answer = connwire.AppendSource(answer, c.dialer.source(t, q.Destination))
		}
		serveTCP(ctx, st, answer, &connwire.SocketConn{TCPConn: t}, log)
	case *net.UDPConn:
		serveUDP(ctx, mux, st, t, log)
	}
}

// open dials within the limit of dials.
func (c *Connector) open(ctx context.Context, q connwire.Request) (net.Conn, error) {
	defer c.counters.dials.Add(-1)
	if n := c.counters.dials.Add(1); n > int64(c.cfg.Limits.MaxDialsInFlight) {
		return nil, connwire.ErrLimit
	}
	return c.dialer.dial(ctx, q)
}

// refuse answers with a status and counts it.
func (c *Connector) refuse(ctx context.Context, st *connwire.Stream, err error, log *slog.Logger) {
	switch {
	case errors.Is(err, connwire.ErrNotRouted):
		c.counters.notRouted.Add(1)
	case errors.Is(err, connwire.ErrLimit):
		c.counters.limited.Add(1)
	default:
		c.counters.refused.Add(1)
	}
	log.DebugContext(ctx, "flow refused", slog.Any("error", err))
	if _, werr := st.Write([]byte{byte(connwire.StatusOf(err))}); werr != nil {
		st.Abort()
		return
	}
	_ = st.Close() // the gateway may be gone; nothing more to say
}

func serveTCP(ctx context.Context, st *connwire.Stream, answer []byte, target *connwire.SocketConn, log *slog.Logger) {
	if _, err := st.Write(answer); err != nil {
		target.Abort()
		st.Abort()
		return
	}
	var counts connwire.Counts
	if err := connwire.Relay(st, target, &counts); err != nil {
		log.DebugContext(ctx, "flow reset", slog.Any("error", err))
	}
}

func serveUDP(ctx context.Context, mux *connwire.Mux, st *connwire.Stream, target *net.UDPConn, log *slog.Logger) {
	flow := mux.Flow(st, func(b []byte) {
		// A datagram that the network does not take is lost, as datagrams are; an idle flow stays open.
		if _, err := target.Write(b); err == nil {
			_ = target.SetReadDeadline(time.Now().Add(udpIdle))
		}
	})
	if _, err := st.Write([]byte{byte(connwire.StatusOK)}); err != nil {
		flow.Abort()
		_ = target.Close()
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer flow.Abort() // unblocks Receive
		if err := fromTarget(flow, target); !errors.Is(err, net.ErrClosed) {
			log.DebugContext(ctx, "udp flow ends", slog.Any("error", err))
		}
	})
	if err := flow.Receive(); err != nil {
		log.DebugContext(ctx, "udp flow reset", slog.Any("error", err))
	}
	_ = target.Close()
	wg.Wait()
	_ = flow.Close()
}

// fromTarget sends what the target says until the socket ends, and returns why it did.
func fromTarget(flow *connwire.UDPFlow, target *net.UDPConn) error {
	if err := target.SetReadDeadline(time.Now().Add(udpIdle)); err != nil {
		return err
	}
	return connwire.CopyDatagrams(flow, target, nil)
}
