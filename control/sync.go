package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/vnet"
)

// writeTimeout is how long a receiver may take to accept one event. While it takes, nothing is queued for it: the
// next event is made from the newest view by then.
const writeTimeout = 15 * time.Second

func (c *Control) syncAgent(ctx context.Context, q *call, w http.ResponseWriter) error {
	id := q.device.ID
	if err := c.seen(ctx, q); err != nil {
		return err
	}
	return c.sync(ctx, q, w, agentStream, id, func(v *view) (api.Document, error) { return v.agentDocument(id) })
}

func (c *Control) syncGateway(ctx context.Context, q *call, w http.ResponseWriter) error {
	id, token := q.gateway.ID, q.gateway.TokenHash
	return c.sync(ctx, q, w, gatewayStream, id, func(v *view) (api.Document, error) { return v.gatewayDocument(id, token) })
}

func (c *Control) syncConnector(ctx context.Context, q *call, w http.ResponseWriter) error {
	id, secret := q.tunnel.ID, q.tunnelSecret
	if c.streams.count(connectorStream, id) == 0 {
		c.connectorCame(ctx, id)
	}
	defer c.connectorLeft(ctx, id)
	return c.sync(ctx, q, w, connectorStream, id, func(v *view) (api.Document, error) { return v.connectorDocument(vnet.TunnelID(id), secret) })
}

// How often a device may be somewhere else: each time is a revision of which everybody hears.
const (
	movesPerMinute = 30
	allMovesPerMin = 60_000
	allMovesBurst  = 20_000 // a whole account behind another address at once
)

// seen notes where a device connects from, which policies may ask about.
func (c *Control) seen(ctx context.Context, q *call) error {
	if q.device.SourceIP == q.addr.String() {
		c.lastSeen.note(q.device.ID, time.Now())
		return nil
	}
	if !c.moves.allow(q.device.ID, time.Now()) {
		return tooMany("the device comes from another address too often")
	}
	return c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if err := tx.SeeDevice(ctx, q.device.ID, q.addr.String()); err != nil {
			return err
		}
		q.revision, err = tx.Revision(ctx)
		return err
	})
}

// receiver is one stream.
type receiver struct {
	w       http.ResponseWriter
	control *http.ResponseController
	// told is the revision that the receiver is at, doc what it has.
	told uint64
	doc  api.Document
}

// sync streams documents until the receiver goes, the control plane stops, or document fails because whom it is for
// is gone.
func (c *Control) sync(ctx context.Context, q *call, w http.ResponseWriter, kind streamKind, id string, document func(*view) (api.Document, error)) error {
	since, err := sinceOf(q)
	if err != nil {
		return err
	}
	ctx, leave, err := c.streams.enter(ctx, kind, q, id)
	if err != nil {
		return err
	}
	defer leave()
	v, err := c.hub.at(ctx, q.revision)
	if err != nil {
		return err
	}
	doc, err := document(v)
	if err != nil {
		return err
	}
	first, err := c.firstEvent(v, doc, since, document)
	if err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lift read deadline: %w", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	r := &receiver{w: w, control: rc, told: v.revision, doc: doc}
	// From here on the answer has begun: the end of the stream says what an error would.
	if err := r.send(first); err != nil {
		c.log.DebugContext(ctx, "stream ended", "actor", q.actor.ID, "error", err)
		return nil
	}
	if err := c.follow(ctx, r, v, document); err != nil {
		c.log.DebugContext(ctx, "stream ended", "actor", q.actor.ID, "error", err)
	}
	return nil
}

func sinceOf(q *call) (uint64, error) {
	s := q.query.Get("since")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, badQuery("since", s, "a revision")
	}
	return n, nil
}

// firstEvent is a delta when the receiver's revision is still known, else a snapshot.
func (c *Control) firstEvent(v *view, doc api.Document, since uint64, document func(*view) (api.Document, error)) (api.Event, error) {
	if old, ok := c.hub.known(since); ok {
		if was, err := document(old); err == nil {
			e, _ := doc.Delta(was, since, v.revision)
			return e, nil
		}
	}
	return doc.Snapshot(v.revision)
}

// follow sends deltas and heartbeats.
func (c *Control) follow(ctx context.Context, r *receiver, v *view, document func(*view) (api.Document, error)) error {
	beat := time.NewTicker(api.HeartbeatInterval)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-v.superseded:
			v = c.hub.current.Load()
			doc, err := document(v)
			if err != nil {
				return err
			}
			e, changed := doc.Delta(r.doc, r.told, v.revision)
			r.doc = doc
			if !changed {
				continue
			}
			if err := r.send(e); err != nil {
				return err
			}
		case <-beat.C:
			if err := r.send(api.Event{Type: api.EventHeartbeat, Revision: v.revision}); err != nil {
				return err
			}
		}
	}
}

// send writes one event as a line and notes what the receiver knows then.
func (r *receiver) send(e api.Event) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("render event: %w", err)
	}
	if err := r.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := r.w.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := r.control.Flush(); err != nil {
		return fmt.Errorf("flush event: %w", err)
	}
	r.told = e.Revision
	return nil
}
