package store

import (
	"context"
	"database/sql"
	"fmt"

	"weft/api"
	"weft/internal/kind"
)

func scanCA(rs *sql.Rows) (api.GatewayCA, error) {
	var c api.GatewayCA
	return c, rs.Scan(&c.ID, &c.PublicKey)
}

// GatewayCAs lists the SSH certificate authorities: none or one.
func (r *Reader) GatewayCAs(ctx context.Context) ([]api.GatewayCA, error) {
	return collect(ctx, r.q, scanCA, `SELECT id, public_key FROM gateway_cas ORDER BY created_at`)
}

func caPlace(id string) string { return "gateway_cas.private_key/" + id }

// CreateGatewayCA keeps a new authority; there can be one.
func (tx *Tx) CreateGatewayCA(ctx context.Context, publicKey string, privateKey []byte) (api.GatewayCA, error) {
	c := api.GatewayCA{ID: newID(), PublicKey: publicKey}
	have, err := tx.GatewayCAs(ctx)
	if err != nil {
		return c, err
	}
	if len(have) > 0 {
		return c, kind.New(kind.Conflict, "access.api.error.gateway_ca_already_exists: the account already has the gateway CA %s", have[0].ID).
			WithHint("delete it first, and put the new public key on every target")
	}
	if _, err := tx.exec(ctx, `INSERT INTO gateway_cas (id, public_key, private_key_sealed, created_at) VALUES ($1, $2, $3, $4)`,
		c.ID, c.PublicKey, tx.store.box.seal(caPlace(c.ID), privateKey), tx.at); err != nil {
		return c, err
	}
	return c, tx.changed(ctx, GatewayCAs, "gateway_ca.create", c.ID, c)
}

// DeleteGatewayCA removes an authority and its key for good.
func (tx *Tx) DeleteGatewayCA(ctx context.Context, id string) (api.GatewayCA, error) {
	c, ok, err := one(ctx, tx.q, scanCA, `SELECT id, public_key FROM gateway_cas WHERE id = $1`, id)
	if err != nil {
		return c, err
	}
	if !ok {
		return c, kind.New(kind.NotFound, "there is no gateway CA %q", id)
	}
	if _, err := tx.exec(ctx, `DELETE FROM gateway_cas WHERE id = $1`, id); err != nil {
		return c, err
	}
	return c, tx.changed(ctx, GatewayCAs, "gateway_ca.delete", c.ID, c)
}

// GatewayCAKey reveals the private key of the account's authority, for signing.
func (r *Reader) GatewayCAKey(ctx context.Context) ([]byte, error) {
	have, err := r.GatewayCAs(ctx)
	if err != nil {
		return nil, err
	}
	if len(have) == 0 {
		return nil, kind.New(kind.Unavailable, "the account has no gateway CA, so nobody can log in by SSH").
			WithHint("an administrator makes one with POST /accounts/{account}/access/gateway_ca")
	}
	var sealed string
	if err := r.q.QueryRowContext(ctx, `SELECT private_key_sealed FROM gateway_cas WHERE id = $1`, have[0].ID).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read gateway CA: %w", err)
	}
	return r.store.box.open(caPlace(have[0].ID), sealed)
}

// IssuedCertificate is what is kept of a certificate.
type IssuedCertificate struct {
	Serial, KeyID, GatewayID, DeviceID, UserID, TargetID, SessionID, Principal, PolicyID, ValidBefore string
}

// RecordCertificate keeps that a certificate was issued, with its audit event. It changes no collection.
func (tx *Tx) RecordCertificate(ctx context.Context, c IssuedCertificate) error {
	if _, err := tx.exec(ctx, `INSERT INTO ssh_certificates
		(serial, key_id, gateway_id, device_id, user_id, target_id, session_id, principal, policy_id, issued_at, valid_before)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		c.Serial, c.KeyID, c.GatewayID, c.DeviceID, c.UserID, c.TargetID, c.SessionID, c.Principal, c.PolicyID, tx.at, c.ValidBefore); err != nil {
		return err
	}
	return tx.audit(ctx, "ssh_certificate.issue", "ssh_certificates", c.Serial, c)
}
