package control

import (
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

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
		SerialNumber: d.Facts.SerialNumber, OSVersion: d.Facts.OSVersion, OSVersionExtra: d.Facts.OSVersionExtra, OSDistroName: d.Facts.OSDistroName,
		OSDistroRevision: d.Facts.OSDistroRevision, Manufacturer: d.Facts.Manufacturer, Model: d.Facts.Model,
		Deleted: d.DeletedAt != nil, KeyType: keyType, TunnelType: tunnelType, GatewayDeviceID: d.ID,
	}
}

// What every device's tunnel is.
const (
	keyType    = "curve25519"
	tunnelType = "wireguard"
)

func registration(d store.Device) api.Registration {
	return api.Registration{
		ID: d.RegistrationID, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, LastSeenAt: d.LastSeenAt, RevokedAt: d.RevokedAt,
		DeletedAt: d.DeletedAt, Key: d.PublicKey, KeyType: keyType, TunnelType: tunnelType,
		Device: api.RegistrationDevice{ID: d.ID, Name: d.Name, ClientVersion: d.Version}, User: deviceUser(d),
	}
}

func physicalDevice(d store.Device) api.PhysicalDevice {
	p := api.PhysicalDevice{
		ID: d.ID, Name: d.Name, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, LastSeenAt: d.LastSeenAt, DeletedAt: d.DeletedAt,
		ClientVersion: d.Version, DeviceType: d.OS, LastSeenUser: deviceUser(d), SerialNumber: d.Facts.SerialNumber, OSVersion: d.Facts.OSVersion,
		Manufacturer: d.Facts.Manufacturer, Model: d.Facts.Model, PublicIP: d.SourceIP, OSVersionExtra: d.Facts.OSVersionExtra,
	}
	if d.OS == "linux" {
		p.OSVersionExtra = strings.TrimSpace(d.Facts.OSDistroName + " " + d.Facts.OSDistroRevision)
	}
	if d.RevokedAt == nil {
		p.ActiveRegistrations = 1
	}
	return p
}

// profileOf is the profile of a device, as lists include it when asked.
func (v *view) profileOf(device string) *api.DevicePolicyRef {
	for _, p := range v.in.profiles {
		if l, ok := v.limits[device]; ok && l.profile == p.ID {
			return &api.DevicePolicyRef{ID: p.ID, Name: p.Name, Default: p.ID == store.DefaultProfileID, UpdatedAt: p.UpdatedAt}
		}
	}
	return nil
}

func (c *Control) listDevices(ctx context.Context, _ *call) (answer, error) {
	out := []api.Device{}
	err := c.eachDevice(ctx, store.DeviceFilter{}, maxLegacyDevices, func(d store.PlacedDevice) { out = append(out, legacyDevice(d.Device)) })
	return answer{result: out}, err
}

func (c *Control) eachDevice(ctx context.Context, f store.DeviceFilter, limit int, do func(store.PlacedDevice)) error {
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
	return oneDevice(ctx, c, q, includedRegistration)
}

func (c *Control) getPhysicalDevice(ctx context.Context, q *call) (answer, error) {
	return oneDevice(ctx, c, q, includedDevice)
}

// oneDevice is the device that the path names, with what the query includes.
func oneDevice[T any](ctx context.Context, c *Control, q *call, render func(v *view, d store.Device, include []string) T) (answer, error) {
	d, err := c.device(ctx, q)
	if err != nil {
		return answer{}, err
	}
	v, err := c.hub.at(ctx, q.revision)
	if err != nil {
		return answer{}, err
	}
	return answer{result: render(v, d, q.included())}, nil
}

// included are the parts that an answer has only when it is asked for them.
func (q *call) included() []string { return strings.Split(q.query.Get("include"), ",") }

func includedRegistration(v *view, d store.Device, include []string) api.Registration {
	r := registration(d)
	if slices.Contains(include, "policy") {
		r.Policy = v.profileOf(d.ID)
	}
	return r
}

func includedDevice(v *view, d store.Device, include []string) api.PhysicalDevice {
	p := physicalDevice(d)
	if slices.Contains(include, "last_seen_registration.policy") {
		p.LastSeenRegistration = &api.LastSeenRegistration{Policy: v.profileOf(d.ID)}
	}
	return p
}

// cursorInfo counts a page of a cursor list; an empty cursor ends it.
type cursorInfo struct {
	Count      int    `json:"count"`
	Cursor     string `json:"cursor"`
	PerPage    int    `json:"per_page"`
	TotalCount *int   `json:"total_count"`
}

// deviceList is a cursor list of devices: how its objects are made, what it can be sorted by, and what it lists unless asked otherwise.
type deviceList[T any] struct {
	render func(v *view, d store.Device, include []string) T
	orders map[string]store.DeviceOrder
	status func(q *call) (string, error)
}

func (c *Control) listRegistrations(ctx context.Context, q *call) (answer, error) {
	return cursorPage(ctx, c, q, deviceList[api.Registration]{
		render: includedRegistration,
		orders: map[string]store.DeviceOrder{"id": "", "user.name": store.ByUserName, "user.email": store.ByUserEmail, "last_seen_at": store.ByLastSeen, "created_at": store.ByCreation},
		status: func(q *call) (string, error) { return oneOf(q, "status", "active", "revoked", "all") },
	})
}

func (c *Control) listPhysicalDevices(ctx context.Context, q *call) (answer, error) {
	return cursorPage(ctx, c, q, deviceList[api.PhysicalDevice]{
		render: includedDevice,
		orders: map[string]store.DeviceOrder{
			"id": "", "name": store.ByDeviceName, "client_version": store.ByDeviceVersion, "last_seen_user.email": store.ByUserEmail,
			"last_seen_at": store.ByLastSeen, "active_registrations": store.ByState, "created_at": store.ByCreation,
		},
		status: func(q *call) (string, error) {
			s, err := oneOf(q, "active_registrations", "only", "exclude", "include")
			return map[string]string{"only": "active", "exclude": "revoked", "include": "all"}[s], err
		},
	})
}

// oneOf reads a parameter that has one of some values; the first stands for none.
func oneOf(q *call, name string, values ...string) (string, error) {
	s := q.query.Get(name)
	switch {
	case s == "":
		return values[0], nil
	case !slices.Contains(values, s):
		return "", badQuery(name, s, strings.Join(values, ", "))
	}
	return s, nil
}

func cursorPage[T any](ctx context.Context, c *Control, q *call, list deviceList[T]) (answer, error) {
	size, err := q.queryInt("per_page", defaultPerPage, 1, maxPerPage)
	if err != nil {
		return answer{}, err
	}
	f, err := deviceFilter(q)
	if err != nil {
		return answer{}, err
	}
	if f.Status, err = list.status(q); err != nil {
		return answer{}, err
	}
	by, err := oneOf(q, "sort_by", slices.Sorted(maps.Keys(list.orders))...)
	if err != nil {
		return answer{}, err
	}
	if q.query.Get("sort_by") != "" {
		f.SortBy = list.orders[by]
	}
	direction, err := oneOf(q, "sort_order", "asc", "desc")
	if err != nil {
		return answer{}, err
	}
	f.Descending = direction == "desc"
	v, err := c.hub.at(ctx, q.revision)
	if err != nil {
		return answer{}, err
	}
	include := q.included()
	out, last, more := []T{}, store.DevicePlace{}, false
	err = c.eachDevice(ctx, f, size+1, func(d store.PlacedDevice) {
		if len(out) == size {
			more = true
			return
		}
		out, last = append(out, list.render(v, d.Device, include)), d.Place
	})
	info := cursorInfo{Count: len(out), PerPage: size}
	if more {
		info.Cursor = encodeCursor(last)
	}
	return answer{result: out, info: info}, err
}

// A cursor is a place in a list; only the list that gave it understands it.
func encodeCursor(p store.DevicePlace) string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.ID + "\x00" + p.Value))
}

func decodeCursor(s string) (*store.DevicePlace, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // the beginning
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	id, value, ok := strings.Cut(string(raw), "\x00")
	if err != nil || !ok || !utf8.Valid(raw) {
		return nil, badQuery("cursor", s, "the cursor of an answer")
	}
	return &store.DevicePlace{ID: id, Value: value}, nil
}

func deviceFilter(q *call) (f store.DeviceFilter, err error) {
	f.Device, f.Search = q.query.Get("device.id"), q.query.Get("search")
	f.Email = cmp.Or(q.query.Get("user.email"), q.query.Get("last_seen_user.email"))
	for name, to := range map[string]*[]string{"id": &f.IDs, "user.id": &f.UserIDs} {
		ids := q.query[name]
		if len(ids) > maxBatch {
			return f, kind.New(kind.Limit, "the query repeats %s more than %d times", name, maxBatch)
		}
		if len(ids) > 0 {
			*to = ids
		}
	}
	if f.After, err = decodeCursor(q.query.Get("cursor")); err != nil {
		return f, err
	}
	if f.SeenAfter, err = q.queryTime("seen_after"); err != nil {
		return f, err
	}
	f.SeenBefore, err = q.queryTime("seen_before")
	return f, err
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

// deleteRegistrations ends registrations that the query names; the devices must be enrolled again.
func (c *Control) deleteRegistrations(ctx context.Context, q *call) (answer, error) {
	ids, err := deviceIDs(q, true)
	if err != nil {
		return answer{}, err
	}
	return answer{}, c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteDevices(ctx, ids) })
}

// deleteDevice ends the one that the path names.
func (c *Control) deleteDevice(ctx context.Context, q *call) (answer, error) {
	return answer{}, c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		d, err := tx.Device(ctx, q.params["id"])
		if err != nil {
			return err
		}
		return tx.DeleteDevice(ctx, d.ID)
	})
}
