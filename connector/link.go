package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"weft/api"
	"weft/internal/connwire"
)

// The back-off between attempts to reach a gateway.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 15 * time.Second
	// wakeInterval bounds how often a Wake is heeded. Anybody may send one, and it may end an attempt: a handshake must
	// fit in between on any path.
	wakeInterval = 2 * time.Second
	// socketFailures is after how many failures in a row the socket is opened anew: the network may have changed.
	socketFailures = 3
)

// link keeps one connection to one gateway.
type link struct {
	c    *Connector
	g    api.ConnectorGateway
	log  *slog.Logger
	wake chan struct{} // holds one token: do not wait

	mu      sync.Mutex
	attempt context.CancelFunc // ends the attempt under way
	conn    *quic.Conn         // the connection, when there is one
	woken   time.Time
}

func newLink(c *Connector, g api.ConnectorGateway) *link {
	return &link{c: c, g: g, log: c.cfg.Logger.With(slog.String("gateway_id", g.ID)), wake: make(chan struct{}, 1)}
}

// run connects and serves until ctx ends. A session that worked is followed by an attempt almost
// at once; failures wait longer and longer, with jitter, unless the gateway says that it is back.
func (l *link) run(ctx context.Context) {
	wait, n := minBackoff, 0
	for ctx.Err() == nil {
		err := l.socket(ctx, &wait, &n)
		if ctx.Err() != nil {
			return
		}
		l.pause(ctx, wait, err)
		wait = min(2*wait, maxBackoff)
	}
}

// socket opens a socket and makes attempts on it until they fail too often. It stays open between
// attempts, because it is where the gateway's Wake arrives.
func (l *link) socket(ctx context.Context, wait *time.Duration, n *int) error {
	socket, err := net.ListenUDP("udp", nil)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	tr := &quic.Transport{Conn: socket}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { l.listen(ctx, tr) })
	defer func() {
		cancel()
		if err := errors.Join(tr.Close(), socket.Close()); err != nil {
			l.log.DebugContext(ctx, "close socket", slog.Any("error", err))
		}
		wg.Wait()
	}()
	for failures := 0; ; *n++ {
		worked, err := l.connect(ctx, tr, *n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if worked {
			failures, *wait = 0, minBackoff
		} else if failures++; failures >= socketFailures {
			*n++
			return err
		}
		l.pause(ctx, *wait, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		*wait = min(2**wait, maxBackoff)
	}
}

// pause waits before the next attempt.
func (l *link) pause(ctx context.Context, wait time.Duration, err error) {
	d := wait/2 + rand.N(wait/2)
	l.log.WarnContext(ctx, "gateway lost", slog.Any("error", err), slog.Duration("retry_in", d))
	select {
	case <-ctx.Done():
	case <-time.After(d):
	case <-l.wake:
	}
}

// connect makes the nth attempt, each at the next endpoint, and serves the connection to its end.
func (l *link) connect(ctx context.Context, tr *quic.Transport, n int) (worked bool, err error) {
	if len(l.g.Endpoints) == 0 {
		return false, errors.New("gateway has no endpoint")
	}
	endpoint := l.g.Endpoints[n%len(l.g.Endpoints)]
	attempt, cancel := context.WithTimeout(ctx, 2*connwire.HandshakeTimeout)
	defer cancel()
	l.begin(cancel)
	addr, err := resolve(attempt, endpoint)
	if err != nil {
		return false, err
	}
	conn, err := l.c.greet(attempt, tr, addr, l.g)
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	l.connected(conn)
	defer l.connected(nil)
	l.log.InfoContext(ctx, "gateway connected", slog.String("endpoint", endpoint))
	l.c.counters.sessions.Add(1)
	l.c.readyOnce.Do(func() { close(l.c.ready) })
	return true, l.c.serve(ctx, conn, l.log)
}

func (l *link) begin(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempt = cancel
}

func (l *link) connected(conn *quic.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.attempt = conn, nil
}

// listen hears what is not QUIC until the socket closes.
func (l *link) listen(ctx context.Context, tr *quic.Transport) {
	buf := make([]byte, 64)
	for {
		n, _, err := tr.ReadNonQUICPacket(ctx, buf)
		if err != nil {
			return
		}
		if connwire.IsWake(buf[:n]) {
			l.onWake(ctx)
		}
	}
}

// onWake asks the gateway whether it still knows us, or ends the wait for the next attempt, or starts the attempt that is
// under way afresh: its packets were sent to a gateway that was not there.
func (l *link) onWake(ctx context.Context) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.woken) < wakeInterval {
		l.mu.Unlock()
		return
	}
	l.woken = now
	conn, cancel := l.conn, l.attempt
	l.mu.Unlock()
	l.log.DebugContext(ctx, "gateway says that it is back")
	if conn != nil {
		if err := conn.SendDatagram(connwire.Ping()); err != nil {
			l.log.DebugContext(ctx, "ping not sent", slog.Any("error", err))
		}
	} else if cancel != nil {
		cancel()
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
