package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"weft/internal/kind"
)

// SyncState is a state that a stream keeps current.
type SyncState interface {
	AgentState | GatewayState | ConnectorState
}

// The times of a stream: a server says something every HeartbeatInterval, and a receiver that hears nothing for
// SilenceLimit takes the connection for dead.
const (
	HeartbeatInterval = 10 * time.Second
	SilenceLimit      = 30 * time.Second
)

const (
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = 15 * time.Second
)

// WatchConfig configures Watch.
type WatchConfig[S SyncState] struct {
	// Since and State resume from what the receiver kept on disk; zero: from the start.
	Since uint64
	State *S
	// OnState is called with each new whole state (never modified afterwards) from one goroutine.
	OnState func(revision uint64, s *S)
	// OnContact is called at every event, heartbeats included.
	OnContact func(at time.Time)
	// OnError is called when the stream breaks and will be retried after wait.
	OnError func(err error, wait time.Duration)
	// MinBackoff and MaxBackoff bound the jittered exponential back-off; 0 means 100 ms and 15 s.
	MinBackoff, MaxBackoff time.Duration
}

// Watch keeps a state current until ctx ends (returns ctx.Err()) or the credential is refused
// (kind.Unauthenticated, kind.Denied or kind.NotFound: returned at once, not retried).
func Watch[S SyncState](ctx context.Context, c *Client, path string, cfg WatchConfig[S]) error {
	w := &watcher[S]{c: c, path: path, cfg: cfg, revision: cfg.Since, state: cfg.State}
	if w.cfg.MinBackoff <= 0 {
		w.cfg.MinBackoff = defaultMinBackoff
	}
	if w.cfg.MaxBackoff <= 0 {
		w.cfg.MaxBackoff = max(defaultMaxBackoff, w.cfg.MinBackoff)
	}
	if w.state == nil {
		w.revision = 0
	}
	failures := 0
	for {
		heard, err := w.attempt(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if permanent(err) {
			return err
		}
		if heard {
			failures = 0
		}
		wait := w.backoff(failures)
		failures++
		if w.cfg.OnError != nil {
			w.cfg.OnError(err, wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

type watcher[S SyncState] struct {
	c        *Client
	path     string
	cfg      WatchConfig[S]
	revision uint64
	state    *S
}

// permanent reports whether trying again with the same credential is pointless.
func permanent(err error) bool {
	switch kind.Of(err) {
	case kind.Unauthenticated, kind.Denied, kind.NotFound:
		return true
	default:
		return false
	}
}

// backoff doubles from MinBackoff to MaxBackoff; the upper half is random, so that a thousand receivers that lost
// the same server do not come back together.
func (w *watcher[S]) backoff(failures int) time.Duration {
	d := w.cfg.MinBackoff
	for range failures {
		if d >= w.cfg.MaxBackoff {
			break
		}
		d *= 2
	}
	d = min(d, w.cfg.MaxBackoff)
	return d/2 + rand.N(d/2+1)
}

// attempt follows one stream until it breaks; heard reports whether any event came.
func (w *watcher[S]) attempt(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(SilenceLimit, func() {
		cancel(kind.New(kind.Timeout, "heard nothing from the control plane for %s", SilenceLimit))
	})
	defer silence.Stop()

	path := w.path
	if w.revision != 0 {
		path += "?since=" + strconv.FormatUint(w.revision, 10)
	}
	resp, err := w.c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return false, causeOr(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return false, w.refusal(ctx, resp)
	}
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := readLine(lines, maxEventBytes)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = kind.New(kind.Unavailable, "the control plane ended the stream")
			}
			return heard, causeOr(ctx, err)
		}
		silence.Reset(SilenceLimit)
		if err := w.event(line); err != nil {
			return heard, err
		}
		heard = true
	}
}

// causeOr prefers the reason for which the watchdog cut the stream.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (w *watcher[S]) refusal(ctx context.Context, resp *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	if err != nil {
		return causeOr(ctx, unreachable(ctx, w.c.base.Host, err))
	}
	if resp.StatusCode < 400 {
		return kind.New(kind.Unavailable, "the control plane answered a stream with status %d", resp.StatusCode)
	}
	return decodeEnvelope(resp.StatusCode, raw, nil)
}

// event applies one line. An error means that the state is not certain any more: the next attempt starts anew.
func (w *watcher[S]) event(line []byte) error {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		w.forget()
		return kind.New(kind.Unavailable, "an event of the control plane cannot be understood").WithCause(err)
	}
	switch e.Type {
	case EventHeartbeat:
		// The server says that what it sent is the state at this revision too.
		if w.state != nil && e.Revision > w.revision {
			w.revision = e.Revision
		}
	case EventSnapshot, EventDelta:
		if e.Type == EventDelta && (w.state == nil || e.Since != w.revision) {
			have := w.revision
			w.forget()
			return kind.New(kind.Unavailable, "a change applies to revision %d, but this is %d", e.Since, have)
		}
		next, err := Apply(w.state, e)
		if err != nil {
			w.forget()
			return kind.New(kind.Unavailable, "a change of the control plane cannot be applied").WithCause(err)
		}
		w.state, w.revision = next, e.Revision
		if w.cfg.OnState != nil {
			w.cfg.OnState(e.Revision, next)
		}
	default: // a newer server may say more; hearing it is contact enough
	}
	if w.cfg.OnContact != nil {
		w.cfg.OnContact(time.Now())
	}
	return nil
}

func (w *watcher[S]) forget() { w.state, w.revision = nil, 0 }

// readLine reads up to and including '\n', at most limit bytes. The line is valid until the next call.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return line, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		if len(line) > 0 && errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	long := append([]byte(nil), line...)
	for {
		line, err = r.ReadSlice('\n')
		if len(long)+len(line) > limit {
			return nil, fmt.Errorf("read event: longer than %d bytes", limit)
		}
		long = append(long, line...)
		switch {
		case err == nil:
			return long, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}
