package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"weft/api"
	"weft/internal/kind"
	"weft/vnet"
)

// Limits of devices.
const (
	maxDeviceNameBytes = 200
	maxShortBytes      = 64
	maxDevicesPerUser  = 100
	maxBlockIndex      = 65535
	// blockQuarantine keeps the addresses of a device that is gone from a new one, so that neither old flows nor
	// readers of logs take one for the other.
	blockQuarantine = 24 * time.Hour
)

const deviceTokenPrefix = "weft_dev_"

// Device is a registration as the store keeps it.
type Device struct {
	ID, RegistrationID, UserID string
	Email, UserName            string
	Name, OS, Version          string
	PublicKey, SourceIP        string
	NextPublicKey              string // offered and not yet confirmed; empty: none
	CreatedAt, UpdatedAt       string
	LastSeenAt                 string
	RevokedAt, DeletedAt       *string
	BlockIndex                 uint16
	Slots                      map[vnet.ID]vnet.Slot
	// Facts are what it said of its system last.
	Facts api.DeviceFacts
}

const deviceColumns = `d.id, d.registration_id, d.user_id, u.email, u.name, d.name, d.os, d.version, d.public_key, d.source_ip,
	d.next_public_key, d.created_at, d.updated_at, d.last_seen_at, d.revoked_at, d.deleted_at, COALESCE(b.block_index, 0), d.facts`

const deviceTables = `devices d JOIN users u ON u.id = d.user_id LEFT JOIN device_blocks b ON b.device_id = d.id`

func scanDevice(rs *sql.Rows) (Device, error) { return scanDeviceAnd(rs) }

// scanDeviceAnd reads the columns behind the device's into more.
func scanDeviceAnd(rs *sql.Rows, more ...any) (Device, error) {
	var d Device
	var facts string
	if err := rs.Scan(append([]any{
		&d.ID, &d.RegistrationID, &d.UserID, &d.Email, &d.UserName, &d.Name, &d.OS, &d.Version, &d.PublicKey, &d.SourceIP,
		&d.NextPublicKey, &d.CreatedAt, &d.UpdatedAt, &d.LastSeenAt, &d.RevokedAt, &d.DeletedAt, &d.BlockIndex, &facts,
	}, more...)...); err != nil {
		return d, err
	}
	if facts == "{}" {
		return d, nil
	}
	if err := json.Unmarshal([]byte(facts), &d.Facts); err != nil {
		return d, fmt.Errorf("facts of device %s: %w", d.ID, err)
	}
	return d, nil
}

// DeviceFilter selects registrations; zero fields select all but the deleted ones.
type DeviceFilter struct {
	IDs                   []string // of registrations or devices; nil: all
	UserIDs               []string // nil: all
	Email, Device         string
	Search, Status        string // status: "active", "revoked", "all" or ""
	SeenAfter, SeenBefore time.Time
	SortBy                DeviceOrder
	Descending            bool
	After                 *DevicePlace // only what is behind it
}

// DeviceOrder is a column by which registrations are listed, and then by ID.
type DeviceOrder string

// The orders; zero is that of IDs.
const (
	ByDeviceName    DeviceOrder = "LOWER(d.name)"
	ByDeviceVersion DeviceOrder = "d.version"
	ByUserEmail     DeviceOrder = "u.email_key"
	ByUserName      DeviceOrder = "u.name"
	ByLastSeen      DeviceOrder = "d.last_seen_at"
	ByCreation      DeviceOrder = "d.created_at"
	ByState         DeviceOrder = "CASE WHEN d.revoked_at IS NULL THEN '1' ELSE '0' END"
)

// DevicePlace is where a registration stands in a list.
type DevicePlace struct{ Value, ID string }

// PlacedDevice is a registration with its place in the list it was read from.
type PlacedDevice struct {
	Device
	Place DevicePlace
}

// ListDevices lists registrations from a place on, at most limit.
func (r *Reader) ListDevices(ctx context.Context, f DeviceFilter, limit int) ([]PlacedDevice, error) {
	var w where
	w.deletedAs("d.deleted_at", nil)
	if f.IDs != nil {
		w.addAnyIn([]string{`d.registration_id`, `d.id`}, f.IDs)
	}
	if f.UserIDs != nil {
		w.addIn(`d.user_id`, f.UserIDs)
	}
	for column, v := range map[string]string{"u.email_key": emailKey(f.Email), "d.id": f.Device} {
		if v != "" {
			w.add(column+` = ?`, v)
		}
	}
	if f.Search != "" {
		like := "%" + escapeLike(nameKey(f.Search)) + "%"
		w.add(`(LOWER(d.name) LIKE ? ESCAPE '\' OR u.email_key LIKE ? ESCAPE '\')`, like, like)
	}
	switch f.Status {
	case "active":
		w.add(`d.revoked_at IS NULL`)
	case "revoked":
		w.add(`d.revoked_at IS NOT NULL`)
	}
	if !f.SeenAfter.IsZero() {
		w.add(`d.last_seen_at >= ?`, Stamp(f.SeenAfter))
	}
	if !f.SeenBefore.IsZero() {
		w.add(`d.last_seen_at <= ?`, Stamp(f.SeenBefore))
	}
	by, direction, behind := f.SortBy, " ASC", " > ?"
	if by == "" {
		by = "d.id"
	}
	if f.Descending {
		direction, behind = " DESC", " < ?"
	}
	if p := f.After; p != nil {
		w.add(`(`+string(by)+behind+` OR (`+string(by)+` = ? AND d.id`+behind+`))`, p.Value, p.Value, p.ID)
	}
	return collect(ctx, r.q, func(rs *sql.Rows) (PlacedDevice, error) {
		var p PlacedDevice
		var err error
		p.Device, err = scanDeviceAnd(rs, &p.Place.Value)
		p.Place.ID = p.ID
		return p, err
	}, `SELECT `+deviceColumns+`, `+string(by)+` FROM `+deviceTables+w.String()+
		` ORDER BY `+string(by)+direction+`, d.id`+direction+` LIMIT `+w.next(limit), w.args...)
}

// Device finds one by the ID of the device or of its registration, revoked or not, unless it was deleted.
func (r *Reader) Device(ctx context.Context, id string) (Device, error) {
	d, ok, err := one(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM `+deviceTables+
		` WHERE (d.id = $1 OR d.registration_id = $1) AND d.deleted_at IS NULL`, id)
	if err == nil && !ok {
		return d, kind.New(kind.NotFound, "there is no device %q", id)
	}
	return d, err
}

// DeviceByToken authenticates a device.
func (r *Reader) DeviceByToken(ctx context.Context, token string) (Device, error) {
	d, ok, err := one(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM `+deviceTables+` WHERE d.token_hash = $1`, HashToken(token))
	switch {
	case err != nil:
		return d, err
	case !ok:
		return d, kind.New(kind.Unauthenticated, "the device token is unknown").WithHint("enrol the device again")
	case d.DeletedAt != nil:
		return d, kind.New(kind.Unauthenticated, "the registration of this device was deleted").WithHint("enrol the device again")
	case d.RevokedAt != nil:
		return d, kind.New(kind.Unauthenticated, "the registration of this device was revoked").
			WithHint("ask your administrator for a new enrolment string")
	}
	return d, nil
}

// activeRegistrations are those that are neither revoked nor deleted.
func (r *Reader) activeRegistrations(ctx context.Context, condition string, args ...any) ([]Device, error) {
	return collect(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM `+deviceTables+
		` WHERE d.revoked_at IS NULL AND d.deleted_at IS NULL AND d.`+condition+` ORDER BY d.id`, args...)
}

// ActiveDevices are all that may connect, with their slots.
func (r *Reader) ActiveDevices(ctx context.Context) ([]Device, error) {
	type slotRow struct {
		device string
		vnet   vnet.ID
		slot   vnet.Slot
	}
	slots, err := collect(ctx, r.q, func(rs *sql.Rows) (slotRow, error) {
		var s slotRow
		return s, rs.Scan(&s.device, &s.vnet, &s.slot)
	}, `SELECT device_id, vnet_id, slot FROM device_slots`)
	if err != nil {
		return nil, err
	}
	of := map[string]map[vnet.ID]vnet.Slot{}
	for _, s := range slots {
		if of[s.device] == nil {
			of[s.device] = map[vnet.ID]vnet.Slot{}
		}
		of[s.device][s.vnet] = s.slot
	}
	all, err := r.activeRegistrations(ctx, `id <> ''`)
	for i := range all {
		all[i].Slots = of[all[i].ID]
	}
	return all, err
}

// NewDevice is what a device says of itself when it enrols; the public key has been checked.
type NewDevice struct{ Name, OS, Version, PublicKey, SourceIP string }

// Enrol spends a use of the key and registers a device of the key's user. It returns the device's token.
func (tx *Tx) Enrol(ctx context.Context, secret string, in NewDevice) (Device, string, error) {
	k, err := tx.useKey(ctx, secret)
	if err != nil {
		return Device{}, "", err
	}
	// Whatever the key allows, the device was enrolled on the key's authority.
	tx.actor.Type, tx.actor.ID = "enrolment", k.ID
	u, err := tx.enrolUser(ctx, k)
	if err != nil {
		return Device{}, "", err
	}
	return tx.register(ctx, u, in)
}

// register adds a device of a user who has been identified. It returns the device's token.
func (tx *Tx) register(ctx context.Context, u User, in NewDevice) (Device, string, error) {
	if err := checkNewDevice(in); err != nil {
		return Device{}, "", err
	}
	if u.ActiveDeviceCount >= maxDevicesPerUser {
		return Device{}, "", kind.New(kind.Limit, "user %s has reached the limit of %d devices", u.Email, maxDevicesPerUser).
			WithHint("revoke devices that are no longer used")
	}
	if err := tx.checkPublicKeyFree(ctx, in.PublicKey); err != nil {
		return Device{}, "", err
	}
	d := Device{
		ID: newID(), RegistrationID: newID(), UserID: u.ID, Email: u.Email, UserName: u.Name, Name: in.Name, OS: in.OS, Version: in.Version,
		PublicKey: in.PublicKey, SourceIP: in.SourceIP, CreatedAt: tx.at, UpdatedAt: tx.at, LastSeenAt: tx.at,
	}
	token := NewToken(deviceTokenPrefix)
	if _, err := tx.exec(ctx, `INSERT INTO devices (id, registration_id, user_id, name, os, version, public_key, token_hash, source_ip,
		created_at, updated_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $10)`,
		d.ID, d.RegistrationID, d.UserID, d.Name, d.OS, d.Version, d.PublicKey, HashToken(token), d.SourceIP, tx.at); err != nil {
		return d, "", err
	}
	var err error
	if d.BlockIndex, err = tx.allocateBlock(ctx, d.ID); err != nil {
		return d, "", err
	}
	e := api.AccessEvent{Action: "enrol", Allowed: true, UserEmail: u.Email, UserID: u.ID, DeviceID: d.ID, IPAddress: d.SourceIP, Connection: "enrolment_key"}
	if u.ServiceTokenID != "" {
		e.Connection = "service_token"
	}
	if err := tx.RecordAccess(ctx, AccessEvent{AccessEvent: e}); err != nil {
		return d, "", err
	}
	return d, token, tx.changed(ctx, Devices, "device.enrol", d.ID, d)
}

func checkNewDevice(in NewDevice) error {
	for _, f := range []struct {
		pointer, v string
		most       int
		required   bool
	}{{"/device_name", in.Name, maxDeviceNameBytes, true}, {"/os", in.OS, maxShortBytes, false}, {"/version", in.Version, maxShortBytes, false}} {
		if f.required && f.v == "" {
			return kind.Field(f.pointer, "a value is required")
		}
		if len(f.v) > f.most {
			return kind.Field(f.pointer, "the value is longer than %d bytes", f.most)
		}
		if err := checkText(f.pointer, f.v); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) checkPublicKeyFree(ctx context.Context, publicKey string) error {
	taken, err := tx.activeRegistrations(ctx, `id <> '' AND (d.public_key = $1 OR d.next_public_key = $1)`, publicKey)
	if err == nil && len(taken) > 0 {
		return kind.New(kind.Conflict, "the public key already belongs to device %q (%s)", taken[0].Name, taken[0].ID).
			WithHint("make a new key pair for this registration")
	}
	return err
}

// allocateBlock gives a device the lowest index that was never used, or when all were, the one freed longest ago, if
// that is long enough.
func (tx *Tx) allocateBlock(ctx context.Context, device string) (uint16, error) {
	var highest sql.NullInt64
	if err := tx.q.QueryRowContext(ctx, `SELECT MAX(block_index) FROM device_blocks`).Scan(&highest); err != nil {
		return 0, err
	}
	if highest.Int64 < maxBlockIndex {
		index := highest.Int64 + 1
		_, err := tx.exec(ctx, `INSERT INTO device_blocks (block_index, device_id) VALUES ($1, $2)`, index, device)
		return uint16(index), err
	}
	index, ok, err := one(ctx, tx.q, func(rs *sql.Rows) (i uint16, err error) { return i, rs.Scan(&i) },
		`SELECT block_index FROM device_blocks WHERE freed_at IS NOT NULL AND freed_at <= $1 ORDER BY freed_at, block_index LIMIT 1`,
		Stamp(tx.time.Add(-blockQuarantine)))
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, kind.New(kind.Limit, "all %d tunnel address blocks are in use", maxBlockIndex).WithHint("revoke devices that are no longer used")
	}
	_, err = tx.exec(ctx, `UPDATE device_blocks SET device_id = $1, freed_at = NULL WHERE block_index = $2`, device, index)
	return index, err
}

// RevokeDevices ends registrations, named by registration or device ID. All must exist; one that is revoked stays so.
func (tx *Tx) RevokeDevices(ctx context.Context, ids []string) error {
	return tx.eachDevice(ctx, ids, func(d Device) error {
		if d.RevokedAt != nil {
			return nil
		}
		return tx.revokeDevice(ctx, d)
	})
}

func (tx *Tx) revokeDevice(ctx context.Context, d Device) error {
	if _, err := tx.exec(ctx, `UPDATE devices SET revoked_at = $1, updated_at = $1, next_public_key = '' WHERE id = $2`, tx.at, d.ID); err != nil {
		return err
	}
	if err := tx.freeBlock(ctx, d.ID); err != nil {
		return err
	}
	return tx.changed(ctx, Devices, "device.revoke", d.ID, d)
}

func (tx *Tx) freeBlock(ctx context.Context, device string) error {
	_, err := tx.exec(ctx, `UPDATE device_blocks SET freed_at = $1 WHERE device_id = $2 AND freed_at IS NULL`, tx.at, device)
	return err
}

// UnrevokeDevices lets registrations work again, but not those of a revoked user.
func (tx *Tx) UnrevokeDevices(ctx context.Context, ids []string) error {
	return tx.eachDevice(ctx, ids, func(d Device) error {
		if d.RevokedAt == nil {
			return nil
		}
		u, err := tx.User(ctx, d.UserID)
		if err != nil {
			return err
		}
		if u.RevokedAt != nil {
			return kind.New(kind.Conflict, "device %q belongs to user %s, who is revoked", d.Name, u.Email).
				WithHint("give the user a new enrolment key")
		}
		if err := tx.checkPublicKeyFree(ctx, d.PublicKey); err != nil {
			return err
		}
		n, err := tx.exec(ctx, `UPDATE device_blocks SET freed_at = NULL WHERE device_id = $1`, d.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			if d.BlockIndex, err = tx.allocateBlock(ctx, d.ID); err != nil {
				return err
			}
		}
		if _, err := tx.exec(ctx, `UPDATE devices SET revoked_at = NULL, updated_at = $1 WHERE id = $2`, tx.at, d.ID); err != nil {
			return err
		}
		return tx.changed(ctx, Devices, "device.unrevoke", d.ID, d)
	})
}

func (tx *Tx) eachDevice(ctx context.Context, ids []string, do func(Device) error) error {
	for i, id := range ids {
		d, err := tx.Device(ctx, id)
		if kind.Is(err, kind.NotFound) {
			return kind.Field("/"+strconv.Itoa(i), "there is no registration %q", clip(id))
		}
		if err != nil {
			return err
		}
		if err := do(d); err != nil {
			return err
		}
	}
	return nil
}

// DeleteDevices ends registrations for good, named by registration or device ID. All must exist.
func (tx *Tx) DeleteDevices(ctx context.Context, ids []string) error {
	return tx.eachDevice(ctx, ids, func(d Device) error { return tx.DeleteDevice(ctx, d.ID) })
}

// DeleteDevice ends a registration for good: the device gave it up.
func (tx *Tx) DeleteDevice(ctx context.Context, id string) error {
	d, err := tx.Device(ctx, id)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `UPDATE devices SET deleted_at = $1, updated_at = $1, next_public_key = '' WHERE id = $2`, tx.at, id); err != nil {
		return err
	}
	if err := tx.freeBlock(ctx, id); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM device_slots WHERE device_id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, Devices, "device.delete", id, d)
}

// SeeDevice notes that a device is connected from an address. Only another address is a change that others must know.
func (tx *Tx) SeeDevice(ctx context.Context, id, sourceIP string) error {
	moved, err := tx.exec(ctx, `UPDATE devices SET source_ip = $1, updated_at = $2 WHERE id = $3 AND source_ip <> $1`, sourceIP, tx.at, id)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `UPDATE devices SET last_seen_at = $1 WHERE id = $2`, tx.at, id); err != nil {
		return err
	}
	if moved == 0 {
		return nil
	}
	return tx.changed(ctx, Devices, "device.moved", id, map[string]string{"source_ip": sourceIP})
}

// SetSlots keeps which slots a device's virtual networks have. It is derived from what a revision already says, so
// it raises none.
func (tx *Tx) SetSlots(ctx context.Context, device string, slots map[vnet.ID]vnet.Slot) error {
	if _, err := tx.exec(ctx, `DELETE FROM device_slots WHERE device_id = $1`, device); err != nil {
		return err
	}
	for v, s := range slots {
		if _, err := tx.exec(ctx, `INSERT INTO device_slots (device_id, vnet_id, slot) VALUES ($1, $2, $3)`, device, string(v), int(s)); err != nil {
			return err
		}
	}
	return nil
}

// SetLastSeen notes when devices were connected; it raises no revision.
func (tx *Tx) SetLastSeen(ctx context.Context, times map[string]time.Time) error {
	for id, at := range times {
		if _, err := tx.exec(ctx, `UPDATE devices SET last_seen_at = $1 WHERE id = $2`, Stamp(at), id); err != nil {
			return err
		}
	}
	return nil
}
