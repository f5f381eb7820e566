package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"weft/internal/kind"
)

// maxSSHHostCAs bounds what every agent is told to trust.
const maxSSHHostCAs = 8

// maxHostCertificates is how many host certificates one gateway may have in an hour: two keys, a restart now and then,
// a rotation, and room for a gateway whose disk keeps nothing.
const maxHostCertificates = 120

// SSHHostCA is an authority of the gateways' host keys.
type SSHHostCA struct {
	ID        string `json:"id"`
	PublicKey string `json:"public_key"` // authorized_keys form
	CreatedAt string `json:"created_at"`
}

func scanHostCA(rs *sql.Rows) (SSHHostCA, error) {
	var c SSHHostCA
	return c, rs.Scan(&c.ID, &c.PublicKey, &c.CreatedAt)
}

// SSHHostCAs lists the authorities of host keys, the newest, which signs, first.
func (r *Reader) SSHHostCAs(ctx context.Context) ([]SSHHostCA, error) {
	return collect(ctx, r.q, scanHostCA, `SELECT id, public_key, created_at FROM ssh_host_cas ORDER BY created_at DESC, id DESC`)
}

func hostCAPlace(id string) string { return "ssh_host_cas.private_key/" + id }

// CreateSSHHostCA adds an authority, which signs from now on; the older ones stay trusted.
func (tx *Tx) CreateSSHHostCA(ctx context.Context, publicKey string, privateKey []byte) (SSHHostCA, error) {
	c := SSHHostCA{PublicKey: publicKey, CreatedAt: tx.at}
	have, err := tx.SSHHostCAs(ctx)
	if err != nil {
		return c, err
	}
	if len(have) >= maxSSHHostCAs {
		return c, kind.New(kind.Limit, "there are %d host CAs already, and clients trust all of them", len(have)).
			WithHint("remove the oldest: weft ssh-ca remove %s", have[len(have)-1].ID)
	}
	if c.ID, err = newTimeID(); err != nil { // in the order of their making, even within one microsecond
		return c, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO ssh_host_cas (id, public_key, private_key_sealed, created_at) VALUES ($1, $2, $3, $4)`,
		c.ID, c.PublicKey, tx.store.box.seal(hostCAPlace(c.ID), privateKey), tx.at); err != nil {
		return c, err
	}
	return c, tx.changed(ctx, SSHHostCAs, "ssh_host_ca.create", c.ID, c)
}

// DeleteSSHHostCA takes an authority and its key away for good. Unless forced it is kind.Conflict for the one that signs,
// and while a gateway presents a certificate of it.
// The reference of its key is returned and kept no more; nil if it cannot be read.
func (tx *Tx) DeleteSSHHostCA(ctx context.Context, id string, force bool) (reference []byte, err error) {
	have, err := tx.SSHHostCAs(ctx)
	if err != nil {
		return nil, err
	}
	at := -1
	for i := range have {
		if have[i].ID == id {
			at = i
		}
	}
	if at < 0 {
		return nil, kind.New(kind.NotFound, "there is no host CA %q", id).WithHint("list them: weft ssh-ca list")
	}
	if !force {
		if at == 0 {
			return nil, kind.New(kind.Conflict, "the host CA %s is the one that signs", id).WithHint("first make another: weft ssh-ca rotate --host")
		}
		names, err := tx.hostCAUsers(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			return nil, kind.New(kind.Conflict, "gateways still present certificates of the host CA %s: %s", id, strings.Join(names, ", ")).
				WithHint("gateways that run renew within minutes of a rotation; try again then, or start those that are down")
		}
	}
	reference, _ = tx.sshHostCAReference(ctx, id) // one that cannot be read can still be taken away
	if _, err := tx.exec(ctx, `DELETE FROM ssh_host_cas WHERE id = $1`, id); err != nil {
		return nil, err
	}
	return reference, tx.changed(ctx, SSHHostCAs, "ssh_host_ca.delete", id, struct {
		SSHHostCA
		Forced bool `json:"forced"`
	}{have[at], force})
}

// hostCAUsers are the names of the gateways whose newest certificate of some key is of an authority, and in force.
func (tx *Tx) hostCAUsers(ctx context.Context, id string) ([]string, error) {
	return collect(ctx, tx.q, func(rs *sql.Rows) (string, error) {
		var name string
		return name, rs.Scan(&name)
	}, `SELECT DISTINCT g.name FROM ssh_host_certificates c JOIN gateways g ON g.id = c.gateway_id
		WHERE c.ca_id = $1 AND c.valid_before > $2 AND NOT EXISTS (
			SELECT 1 FROM ssh_host_certificates n
			WHERE n.gateway_id = c.gateway_id AND n.fingerprint = c.fingerprint AND n.issued_at > c.issued_at)
		ORDER BY g.name`, id, tx.at)
}

// SigningSSHHostCA is the authority that signs, with the reference of its key.
func (r *Reader) SigningSSHHostCA(ctx context.Context) (SSHHostCA, []byte, error) {
	have, err := r.SSHHostCAs(ctx)
	if err != nil {
		return SSHHostCA{}, nil, err
	}
	if len(have) == 0 {
		return SSHHostCA{}, nil, kind.New(kind.Unavailable, "the account has no host CA").WithHint("make one: weft ssh-ca rotate --host")
	}
	reference, err := r.sshHostCAReference(ctx, have[0].ID)
	return have[0], reference, err
}

func (r *Reader) sshHostCAReference(ctx context.Context, id string) ([]byte, error) {
	var sealed string
	if err := r.q.QueryRowContext(ctx, `SELECT private_key_sealed FROM ssh_host_cas WHERE id = $1`, id).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read host CA: %w", err)
	}
	return r.store.box.open(hostCAPlace(id), sealed)
}

// IssuedHostCertificate is what is kept of a host certificate.
type IssuedHostCertificate struct {
	Serial      string `json:"serial"`
	KeyID       string `json:"key_id"`
	CAID        string `json:"ca_id"`
	GatewayID   string `json:"gateway_id"`
	Fingerprint string `json:"fingerprint"`
	ValidBefore string `json:"valid_before"`
}

// RecordHostCertificate keeps that a host certificate was issued, with its audit event, and forgets those that have
// expired. A gateway that asks too often is kind.Limit. It changes no collection.
func (tx *Tx) RecordHostCertificate(ctx context.Context, c IssuedHostCertificate) error {
	var n int
	if err := tx.q.QueryRowContext(ctx, `SELECT COUNT(*) FROM ssh_host_certificates WHERE gateway_id = $1 AND issued_at > $2`,
		c.GatewayID, Stamp(tx.time.Add(-time.Hour))).Scan(&n); err != nil {
		return fmt.Errorf("count host certificates: %w", err)
	}
	if n >= maxHostCertificates {
		return kind.New(kind.Limit, "the gateway has had %d host certificates within an hour", n)
	}
	if _, err := tx.exec(ctx, `DELETE FROM ssh_host_certificates WHERE valid_before <= $1`, tx.at); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `INSERT INTO ssh_host_certificates (serial, ca_id, gateway_id, fingerprint, issued_at, valid_before)
		VALUES ($1, $2, $3, $4, $5, $6)`, c.Serial, c.CAID, c.GatewayID, c.Fingerprint, tx.at, c.ValidBefore); err != nil {
		return err
	}
	return tx.audit(ctx, "ssh_host_certificate.issue", "ssh_host_certificates", c.Serial, c)
}
