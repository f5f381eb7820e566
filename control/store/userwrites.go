package store

import (
	"context"

	"weft/api"
	"weft/internal/kind"
)

// CreateUser makes a user known before the first enrolment.
func (tx *Tx) CreateUser(ctx context.Context, in api.UserWrite) (User, error) {
	u := User{User: api.User{ID: newID(), CreatedAt: tx.at}}
	if err := tx.editUser(ctx, &u, in); err != nil {
		return u, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO users (id, email, email_key, name, group_list, created_at, updated_at) VALUES ($1, $2, $3, $4, '[]', $5, $5)`,
		u.ID, u.Email, emailKey(u.Email), u.Name, tx.at); err != nil {
		return u, err
	}
	u.fill()
	return u, tx.changed(ctx, Users, "user.create", u.ID, u)
}

// ReplaceUser changes the address and the name of a user. Enrolment keys stay those of the address that they were made for.
func (tx *Tx) ReplaceUser(ctx context.Context, id string, in api.UserWrite) (User, error) {
	before, err := tx.User(ctx, id)
	if err != nil {
		return before, err
	}
	if err := notOfToken(&before); err != nil {
		return before, err
	}
	u := before
	if err := tx.editUser(ctx, &u, in); err != nil {
		return u, err
	}
	if _, err := tx.exec(ctx, `UPDATE users SET email = $2, email_key = $3, name = $4, updated_at = $5 WHERE id = $1`,
		id, u.Email, emailKey(u.Email), u.Name, u.UpdatedAt); err != nil {
		return u, err
	}
	if err := tx.touch(ctx, Devices); err != nil { // they show the address
		return u, err
	}
	return u, tx.changed(ctx, Users, "user.update", id, change{before, u})
}

// DeleteUser ends a user for good: registrations and enrolment keys with it. A key made afterwards makes a new user.
func (tx *Tx) DeleteUser(ctx context.Context, id string) error {
	u, err := tx.User(ctx, id)
	if err != nil {
		return err
	}
	if err := notOfToken(&u); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `UPDATE enrolment_keys SET revoked_at = $1 WHERE email_key = $2 AND revoked_at IS NULL`, tx.at, emailKey(u.Email)); err != nil {
		return err
	}
	return tx.retireUser(ctx, u)
}

func notOfToken(u *User) error {
	if u.ServiceTokenID == "" {
		return nil
	}
	return kind.New(kind.Invalid, "user %q stands for the service token %s", u.Email, u.ServiceTokenID).WithHint("change or delete the service token")
}

func (tx *Tx) editUser(ctx context.Context, u *User, in api.UserWrite) error {
	u.Email, u.Name, u.UpdatedAt = in.Email, in.Name, tx.at
	if err := checkEmail("/email", u.Email); err != nil {
		return err
	}
	if u.Name != "" {
		if err := checkName(u.Name); err != nil {
			return err
		}
	}
	other, known, err := tx.userByEmail(ctx, u.Email)
	if err == nil && known && other.ID != u.ID {
		k := kind.New(kind.Conflict, "the address %q already belongs to user %s", u.Email, other.ID)
		k.Pointer = "/email"
		return k
	}
	return err
}
