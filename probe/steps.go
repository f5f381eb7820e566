package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// handshake brings the tunnel up and waits for WireGuard's answer.
func (r *run) handshake(ctx context.Context, st *state, p plan) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	done := r.report.step("handshake")
	fail := func(err error) (*client, error) { return nil, done(&Failure{Class: Handshake, Err: err}) }
	endpoint, err := resolve(ctx, p.endpoint)
	if err != nil {
		return fail(err)
	}
	c, err := newClient(st, p, endpoint)
	if err != nil {
		return fail(err)
	}
	if err := c.awaitHandshake(ctx, p.gateway.PublicKey); err != nil {
		c.close()
		return fail(fmt.Errorf("gateway %s at %s: %w", p.gateway.Name, endpoint, err))
	}
	return c, done(nil)
}

// An initiation is sent again after firstAgain, then every laterAgain. The gateway drops one that comes within 20 ms of
// the last (another probe has just ended), and a datagram may be lost; wireguard-go itself would wait 5 s.
const (
	firstAgain = 250 * time.Millisecond
	laterAgain = time.Second
)

func (c *client) awaitHandshake(ctx context.Context, publicKey string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var next time.Time
	for again := firstAgain; ; {
		if now := time.Now(); now.After(next) {
			if err := c.startHandshake(publicKey); err != nil {
				return err
			}
			next, again = now.Add(again), laterAgain
		}
		switch ok, err := c.handshaken(); {
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("no answer to the WireGuard handshake: it is down, unreachable over UDP, or does not know this device (revoked?)")
		}
	}
}

// retryInterval is how often an unanswered datagram is sent again.
const retryInterval = 500 * time.Millisecond

// tunnel asks the gateway for an answer through the tunnel: a datagram to its probe address comes back as it is.
func (r *run) tunnel(ctx context.Context, c *client, p plan) error {
	done := r.report.step("tunnel")
	if err := c.echo(ctx, p, r.cfg.Timeout); err != nil {
		return done(&Failure{Class: Handshake, Err: fmt.Errorf("answer of the gateway through the tunnel: %w", err)})
	}
	return done(nil)
}

func (c *client) echo(ctx context.Context, p plan, timeout time.Duration) (err error) {
	u, err := c.net.DialUDPAddrPort(netip.AddrPortFrom(p.control, 0), p.answerer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	buf := make([]byte, mtu)
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if _, err := u.Write(nonce); err != nil {
			return err
		}
		if err := u.SetReadDeadline(minTime(time.Now().Add(retryInterval), deadline)); err != nil {
			return err
		}
		n, err := u.Read(buf)
		if err == nil && bytes.Equal(buf[:n], nonce) {
			return nil
		}
		if err != nil && !isTimeout(err) {
			return err
		}
	}
	return errors.New("none in time")
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// target connects to the target and reads the verdict from how the connection fails.
func (r *run) target(ctx context.Context, c *client, p plan) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	done := r.report.step("target")
	c.verdict.watch(r.cfg.Target.Addr(), cancel)
	tcp, err := c.net.DialContextTCPAddrPort(ctx, r.cfg.Target)
	if err != nil {
		return done(c.classify(ctx, r.cfg.Target, err))
	}
	local := tcp.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	closeErr := tcp.Close()
	if local != p.source {
		// The stack chose; a flow from another address is a flow in another network, and proves nothing.
		return done(&Failure{Class: Handshake, Err: fmt.Errorf("the connection left from %s, not from %s of %s", local, p.source, p.network.Name)})
	}
	if closeErr != nil && !isReset(closeErr) {
		return done(&Failure{Class: Unreachable, Err: fmt.Errorf("close the connection: %w", closeErr)})
	}
	return done(nil)
}

func (c *client) classify(ctx context.Context, dst netip.AddrPort, err error) *Failure {
	wrapped := fmt.Errorf("connect to %s: %w", dst, err)
	switch {
	case c.verdict.prohibited():
		return &Failure{Class: Denied, Err: fmt.Errorf("connect to %s: the gateway says administratively prohibited", dst)}
	case isStackError(err, &tcpip.ErrConnectionRefused{}), isStackError(err, &tcpip.ErrConnectionReset{}):
		return &Failure{Class: Refused, Err: wrapped}
	case isStackError(err, &tcpip.ErrHostUnreachable{}), isStackError(err, &tcpip.ErrNetworkUnreachable{}):
		return &Failure{Class: Unreachable, Err: wrapped}
	case ctx.Err() != nil, isStackError(err, &tcpip.ErrTimeout{}), isTimeout(err):
		return &Failure{Class: Timeout, Err: fmt.Errorf("connect to %s: no answer in time", dst)}
	default:
		return &Failure{Class: Unreachable, Err: wrapped}
	}
}

// isStackError recognises an error of the stack: upstream's adapter keeps only its text.
func isStackError(err error, want tcpip.Error) bool {
	return strings.HasSuffix(err.Error(), want.String())
}

func isReset(err error) bool { return isStackError(err, &tcpip.ErrConnectionReset{}) }

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &ne) && ne.Timeout())
}
