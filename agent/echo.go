package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"weft/tunnel"
)

// echoer has datagrams of diag come back from the gateway. It keeps one flow for all of them: a gateway lets a device have
// few probe flows, each for a minute. Safe for concurrent use.
type echoer struct {
	tun *tunnel.Tunnel

	mu   sync.Mutex // held over one exchange, which its context bounds
	conn *tunnel.UDPConn
	from netip.Addr
	to   netip.AddrPort
}

// echo sends a datagram of a size and waits for it to come back.
func (e *echoer) echo(ctx context.Context, from netip.Addr, to netip.AddrPort, size int) (time.Duration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.openLocked(ctx, from, to); err != nil {
		return 0, err
	}
	rtt, err := exchange(ctx, e.conn, size)
	if err != nil && ctx.Err() == nil { // not silence: the flow itself is over
		_ = e.conn.Close()
		e.conn = nil
	}
	return rtt, err
}

func (e *echoer) openLocked(ctx context.Context, from netip.Addr, to netip.AddrPort) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.conn != nil && (e.from != from || e.to != to) {
		_ = e.conn.Close()
		e.conn = nil
	}
	if e.conn != nil {
		return nil
	}
	c, err := e.tun.DialUDP(ctx, from, to)
	if err != nil {
		return err
	}
	e.conn, e.from, e.to = c, from, to
	return nil
}

// exchange is one datagram and its return; late ones of others are passed over.
func exchange(ctx context.Context, c *tunnel.UDPConn, size int) (time.Duration, error) {
	if err := c.SetDeadline(time.Time{}); err != nil {
		return 0, err
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = c.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-woken // or it would end the next exchange
		}
	}()
	out := make([]byte, max(size, probeBytes))
	_, _ = rand.Read(out[:probeBytes])
	begin := time.Now()
	if _, err := c.Write(out); err != nil {
		return 0, fmt.Errorf("send to the gateway: %w", err)
	}
	in := make([]byte, 2048)
	for {
		n, err := c.Read(in)
		switch {
		case ctx.Err() != nil:
			return 0, errors.New("no answer in time")
		case err != nil:
			return 0, fmt.Errorf("hear the gateway: %w", err)
		case n == len(out) && string(in[:probeBytes]) == string(out[:probeBytes]):
			return time.Since(begin), nil
		}
	}
}
