package control

import (
	"context"
	"slices"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

var userNoise = []string{"id", "uid", "access_seat", "gateway_seat", "seat_uid", "active_device_count", "created_at", "updated_at", "revoked_at", "last_successful_login"}

// userWrites are the writes of users; they are listed a page at a time, by listUsers.
func userWrites() resource[api.User, api.UserWrite] {
	return resource[api.User, api.UserWrite]{
		read: func(q *call) (in api.UserWrite, err error) { return in, q.body(&in, userNoise...) },
		get: func(r *store.Reader, ctx context.Context, id string) (api.User, error) {
			return plainUser(r.User(ctx, id))
		},
		create: func(tx *store.Tx, ctx context.Context, in api.UserWrite) (api.User, error) {
			return plainUser(tx.CreateUser(ctx, in))
		},
		replace: func(tx *store.Tx, ctx context.Context, id string, in api.UserWrite) (api.User, error) {
			return plainUser(tx.ReplaceUser(ctx, id, in))
		},
		remove: (*store.Tx).DeleteUser,
	}
}

func plainUser(u store.User, err error) (api.User, error) { return u.User, err }

func (c *Control) listActiveSessions(ctx context.Context, q *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) ([]api.UserSession, error) {
		u, devices, err := devicesOf(ctx, r, q.params["id"])
		if err != nil {
			return nil, err
		}
		apps, err := r.DeviceApps(ctx, u.ID)
		out := []api.UserSession{}
		for i := range devices {
			d := &devices[i]
			if !active(&u, d) {
				continue
			}
			s := api.UserSession{Name: d.Name, Metadata: api.UserSessionMetadata{Apps: apps[d.ID], IssuedAt: unix(d.CreatedAt), Nonce: d.RegistrationID}}
			if s.Metadata.Apps == nil {
				s.Metadata.Apps = map[string]api.UserSessionApp{}
			}
			out = append(out, s)
		}
		return out, err
	})
}

func (c *Control) getActiveSession(ctx context.Context, q *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) (api.UserIdentity, error) {
		u, devices, err := devicesOf(ctx, r, q.params["id"])
		if err != nil {
			return api.UserIdentity{}, err
		}
		i := slices.IndexFunc(devices, func(d store.Device) bool { return d.RegistrationID == q.params["nonce"] && active(&u, &d) })
		if i < 0 {
			return api.UserIdentity{}, kind.New(kind.NotFound, "user %s has no active session %q", u.Email, q.params["nonce"])
		}
		return c.identity(&u, &devices[i]), nil
	})
}

// lastSeenIdentity is the identity behind the device of the user that was seen last.
func (c *Control) lastSeenIdentity(ctx context.Context, q *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) (api.UserIdentity, error) {
		u, devices, err := devicesOf(ctx, r, q.params["id"])
		if err != nil {
			return api.UserIdentity{}, err
		}
		if len(devices) == 0 {
			return api.UserIdentity{}, kind.New(kind.NotFound, "no device of user %s was ever seen", u.Email)
		}
		return c.identity(&u, &devices[0]), nil
	})
}

func devicesOf(ctx context.Context, r *store.Reader, id string) (store.User, []store.Device, error) {
	u, err := r.User(ctx, id)
	if err != nil {
		return u, nil, err
	}
	devices, err := r.DevicesOfUser(ctx, id)
	return u, devices, err
}

func active(u *store.User, d *store.Device) bool { return u.RevokedAt == nil && d.RevokedAt == nil }

func (c *Control) identity(u *store.User, d *store.Device) api.UserIdentity {
	i := api.UserIdentity{
		AccountID: c.AccountID(), AuthStatus: "NONE", DeviceID: d.ID, DeviceSessions: map[string]api.UserDeviceSession{d.ID: {LastAuthenticated: unix(d.LastSeenAt)}},
		DevicePosture: map[string]any{}, Email: u.Email, Name: u.Name, Groups: u.Groups, Geo: map[string]string{}, IssuedAt: unix(d.CreatedAt), IDP: map[string]string{},
		IP: d.SourceIP, IsGateway: true, IsWARP: true, IsActive: active(u, d), ServiceTokenID: u.ServiceTokenID,
		ServiceTokenStatus: u.ServiceTokenID != "" && u.RevokedAt == nil, UserUUID: u.ID,
	}
	if i.Groups == nil {
		i.Groups = []string{}
	}
	return i
}

// unix turns a stamp of the store into Unix seconds; one that cannot be read is 0.
func unix(stamp string) int64 {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return 0
	}
	return t.Unix()
}

const maxFailedLogins = 100

// listFailedLogins are the newest refusals of a user that are on record.
func (c *Control) listFailedLogins(ctx context.Context, q *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) ([]api.FailedLogin, error) {
		u, err := r.User(ctx, q.params["id"])
		if err != nil {
			return nil, err
		}
		refused := false
		events, _, err := r.AccessEvents(ctx, store.AccessFilter{UserID: u.ID, Allowed: &refused}, store.Page{Number: 1, Size: maxFailedLogins})
		out := make([]api.FailedLogin, len(events))
		for i, e := range events {
			out[i] = api.FailedLogin{
				Expiration: unix(e.CreatedAt) + int64(store.AccessLogRetention/time.Second),
				Metadata: api.FailedLoginMetadata{
					AppName: e.AppName, AUD: e.AppAUD, Datetime: e.CreatedAt, RayID: e.RayID, UserEmail: e.UserEmail, UserUUID: e.UserID, Reason: e.Reason,
				},
			}
		}
		return out, err
	})
}
