package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"weft/api"
	"weft/internal/kind"
)

// maxTargetHostCAs bounds what every gateway is told to trust.
const maxTargetHostCAs = 64

func scanTargetHostCA(rs *sql.Rows) (api.SSHTargetCA, error) {
	var c api.SSHTargetCA
	var hostnames string
	if err := rs.Scan(&c.ID, &c.PublicKey, &c.Fingerprint, &hostnames, &c.VNET, &c.Required, &c.CreatedAt); err != nil {
		return c, err
	}
	return c, json.Unmarshal([]byte(hostnames), &c.Hostnames)
}

const targetHostCAColumns = `id, public_key, fingerprint, hostnames, vnet_id, required, created_at`

// TargetHostCAs lists the authorities whose host certificates are taken from targets, the oldest first.
func (r *Reader) TargetHostCAs(ctx context.Context) ([]api.SSHTargetCA, error) {
	return collect(ctx, r.q, scanTargetHostCA, `SELECT `+targetHostCAColumns+` FROM target_host_cas ORDER BY created_at, id`)
}

// CreateTargetHostCA adds an authority; of c its ID and time are made here. The key can stand once for each virtual network, and
// once for all of them.
func (tx *Tx) CreateTargetHostCA(ctx context.Context, c api.SSHTargetCA) (api.SSHTargetCA, error) {
	have, err := tx.TargetHostCAs(ctx)
	if err != nil {
		return c, err
	}
	if len(have) >= maxTargetHostCAs {
		return c, kind.New(kind.Limit, "there are %d authorities of targets' host keys already", len(have)).WithHint("remove one: weft host-key trust-ca remove ID")
	}
	for _, h := range have {
		if h.Fingerprint == c.Fingerprint && h.VNET == c.VNET {
			return c, kind.New(kind.Conflict, "the authority %s has that key already", h.ID).WithHint("remove it first to change what it may vouch for")
		}
	}
	if c.VNET != "" {
		if _, err := tx.Network(ctx, c.VNET); err != nil {
			if kind.Is(err, kind.NotFound) {
				err = kind.Field("/virtual_network_id", "there is no virtual network %q", c.VNET)
			}
			return c, err
		}
	}
	if c.ID, err = newTimeID(); err != nil {
		return c, err
	}
	c.CreatedAt = tx.at
	hostnames, err := json.Marshal(c.Hostnames)
	if err != nil {
		return c, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO target_host_cas (`+targetHostCAColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		c.ID, c.PublicKey, c.Fingerprint, string(hostnames), c.VNET, flag(c.Required), c.CreatedAt); err != nil {
		return c, err
	}
	return c, tx.changed(ctx, TargetHostCAs, "ssh_target_ca.create", c.ID, c)
}

// DeleteTargetHostCA takes an authority away. Targets that it vouched for are refused until another does or an administrator
// accepts their key: see gateway.AcceptHostKey.
func (tx *Tx) DeleteTargetHostCA(ctx context.Context, id string) error {
	c, ok, err := one(ctx, tx.q, scanTargetHostCA, `SELECT `+targetHostCAColumns+` FROM target_host_cas WHERE id = $1`, id)
	if err != nil {
		return err
	}
	if !ok {
		return kind.New(kind.NotFound, "there is no authority of targets' host keys %q", id).WithHint("list them: weft host-key trust-ca list")
	}
	if _, err := tx.exec(ctx, `DELETE FROM target_host_cas WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, TargetHostCAs, "ssh_target_ca.delete", id, c)
}
