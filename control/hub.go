package control

import (
	"context"
	"encoding/base64"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/vnet"
)

// maxViews is how many revisions a receiver may be behind and still get a delta.
const maxViews = 16

const rebuildRetry = time.Second

// hub turns revisions of the store into views, one after the other, and wakes the streams.
type hub struct {
	store *store.Store
	log   *slog.Logger
	pool  vnet.Pool
	// explainAlmost is passed on to the gateways.
	explainAlmost bool

	current atomic.Pointer[view]
	// behind holds a token when a revision was seen that is newer than the current view.
	behind chan struct{}

	mu     sync.Mutex
	recent []*view // oldest first, the current one last; guarded by mu
}

func newHub(s *store.Store, log *slog.Logger) *hub {
	return &hub{store: s, log: log, pool: vnet.DefaultPool(s.Account().ULA), behind: make(chan struct{}, 1)}
}

// run rebuilds after every change until ctx ends.
func (h *hub) run(ctx context.Context) {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.store.Changed():
		case <-h.behind:
		case <-retry.C:
		}
		if err := h.rebuild(ctx); err != nil && ctx.Err() == nil {
			h.log.ErrorContext(ctx, "build state", "error", err)
			retry.Reset(rebuildRetry)
		}
	}
}

// rebuild makes a view of the newest revision and publishes it.
func (h *hub) rebuild(ctx context.Context) error {
	old := h.current.Load()
	var v *view
	err := h.store.View(ctx, func(r *store.Reader) (err error) {
		v, err = load(ctx, r, old)
		return err
	})
	if err != nil {
		return err
	}
	if old != nil && v.revision == old.revision {
		return nil
	}
	if err := h.finish(ctx, v, old); err != nil {
		return err
	}
	if v, err = h.settleSlots(ctx, v, old); err != nil {
		return err
	}
	h.publish(v)
	return nil
}

// finish makes what follows from the inputs.
func (h *hub) finish(ctx context.Context, v, old *view) error {
	v.account, v.pool, v.explainAlmost = h.store.Account(), h.pool, h.explainAlmost
	if err := v.compile(old); err != nil {
		h.log.ErrorContext(ctx, "compile policy; everything is denied until it is repaired", "policy_rev", v.revision, "error", err)
	}
	return v.index(old)
}

// settleSlots assigns slots and keeps them before anybody is told. It returns the view that has them.
//
// With other control planes on the account, slots are assigned once more where nobody else writes, from the newest
// state: two that assigned by different revisions could give one slot to two networks. That is for the few revisions
// that change slots, and loads only what changed since v.
func (h *hub) settleSlots(ctx context.Context, v, old *view) (*view, error) {
	kept := v.in.devices
	changed, errs := v.assignSlots(old)
	for _, err := range errs {
		h.log.ErrorContext(ctx, "assign slots", "error", err)
	}
	if len(changed) == 0 {
		return v, nil
	}
	settled := v
	err := h.store.Update(ctx, store.System, func(tx *store.Tx) error {
		if h.store.Shared() {
			v.in.devices = kept
			var err error
			if settled, err = load(ctx, &tx.Reader, v); err != nil {
				return err
			}
			if err := h.finish(ctx, settled, v); err != nil {
				return err
			}
			changed, _ = settled.assignSlots(old) // the errors are those of before
		}
		for device, slots := range changed {
			if err := tx.SetSlots(ctx, device, slots); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if settled == v {
		return v, v.index(old)
	}
	return settled, settled.index(v)
}

func (h *hub) publish(v *view) {
	h.mu.Lock()
	old := h.current.Swap(v)
	h.recent = append(h.recent, v)
	if len(h.recent) > maxViews {
		h.recent = append([]*view(nil), h.recent[1:]...)
	}
	h.mu.Unlock()
	if old != nil {
		old.retire()
	}
}

// at waits for a view of at least the revision: what a caller was authenticated by must be in what it is told. Another
// process may have written that revision (weft control token create does), of which the store does not tell.
func (h *hub) at(ctx context.Context, revision uint64) (*view, error) {
	for {
		v := h.current.Load()
		if v.revision >= revision {
			return v, nil
		}
		select {
		case h.behind <- struct{}{}:
		default: // it is being looked at
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-v.superseded:
		}
	}
}

// known returns the view of a revision that is still remembered.
func (h *hub) known(revision uint64) (*view, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.recent {
		if v.revision == revision {
			return v, true
		}
	}
	return nil, false
}

func connectorKey(t store.TunnelKey, gatewayID string) api.Secret {
	return api.Secret(base64.StdEncoding.EncodeToString(api.ConnectorKey(t.SecretHash, gatewayID)))
}
