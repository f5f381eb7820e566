package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// User is a user as the store keeps it.
type User struct {
	api.User
	Groups []string
	// ServiceTokenID is that of the token for which the row stands; "" for a person.
	ServiceTokenID string
}

// UserFilter selects users; zero fields select all. Emails and names are compared without case.
type UserFilter struct{ Email, Name, Search string }

const userColumns = `u.id, u.email, u.name, u.group_list, u.created_at, u.updated_at, u.revoked_at,
	u.service_token_id, (SELECT MAX(e.at) FROM access_events e WHERE e.user_id = u.id AND e.allowed = 1),
	(SELECT COUNT(*) FROM devices d WHERE d.user_id = u.id AND d.revoked_at IS NULL AND d.deleted_at IS NULL)`

func scanUser(rs *sql.Rows) (User, error) {
	var u User
	var groups string
	if err := rs.Scan(&u.ID, &u.Email, &u.Name, &groups, &u.CreatedAt, &u.UpdatedAt, &u.RevokedAt, &u.ServiceTokenID, &u.LastSuccessfulLogin,
		&u.ActiveDeviceCount); err != nil {
		return u, err
	}
	u.fill()
	return u, json.Unmarshal([]byte(groups), &u.Groups)
}

// fill sets the fields that follow from others.
func (u *User) fill() {
	u.UID, u.SeatUID = u.ID, u.ID
	u.AccessSeat = u.RevokedAt == nil
	u.GatewaySeat = u.AccessSeat
}

// ListUsers lists by email; total counts all pages.
func (r *Reader) ListUsers(ctx context.Context, f UserFilter, p Page) (list []User, total int, err error) {
	var w where
	w.deletedAs("u.deleted_at", nil)
	if f.Email != "" {
		w.add(`(u.email_key = ? OR u.service_token_id <> '' AND u.email = ?)`, emailKey(f.Email), f.Email)
	}
	if f.Name != "" {
		w.add(`LOWER(u.name) = ?`, nameKey(f.Name))
	}
	if f.Search != "" {
		like := "%" + escapeLike(nameKey(f.Search)) + "%"
		w.add(`(u.email_key LIKE ? ESCAPE '\' OR LOWER(u.name) LIKE ? ESCAPE '\')`, like, like)
	}
	if total, err = r.count(ctx, `users u`, &w); err != nil {
		return nil, 0, err
	}
	list, err = collect(ctx, r.q, scanUser, `SELECT `+userColumns+` FROM users u`+w.String()+
		` ORDER BY u.email_key LIMIT `+w.next(p.Size)+` OFFSET `+w.next(p.offset()), w.args...)
	return list, total, err
}

// User finds one.
func (r *Reader) User(ctx context.Context, id string) (User, error) {
	u, ok, err := one(ctx, r.q, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.id = $1 AND u.deleted_at IS NULL`, id)
	if err == nil && !ok {
		return u, kind.New(kind.NotFound, "there is no user %q", id)
	}
	return u, err
}

func (r *Reader) userByEmail(ctx context.Context, email string) (User, bool, error) {
	return one(ctx, r.q, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.email_key = $1`, emailKey(email))
}

// RevokeUser takes everything from a user: the identity, every registration and every enrolment key that was given
// out before. A key made afterwards lets the user enrol again.
func (tx *Tx) RevokeUser(ctx context.Context, email string) error {
	u, known, err := tx.userByEmail(ctx, email)
	if err != nil {
		return err
	}
	keys, err := tx.exec(ctx, `UPDATE enrolment_keys SET revoked_at = $1 WHERE email_key = $2 AND revoked_at IS NULL`, tx.at, emailKey(email))
	if err != nil {
		return err
	}
	if !known {
		if keys == 0 {
			return kind.Field("/email", "there is no user %q", email)
		}
		return tx.audit(ctx, "user.revoke", Users, "", map[string]any{"email": email, "enrolment_keys": keys})
	}
	if _, err := tx.exec(ctx, `UPDATE users SET revoked_at = $1, updated_at = $1 WHERE id = $2`, tx.at, u.ID); err != nil {
		return err
	}
	devices, err := tx.revokeDevicesOf(ctx, u.ID)
	if err != nil {
		return err
	}
	return tx.changed(ctx, Users, "user.revoke", u.ID, map[string]any{"email": u.Email, "devices": devices, "enrolment_keys": keys})
}

// revokeDevicesOf ends the registrations of a user and returns how many there were.
func (tx *Tx) revokeDevicesOf(ctx context.Context, user string) (int, error) {
	devices, err := tx.activeRegistrations(ctx, `user_id = $1`, user)
	if err != nil {
		return 0, err
	}
	for _, d := range devices {
		if err := tx.revokeDevice(ctx, d); err != nil {
			return 0, err
		}
	}
	return len(devices), nil
}

// retireUser ends a user for good: the registrations are revoked, and the row stays only for what names it.
func (tx *Tx) retireUser(ctx context.Context, u User) error {
	devices, err := tx.revokeDevicesOf(ctx, u.ID)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `UPDATE users SET revoked_at = COALESCE(revoked_at, $1), deleted_at = $1, updated_at = $1, email_key = $2 WHERE id = $3`,
		tx.at, "deleted "+u.ID, u.ID); err != nil {
		return err
	}
	return tx.changed(ctx, Users, "user.delete", u.ID, map[string]any{"email": u.Email, "devices": devices})
}

// enrolUser makes the user of an enrolment key known, and no longer revoked: a usable key is an administrator's word.
func (tx *Tx) enrolUser(ctx context.Context, k EnrolmentKey) (User, error) {
	u, known, err := tx.userByEmail(ctx, k.Email)
	if err != nil {
		return u, err
	}
	if !known {
		u = User{User: api.User{ID: newID(), Email: k.Email, Name: k.Name, CreatedAt: tx.at, UpdatedAt: tx.at}, Groups: k.Groups}
		if _, err := tx.exec(ctx, `INSERT INTO users (id, email, email_key, name, group_list, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)`,
			u.ID, u.Email, emailKey(u.Email), u.Name, groupText(u.Groups), tx.at); err != nil {
			return u, err
		}
		return u, tx.changed(ctx, Users, "user.create", u.ID, u)
	}
	before := u
	if k.Name != "" {
		u.Name = k.Name
	}
	// A key without groups says nothing about them, except that a revoked user's old memberships do not come back.
	if len(k.Groups) > 0 || u.RevokedAt != nil {
		u.Groups = k.Groups
	}
	u.RevokedAt = nil
	if u.Name == before.Name && groupText(u.Groups) == groupText(before.Groups) && before.RevokedAt == nil {
		return u, nil
	}
	if _, err := tx.exec(ctx, `UPDATE users SET name = $1, group_list = $2, revoked_at = NULL, updated_at = $3 WHERE id = $4`,
		u.Name, groupText(u.Groups), tx.at, u.ID); err != nil {
		return u, err
	}
	return u, tx.changed(ctx, Users, "user.update", u.ID, change{before, u})
}

func groupText(groups []string) string {
	if len(groups) == 0 {
		return "[]"
	}
	raw, _ := json.Marshal(groups) // strings always marshal
	return string(raw)
}

// Identities are the users as the policy sees them.
func (r *Reader) Identities(ctx context.Context) ([]access.Identity, error) {
	users, err := collect(ctx, r.q, scanUser, `SELECT `+userColumns+` FROM users u WHERE u.deleted_at IS NULL ORDER BY u.id`)
	if err != nil {
		return nil, err
	}
	out := make([]access.Identity, len(users))
	for i, u := range users {
		out[i] = access.Identity{UserID: u.ID, Email: u.Email, Name: u.Name, Revoked: u.RevokedAt != nil}
		if u.ServiceTokenID != "" { // nobody's address, so that no rule about addresses can match
			out[i].Email, out[i].ServiceToken = "", u.ServiceTokenID
		}
		for _, g := range u.Groups {
			group := access.Group{ID: g, Name: g}
			if strings.Contains(g, "@") {
				group.Email = g
			}
			out[i].Groups = append(out[i].Groups, group)
		}
	}
	return out, nil
}

// checkEmail accepts what can be the address of a user; the policy's own rules are stricter about rules.
func checkEmail(pointer, email string) error {
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" || domain == "" || strings.ContainsAny(domain, "@") || len(email) > 254 || strings.ContainsAny(email, " \t\r\n") {
		return kind.Field(pointer, "%q is not an e-mail address", clip(email))
	}
	return checkText(pointer, email)
}

func clip(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%s...", strings.ToValidUTF8(s[:80], ""))
	}
	return s
}
