package store

import (
	"context"
	"database/sql"
	"time"

	"weft/api"
)

// The access log is bounded by time and, whatever happens, by number.
const (
	AccessLogRetention = 90 * 24 * time.Hour
	maxAccessEvents    = 100_000
)

// AccessEvent is what is recorded of an enrolment or a login.
type AccessEvent struct {
	api.AccessEvent
	AppAUD string
}

const accessEventColumns = `id, at, action, allowed, email, email_key, user_id, device_id, app_id, app_name, app_aud, target_id, hostname, login, connection, ip, reason, request_id`

func scanAccessEvent(rs *sql.Rows) (AccessEvent, error) {
	var e AccessEvent
	var id, key string
	var allowed int
	err := rs.Scan(&id, &e.CreatedAt, &e.Action, &allowed, &e.UserEmail, &key, &e.UserID, &e.DeviceID, &e.AppUID, &e.AppName, &e.AppAUD, &e.TargetID,
		&e.AppDomain, &e.Username, &e.Connection, &e.IPAddress, &e.Reason, &e.RayID)
	e.Allowed = allowed != 0
	return e, err
}

// RecordAccess adds an event to the access log. It changes no collection.
func (tx *Tx) RecordAccess(ctx context.Context, e AccessEvent) error {
	id, err := newTimeID()
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO access_events (`+accessEventColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		id, tx.at, e.Action, flag(e.Allowed), e.UserEmail, emailKey(e.UserEmail), e.UserID, e.DeviceID, e.AppUID, e.AppName, e.AppAUD, e.TargetID,
		e.AppDomain, e.Username, e.Connection, e.IPAddress, e.Reason, tx.actor.RequestID)
	return err
}

// RecordRefusedEnrolment notes that an enrolment was refused although whoever asked had a secret that was once given out. Others
// are strangers, of whom nothing is known and who must not fill the log.
func (tx *Tx) RecordRefusedEnrolment(ctx context.Context, key, clientID, clientSecret, ip, reason string) error {
	e := AccessEvent{AccessEvent: api.AccessEvent{Action: "enrol", IPAddress: ip, Reason: reason}}
	if clientID != "" {
		t, ok, err := one(ctx, tx.q, scanServiceToken, `SELECT `+serviceTokenColumns+` FROM service_tokens WHERE client_id = $1 AND secret_hash = $2`, clientID, HashToken(clientSecret))
		if err != nil || !ok {
			return err
		}
		e.Connection, e.Reason = "service_token", reason+" ("+t.Name+")"
		u, known, err := tx.tokenUser(ctx, t.ID)
		if err != nil {
			return err
		}
		if known {
			e.UserID, e.UserEmail = u.ID, u.Email
		}
		return tx.RecordAccess(ctx, e)
	}
	k, ok, err := one(ctx, tx.q, scanKey, `SELECT `+keyColumns+` FROM enrolment_keys WHERE hash = $1`, HashToken(key))
	if err != nil || !ok {
		return err
	}
	e.Connection, e.UserEmail = "enrolment_key", k.Email
	u, known, err := tx.userByEmail(ctx, k.Email)
	if err != nil {
		return err
	}
	if known {
		e.UserID = u.ID
	}
	return tx.RecordAccess(ctx, e)
}

// AccessFilter selects events; zero fields select all. In Not are the names of the fields of which the opposite is asked for.
type AccessFilter struct {
	Since, Until time.Time // both inclusive
	Email        string
	EmailExact   bool
	Allowed      *bool
	UserID       string
	DeviceID     string
	AppUID       string
	Connection   string
	RayID        string
	NonIdentity  *bool
	Not          map[string]bool
	OldestFirst  bool
}

func (f *AccessFilter) where() *where {
	w := &where{}
	if !f.Since.IsZero() {
		w.add(`at >= ?`, Stamp(f.Since))
	}
	if !f.Until.IsZero() {
		w.add(`at <= ?`, Stamp(f.Until))
	}
	add := func(field, clause string, arg any) {
		if f.Not[field] {
			clause = "NOT (" + clause + ")"
		}
		w.add(clause, arg)
	}
	switch {
	case f.Email == "":
	case f.EmailExact:
		add("email", `email_key = ?`, emailKey(f.Email))
	default:
		add("email", `email_key LIKE ? ESCAPE '\'`, "%"+escapeLike(emailKey(f.Email))+"%")
	}
	for _, c := range []struct{ field, column, value string }{
		{"user_id", "user_id", f.UserID},
		{"device_id", "device_id", f.DeviceID},
		{"app_uid", "app_id", f.AppUID},
		{"idp", "connection", f.Connection},
		{"ray_id", "request_id", f.RayID},
	} {
		if c.value != "" {
			add(c.field, c.column+` = ?`, c.value)
		}
	}
	if f.Allowed != nil {
		add("allowed", `allowed = ?`, flag(*f.Allowed))
	}
	if f.NonIdentity != nil {
		add("non_identity", `CASE WHEN connection = 'service_token' THEN 1 ELSE 0 END = ?`, flag(*f.NonIdentity))
	}
	return w
}

// AccessEvents lists the events that f selects, the newest first unless it says otherwise; total counts all pages.
func (r *Reader) AccessEvents(ctx context.Context, f AccessFilter, p Page) (list []AccessEvent, total int, err error) {
	w := f.where()
	if total, err = r.count(ctx, `access_events`, w); err != nil {
		return nil, 0, err
	}
	order := ` ORDER BY at DESC, id DESC`
	if f.OldestFirst {
		order = ` ORDER BY at, id`
	}
	list, err = collect(ctx, r.q, scanAccessEvent, `SELECT `+accessEventColumns+` FROM access_events`+w.String()+order+
		` LIMIT `+w.next(p.Size)+` OFFSET `+w.next(p.offset()), w.args...)
	return list, total, err
}

// TrimAccessEvents removes what is too old, and of what is left the oldest if it is too much. It returns how many went.
func (tx *Tx) TrimAccessEvents(ctx context.Context) (int64, error) {
	n, err := tx.exec(ctx, `DELETE FROM access_events WHERE at < $1`, Stamp(tx.time.Add(-AccessLogRetention)))
	if err != nil {
		return n, err
	}
	last, ok, err := one(ctx, tx.q, func(rs *sql.Rows) (at [2]string, err error) { return at, rs.Scan(&at[0], &at[1]) },
		`SELECT at, id FROM access_events ORDER BY at DESC, id DESC LIMIT 1 OFFSET $1`, tx.store.maxAccessEvents)
	if err != nil || !ok {
		return n, err
	}
	more, err := tx.exec(ctx, `DELETE FROM access_events WHERE at < $1 OR at = $1 AND id <= $2`, last[0], last[1])
	return n + more, err
}

// DeviceApps are the applications that devices of a user logged in to, by device and application.
func (r *Reader) DeviceApps(ctx context.Context, user string) (map[string]map[string]api.UserSessionApp, error) {
	type row struct {
		device string
		app    api.UserSessionApp
	}
	rows, err := collect(ctx, r.q, func(rs *sql.Rows) (x row, err error) {
		x.app.Type = api.ApplicationType
		return x, rs.Scan(&x.device, &x.app.UID, &x.app.Name, &x.app.Hostname)
	}, `SELECT device_id, app_id, MAX(app_name), MAX(hostname) FROM access_events
		WHERE user_id = $1 AND allowed = 1 AND app_id <> '' GROUP BY device_id, app_id ORDER BY device_id, app_id LIMIT 1000`, user)
	out := map[string]map[string]api.UserSessionApp{}
	for _, x := range rows {
		if out[x.device] == nil {
			out[x.device] = map[string]api.UserSessionApp{}
		}
		out[x.device][x.app.UID] = x.app
	}
	return out, err
}

// DevicesOfUser are the registrations of a user that were not deleted, the one seen last first.
func (r *Reader) DevicesOfUser(ctx context.Context, user string) ([]Device, error) {
	return collect(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM `+deviceTables+
		` WHERE d.user_id = $1 AND d.deleted_at IS NULL ORDER BY d.last_seen_at DESC, d.id LIMIT 1000`, user)
}
