package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"weft/internal/connwire"
	"weft/vnet"
)

// dialer decides where a request may go, and goes there.
type dialer struct {
	routes    *atomic.Pointer[routes]
	translate map[netip.AddrPort]netip.AddrPort
	mode      SourceMode
	links     linkNetworks
}

// Keep-alive of the sockets to targets: a target that vanished is noticed after two minutes.
const (
	keepAliveIdle     = 60 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// address says what to dial for a request, or connwire.ErrNotRouted.
func (d *dialer) address(q connwire.Request) (netip.AddrPort, error) {
	if !d.routes.Load().cover(vnet.ID(q.VNET), q.Destination.Addr()) {
		return netip.AddrPort{}, connwire.ErrNotRouted
	}
	if to, ok := d.translate[q.Destination]; ok {
		return to, nil
	}
	if forbidden(q.Destination.Addr()) {
		return netip.AddrPort{}, connwire.ErrNotRouted
	}
	return q.Destination, nil
}

// forbidden are the addresses that mean this host, its links or no host; a route that covers them does not help.
// The gateway refuses them too; neither relies on the other.
func forbidden(a netip.Addr) bool {
	return !a.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() ||
		a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		(a.Is4() && a.As4()[0] == 0)
}

// dial opens a socket; its errors are connwire's.
func (d *dialer) dial(ctx context.Context, q connwire.Request) (net.Conn, error) {
	to, err := d.address(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	nd := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	conn, err := nd.DialContext(ctx, q.Transport.String(), to.String())
	if err != nil {
		return nil, classify(err)
	}
	return conn, nil
}

// classify finds the status that says what the client should see.
func classify(err error) error {
	var ne net.Error
	switch {
	case isRefused(err):
		return fmt.Errorf("%w: %w", connwire.ErrRefused, err)
	case isUnreachable(err):
		return fmt.Errorf("%w: %w", connwire.ErrUnreachable, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("%w: %w", connwire.ErrLimit, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("%w: %w", connwire.ErrTimeout, err)
	default:
		return fmt.Errorf("%w: %w", connwire.ErrFailed, err)
	}
}
