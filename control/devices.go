package control

import (
	"context"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// maxLegacyDevices bounds the older list, which has no pages.
const maxLegacyDevices = 10_000

func deviceUser(d store.Device) api.DeviceUser {
	return api.DeviceUser{ID: d.UserID, Email: d.Email, Name: d.UserName}
}

// legacyDevice names a device by its registration, as the older API does and as its revoke call expects.
func legacyDevice(d store.Device) api.Device {
	return api.Device{
		ID: d.RegistrationID, Name: d.Name, DeviceType: d.OS, Version: d.Version, User: deviceUser(d), Created: d.CreatedAt,
		Updated: d.UpdatedAt, LastSeen: d.LastSeenAt, RevokedAt: d.RevokedAt, DeletedAt: d.DeletedAt, IP: d.SourceIP, Key: d.PublicKey,
	}
}

func registration(d store.Device) api.Registration {
	return api.Registration{
		ID: d.RegistrationID, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, LastSeenAt: d.LastSeenAt, RevokedAt: d.RevokedAt,
		DeletedAt: d.DeletedAt, Key: d.PublicKey, KeyType: "curve25519", TunnelType: "wireguard",
		Device: api.RegistrationDevice{ID: d.ID, Name: d.Name, ClientVersion: d.Version}, User: deviceUser(d),
	}
}

func physicalDevice(d store.Device) api.PhysicalDevice {
	p := api.PhysicalDevice{
		ID: d.ID, Name: d.Name, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, LastSeenAt: d.LastSeenAt, DeletedAt: d.DeletedAt,
		ClientVersion: d.Version, DeviceType: d.OS, LastSeenUser: deviceUser(d),
	}
	if d.RevokedAt == nil {
		p.ActiveRegistrations = 1
	}
	return p
}

func (c *Control) listDevices(ctx context.Context, _ *call) (answer, error) {
	out := []api.Device{}
	err := c.eachDevice(ctx, store.DeviceFilter{}, maxLegacyDevices, func(d store.Device) { out = append(out, legacyDevice(d)) })
	return answer{result: out}, err
}

func (c *Control) eachDevice(ctx context.Context, f store.DeviceFilter, limit int, do func(store.Device)) error {
	return c.store.View(ctx, func(r *store.Reader) error {
		list, err := r.ListDevices(ctx, f, limit)
		for _, d := range list {
			do(d)
		}
		return err
	})
}

func (c *Control) device(ctx context.Context, q *call) (d store.Device, err error) {
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		d, err = r.Device(ctx, q.params["id"])
		return err
	})
	return d, err
}

func (c *Control) getDevice(ctx context.Context, q *call) (answer, error) {
	d, err := c.device(ctx, q)
	return answer{result: legacyDevice(d)}, err
}

func (c *Control) getRegistration(ctx context.Context, q *call) (answer, error) {
	d, err := c.device(ctx, q)
	return answer{result: registration(d)}, err
}

func (c *Control) getPhysicalDevice(ctx context.Context, q *call) (answer, error) {
	d, err := c.device(ctx, q)
	return answer{result: physicalDevice(d)}, err
}

// cursorInfo counts a page of a cursor list; an empty cursor ends it.
type cursorInfo struct {
	Count      int    `json:"count"`
	Cursor     string `json:"cursor"`
	PerPage    int    `json:"per_page"`
	TotalCount *int   `json:"total_count"`
}

func cursorPage[T any](ctx context.Context, c *Control, q *call, render func(store.Device) T) (answer, error) {
	size, err := q.queryInt("per_page", defaultPerPage, 1, maxPerPage)
	if err != nil {
		return answer{}, err
	}
	f := store.DeviceFilter{
		UserID: q.query.Get("user.id"), Device: q.query.Get("device.id"), Email: q.query.Get("user.email"), Search: q.query.Get("search"),
		Status: q.query.Get("status"), AfterID: q.query.Get("cursor"),
	}
	if ids := q.query["id"]; len(ids) > 0 {
		f.IDs = ids[:min(len(ids), maxPerPage)]
	}
	switch f.Status {
	case "", "all", "active", "revoked":
	default:
		return answer{}, badQuery("status", f.Status, "active, revoked or all")
	}
	if f.SeenAfter, err = q.queryTime("seen_after"); err != nil {
		return answer{}, err
	}
	if f.SeenBefore, err = q.queryTime("seen_before"); err != nil {
		return answer{}, err
	}
	out, last, more := []T{}, "", false
	err = c.eachDevice(ctx, f, size+1, func(d store.Device) {
		if len(out) == size {
			more = true
			return
		}
		out, last = append(out, render(d)), d.ID
	})
	info := cursorInfo{Count: len(out), PerPage: size}
	if more {
		info.Cursor = last
	}
	return answer{result: out, info: info}, err
}

func (c *Control) listRegistrations(ctx context.Context, q *call) (answer, error) {
	return cursorPage(ctx, c, q, registration)
}

func (c *Control) listPhysicalDevices(ctx context.Context, q *call) (answer, error) {
	return cursorPage(ctx, c, q, physicalDevice)
}

// deviceIDs are the registrations of a request: a bare array in the body, or repeated in the query.
func deviceIDs(q *call, fromQuery bool) ([]string, error) {
	ids := q.query["id"]
	if !fromQuery {
		if err := q.body(&ids); err != nil {
			return nil, err
		}
	}
	switch {
	case len(ids) == 0:
		return nil, kind.New(kind.Invalid, "no registration is named")
	case len(ids) > maxBatch:
		return nil, kind.New(kind.Limit, "a request can name %d registrations", maxBatch)
	}
	return ids, nil
}

// revokeDevices and its three siblings answer with no result.
func (c *Control) revokeDevices(fromQuery, back bool) func(context.Context, *call) (answer, error) {
	return func(ctx context.Context, q *call) (answer, error) {
		ids, err := deviceIDs(q, fromQuery)
		if err != nil {
			return answer{}, err
		}
		return answer{}, c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
			if back {
				return tx.UnrevokeDevices(ctx, ids)
			}
			return tx.RevokeDevices(ctx, ids)
		})
	}
}

func (c *Control) revokePhysicalDevice(ctx context.Context, q *call) (answer, error) {
	return answer{}, c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		if _, err := tx.Device(ctx, q.params["id"]); err != nil {
			return err
		}
		return tx.RevokeDevices(ctx, []string{q.params["id"]})
	})
}
