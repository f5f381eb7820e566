package control

import (
	"context"
	"time"

	"weft/api"
	"weft/control/store"
)

func (c *Control) listUsers(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	f := store.UserFilter{Email: q.query.Get("email"), Name: q.query.Get("name"), Search: q.query.Get("search")}
	out, total := []api.User{}, 0
	err = c.store.View(ctx, func(r *store.Reader) error {
		list, n, err := r.ListUsers(ctx, f, p)
		for _, u := range list {
			out = append(out, u.User)
		}
		total = n
		return err
	})
	return paged(out, total, p), err
}

// revokeUser ignores what clients may add about the devices: they are always revoked with their user.
func (c *Control) revokeUser(ctx context.Context, q *call) (answer, error) {
	var in api.RevokeUser
	if err := q.body(&in, "user_uid", "devices", "warp_session_reauth"); err != nil {
		return answer{}, err
	}
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.RevokeUser(ctx, in.Email) })
	return answer{result: true}, err
}

func (c *Control) verifyToken(_ context.Context, q *call) (answer, error) {
	since, err := time.Parse(time.RFC3339, q.token.CreatedAt)
	status := api.TokenStatus{ID: q.token.ID, Status: "active", Since: since}
	if err == nil && q.token.ExpiresAt != nil {
		var until time.Time
		until, err = time.Parse(time.RFC3339, *q.token.ExpiresAt)
		status.Until = &until
	}
	return answer{result: status}, err
}
