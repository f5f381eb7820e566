package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"weft/internal/kind"
)

// IssuedCertificate is what is kept of a certificate.
type IssuedCertificate struct {
	Serial, KeyID, GatewayID, DeviceID, UserID, TargetID, SessionID, Principal, PolicyID, ValidBefore string
	// CAID is the authority that signed it; SourceAddress and Extensions narrow it and go to the audit event alone.
	CAID, SourceAddress string
	Extensions          []string
}

// RecordCertificate keeps that a certificate was issued, with its audit event. It changes no collection.
func (tx *Tx) RecordCertificate(ctx context.Context, c IssuedCertificate) error {
	if _, err := tx.exec(ctx, `INSERT INTO ssh_certificates
		(serial, key_id, gateway_id, device_id, user_id, target_id, session_id, principal, policy_id, issued_at, valid_before, ca_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		c.Serial, c.KeyID, c.GatewayID, c.DeviceID, c.UserID, c.TargetID, c.SessionID, c.Principal, c.PolicyID, tx.at, c.ValidBefore, c.CAID); err != nil {
		return err
	}
	return tx.audit(ctx, "ssh_certificate.issue", "ssh_certificates", c.Serial, c)
}

// RecordProbe puts on record that a certificate was made which nobody can use; it is in no table.
func (tx *Tx) RecordProbe(ctx context.Context, c IssuedCertificate) error {
	return tx.audit(ctx, "ssh_certificate.probe", "ssh_certificates", c.Serial, c)
}

// RevokeCertificates puts certificates that are in force on the key revocation list: that of one serial number or those of a
// session, and of one gateway alone unless gateway is "". It returns how many; those that are on it already do not count.
func (tx *Tx) RevokeCertificates(ctx context.Context, serial uint64, session, gateway string) (int, error) {
	where, args := `session_id = $3`, []any{tx.at, tx.at, session}
	object := session
	if session == "" {
		object = strconv.FormatUint(serial, 10)
		where, args[2] = `serial = $3`, object
	}
	if gateway != "" {
		where += ` AND gateway_id = $4`
		args = append(args, gateway)
	}
	n, err := tx.exec(ctx, `UPDATE ssh_certificates SET revoked_at = $1 WHERE valid_before > $2 AND revoked_at IS NULL AND `+where, args...)
	if err != nil || n == 0 {
		return int(n), err
	}
	return int(n), tx.audit(ctx, "ssh_certificate.revoke", "ssh_certificates", object, map[string]any{"certificates": n, "session_id": session})
}

// RevokedCertificate is a certificate that is in force and must not be taken.
type RevokedCertificate struct {
	Serial uint64
	// CA is the public key that signed it, in authorized_keys form.
	CA string
}

// RevokedCertificates are the certificates in force at the time at (Stamp) that were revoked, or whose user or device was; of
// authorities that are still there, because of the others nothing is taken. At most limit; one more is kind.Limit.
func (r *Reader) RevokedCertificates(ctx context.Context, at string, limit int) ([]RevokedCertificate, error) {
	out, err := collect(ctx, r.q, func(rs *sql.Rows) (RevokedCertificate, error) {
		var c RevokedCertificate
		var serial string
		err := rs.Scan(&serial, &c.CA)
		if err == nil {
			c.Serial, err = strconv.ParseUint(serial, 10, 64)
		}
		return c, err
	}, `SELECT c.serial, a.public_key FROM ssh_certificates c
		JOIN gateway_cas a ON a.id = c.ca_id
		LEFT JOIN users u ON u.id = c.user_id
		LEFT JOIN devices d ON d.id = c.device_id
		WHERE c.valid_before > $1 AND (c.revoked_at IS NOT NULL OR u.id IS NULL OR u.revoked_at IS NOT NULL
			OR d.id IS NULL OR d.revoked_at IS NOT NULL OR d.deleted_at IS NOT NULL)
		ORDER BY c.serial LIMIT $2`, at, limit+1)
	if err != nil {
		return nil, fmt.Errorf("revoked certificates: %w", err)
	}
	if len(out) > limit {
		return nil, kind.New(kind.Limit, "more than %d certificates are revoked at once", limit)
	}
	return out, nil
}
