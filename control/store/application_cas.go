package store

import (
	"context"
	"database/sql"

	"weft/api"
	"weft/internal/kind"
)

// The older form of the SSH CA: one of each application. Logins to the targets of every application are certified by the
// one authority of the account, so that is the key which these objects show, also after it was rotated.

const applicationCATables = ` FROM application_cas c JOIN applications a ON a.id = c.application_id JOIN gateway_cas g ON g.state = 'signs'`

func scanApplicationCA(rs *sql.Rows) (api.ApplicationCA, error) {
	var c api.ApplicationCA
	return c, rs.Scan(&c.ID, &c.AUD, &c.PublicKey)
}

// ApplicationCAs lists them by creation.
func (r *Reader) ApplicationCAs(ctx context.Context) ([]api.ApplicationCA, error) {
	return collect(ctx, r.q, scanApplicationCA, `SELECT c.id, a.aud, g.public_key`+applicationCATables+` ORDER BY c.created_at, c.id`)
}

// ApplicationCA is that of an application.
func (r *Reader) ApplicationCA(ctx context.Context, application string) (api.ApplicationCA, error) {
	a, err := r.Application(ctx, application)
	if err != nil {
		return api.ApplicationCA{}, err
	}
	c, ok, err := one(ctx, r.q, scanApplicationCA, `SELECT c.id, a.aud, g.public_key`+applicationCATables+` WHERE c.application_id = $1`, application)
	if err == nil && !ok {
		err = kind.New(kind.NotFound, "application %q has no SSH CA", a.Name)
	}
	return c, err
}

// CreateApplicationCA asks for the authority by an application. There must be one that signs; with fresh it was made for this,
// and an application that asked for a former one may ask again.
func (tx *Tx) CreateApplicationCA(ctx context.Context, application string, fresh bool) (api.ApplicationCA, error) {
	have, err := tx.ApplicationCA(ctx, application)
	switch {
	case err == nil && !fresh:
		return have, kind.New(kind.Conflict, "the application already has the SSH CA %s", have.ID).WithHint("read it with GET; it is that of the account")
	case err == nil:
		return have, nil
	case !kind.Is(err, kind.NotFound):
		return have, err
	}
	a, err := tx.Application(ctx, application)
	if err != nil {
		return have, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO application_cas (application_id, id, created_at) VALUES ($1, $2, $3)`, application, newID(), tx.at); err != nil {
		return have, err
	}
	if have, err = tx.ApplicationCA(ctx, application); err != nil {
		return have, err
	}
	return have, tx.audit(ctx, "application_ca.create", "application_cas", have.ID, applicationCADetail{have, a.ID, a.Name})
}

// DeleteApplicationCA takes it away from an application. The authority of the account goes on to sign.
func (tx *Tx) DeleteApplicationCA(ctx context.Context, application string) (api.ApplicationCA, error) {
	c, err := tx.ApplicationCA(ctx, application)
	if err != nil {
		return c, err
	}
	a, err := tx.Application(ctx, application)
	if err != nil {
		return c, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM application_cas WHERE application_id = $1`, application); err != nil {
		return c, err
	}
	return c, tx.audit(ctx, "application_ca.delete", "application_cas", c.ID, applicationCADetail{c, a.ID, a.Name})
}

// applicationCADetail is what an audit event says.
type applicationCADetail struct {
	api.ApplicationCA
	Application string `json:"application_id"`
	Name        string `json:"application_name"`
}
