package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"weft/api"
	"weft/internal/kind"
)

// maxUserCAs bounds what every target is told to trust: one that signs, the next, and some that did.
const maxUserCAs = 8

// UserCA is an authority of the logins at targets.
type UserCA struct {
	ID        string          `json:"id"`
	PublicKey string          `json:"public_key"` // authorized_keys form
	State     api.UserCAState `json:"state"`
	CreatedAt string          `json:"created_at"`
}

func scanUserCA(rs *sql.Rows) (UserCA, error) {
	var c UserCA
	return c, rs.Scan(&c.ID, &c.PublicKey, &c.State, &c.CreatedAt)
}

// UserCAs lists the authorities: the one that signs, the next, then those that did, the newest first.
func (r *Reader) UserCAs(ctx context.Context) ([]UserCA, error) {
	return collect(ctx, r.q, scanUserCA, `SELECT id, public_key, state, created_at FROM gateway_cas
		ORDER BY CASE state WHEN 'signs' THEN 0 WHEN 'next' THEN 1 ELSE 2 END, created_at DESC, id DESC`)
}

// GatewayCAs is the one authority that signs, as the public API knows it, or none.
func (r *Reader) GatewayCAs(ctx context.Context) ([]api.GatewayCA, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (api.GatewayCA, error) {
		var c api.GatewayCA
		return c, rs.Scan(&c.ID, &c.PublicKey)
	}, `SELECT id, public_key FROM gateway_cas WHERE state = 'signs' ORDER BY created_at, id`)
}

func caPlace(id string) string { return "gateway_cas.private_key/" + id }

// CreateUserCA keeps a new authority with the reference of its key. The first signs at once, and then next must not be set;
// with next it is published beside the one that signs, and there can be one such.
func (tx *Tx) CreateUserCA(ctx context.Context, publicKey string, reference []byte, next bool) (UserCA, error) {
	c := UserCA{ID: newID(), PublicKey: publicKey, State: api.UserCASigns, CreatedAt: tx.at}
	have, err := tx.UserCAs(ctx)
	if err != nil {
		return c, err
	}
	signs, waits := inState(have, api.UserCASigns), inState(have, api.UserCANext)
	switch {
	case !next && signs >= 0:
		return c, kind.New(kind.Conflict, "access.api.error.gateway_ca_already_exists: the account already has the gateway CA %s", have[signs].ID).
			WithHint("to change it make the next one beside it: weft ssh-ca rotate")
	case next && signs < 0:
		return c, kind.New(kind.Conflict, "there is no user CA that signs, so there is nothing to rotate").WithHint("make one: weft ssh-ca create")
	case next && waits >= 0:
		return c, kind.New(kind.Conflict, "there is a next user CA already: %s", have[waits].ID).
			WithHint("weft ssh-ca activate %s, or remove it", have[waits].ID)
	case len(have) >= maxUserCAs:
		return c, kind.New(kind.Limit, "there are %d user CAs already, and targets trust all of them", len(have)).
			WithHint("remove the oldest: weft ssh-ca remove %s", have[len(have)-1].ID)
	}
	if next {
		c.State = api.UserCANext
	}
	if _, err := tx.exec(ctx, `INSERT INTO gateway_cas (id, public_key, private_key_sealed, created_at, state) VALUES ($1, $2, $3, $4, $5)`,
		c.ID, c.PublicKey, tx.store.box.seal(caPlace(c.ID), reference), tx.at, string(c.State)); err != nil {
		return c, err
	}
	return c, tx.changed(ctx, GatewayCAs, "gateway_ca.create", c.ID, c)
}

func inState(cas []UserCA, s api.UserCAState) int {
	return slices.IndexFunc(cas, func(c UserCA) bool { return c.State == s })
}

// userCA finds one authority.
func (r *Reader) userCA(ctx context.Context, id string) (UserCA, error) {
	c, ok, err := one(ctx, r.q, scanUserCA, `SELECT id, public_key, state, created_at FROM gateway_cas WHERE id = $1`, id)
	if err == nil && !ok {
		err = kind.New(kind.NotFound, "there is no gateway CA %q", id).WithHint("list them: weft ssh-ca list")
	}
	return c, err
}

// ActivateUserCA has an authority sign from now on. The one that signed stays published, and can be activated again. For the one
// that signs it changes nothing.
func (tx *Tx) ActivateUserCA(ctx context.Context, id string) (UserCA, error) {
	c, err := tx.userCA(ctx, id)
	if err != nil || c.State == api.UserCASigns {
		return c, err
	}
	if _, err := tx.exec(ctx, `UPDATE gateway_cas SET state = 'trusted' WHERE state = 'signs'`); err != nil {
		return c, err
	}
	if _, err := tx.exec(ctx, `UPDATE gateway_cas SET state = 'signs' WHERE id = $1`, id); err != nil {
		return c, err
	}
	c.State = api.UserCASigns
	return c, tx.changed(ctx, GatewayCAs, "gateway_ca.activate", c.ID, c)
}

// DeleteUserCA takes an authority away for good: its key's reference is returned and kept no more, its public key goes to
// the key revocation list. Unless forced it is kind.Conflict for the one that signs and while a certificate of it is in force.
func (tx *Tx) DeleteUserCA(ctx context.Context, id string, force bool) (c UserCA, reference []byte, err error) {
	if c, err = tx.userCA(ctx, id); err != nil {
		return c, nil, err
	}
	if !force {
		if err := tx.userCAIdle(ctx, c); err != nil {
			return c, nil, err
		}
	}
	// One whose reference cannot be read can still be taken away: that may be why it is.
	reference, _ = tx.userCAReference(ctx, id)
	if _, err := tx.exec(ctx, `DELETE FROM gateway_cas WHERE id = $1`, id); err != nil {
		return c, nil, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO retired_user_cas (id, public_key, retired_at) VALUES ($1, $2, $3)`, c.ID, c.PublicKey, tx.at); err != nil {
		return c, nil, err
	}
	return c, reference, tx.changed(ctx, GatewayCAs, "gateway_ca.delete", c.ID, struct {
		UserCA
		Forced bool `json:"forced"`
	}{c, force})
}

func (tx *Tx) userCAIdle(ctx context.Context, c UserCA) error {
	if c.State == api.UserCASigns {
		return kind.New(kind.Conflict, "the user CA %s is the one that signs: without it nobody can log in by SSH", c.ID).
			WithHint("first make another one sign: weft ssh-ca rotate, then activate")
	}
	var n int
	if err := tx.q.QueryRowContext(ctx, `SELECT COUNT(*) FROM ssh_certificates WHERE ca_id = $1 AND valid_before > $2`, c.ID, tx.at).Scan(&n); err != nil {
		return fmt.Errorf("count certificates: %w", err)
	}
	if n > 0 {
		return kind.New(kind.Conflict, "%d certificates of the user CA %s are still in force", n, c.ID).WithHint("they end within three minutes; try again then")
	}
	return nil
}

func (r *Reader) userCAReference(ctx context.Context, id string) ([]byte, error) {
	var sealed string
	if err := r.q.QueryRowContext(ctx, `SELECT private_key_sealed FROM gateway_cas WHERE id = $1`, id).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read user CA: %w", err)
	}
	return r.store.box.open(caPlace(id), sealed)
}

// UserCAReference reveals the reference of an authority's key.
func (r *Reader) UserCAReference(ctx context.Context, id string) ([]byte, error) {
	return r.userCAReference(ctx, id)
}

// SigningUserCA is the authority that signs, with the reference of its key.
func (r *Reader) SigningUserCA(ctx context.Context) (UserCA, []byte, error) {
	have, err := r.UserCAs(ctx)
	if err != nil {
		return UserCA{}, nil, err
	}
	i := inState(have, api.UserCASigns)
	if i < 0 {
		e := kind.New(kind.Unavailable, "the account has no gateway CA that signs, so nobody can log in by SSH")
		if len(have) > 0 {
			return UserCA{}, nil, e.WithHint("an administrator activates another: weft ssh-ca activate %s", have[0].ID)
		}
		return UserCA{}, nil, e.WithHint("an administrator makes one: weft ssh-ca create")
	}
	reference, err := r.userCAReference(ctx, have[i].ID)
	return have[i], reference, err
}

// RetiredUserCAs are the public keys of the newest authorities that were taken away, at most limit.
func (r *Reader) RetiredUserCAs(ctx context.Context, limit int) ([]string, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (string, error) {
		var key string
		return key, rs.Scan(&key)
	}, `SELECT public_key FROM retired_user_cas ORDER BY retired_at DESC, id LIMIT $1`, limit)
}
