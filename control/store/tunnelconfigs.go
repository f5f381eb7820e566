package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"

	"weft/api"
	"weft/internal/kind"
)

const maxTunnelConfigBytes = 256 << 10

// TunnelConfiguration is what clients keep for a tunnel; before they did, the configuration is nil and the version 0.
func (r *Reader) TunnelConfiguration(ctx context.Context, tunnel string) (api.TunnelConfiguration, error) {
	t, err := r.Tunnel(ctx, tunnel)
	c := api.TunnelConfiguration{AccountID: t.AccountTag, TunnelID: t.ID, Source: t.ConfigSource, CreatedAt: t.CreatedAt}
	if err != nil {
		return c, err
	}
	_, _, err = one(ctx, r.q, func(rs *sql.Rows) (struct{}, error) {
		var config string
		err := rs.Scan(&config, &c.Version, &c.CreatedAt)
		c.Config = json.RawMessage(config)
		return struct{}{}, err
	}, `SELECT config, version, created_at FROM tunnel_configurations WHERE tunnel_id = $1`, tunnel)
	return c, err
}

// SetTunnelConfiguration keeps a configuration as it was sent, under the next version.
func (tx *Tx) SetTunnelConfiguration(ctx context.Context, tunnel string, config json.RawMessage) (api.TunnelConfiguration, error) {
	c, err := tx.TunnelConfiguration(ctx, tunnel)
	if err != nil {
		return c, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(config, &object); err != nil || object == nil {
		return c, kind.Field("/config", "the configuration is an object")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, config); err != nil || compact.Len() > maxTunnelConfigBytes {
		return c, kind.Field("/config", "the configuration is at most %d bytes of JSON", maxTunnelConfigBytes)
	}
	before := c
	c.Config, c.Version, c.CreatedAt = compact.Bytes(), c.Version+1, tx.at
	if _, err := tx.exec(ctx, `INSERT INTO tunnel_configurations (tunnel_id, config, version, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tunnel_id) DO UPDATE SET config = $2, version = $3, created_at = $4`, tunnel, string(c.Config), c.Version, tx.at); err != nil {
		return c, err
	}
	return c, tx.audit(ctx, "tunnel.configure", Tunnels, tunnel, change{before, c})
}

// SetTunnelActive notes that a tunnel has its first connector, or has lost its last. It raises no revision.
func (tx *Tx) SetTunnelActive(ctx context.Context, tunnel string, active bool) error {
	query := `UPDATE tunnels SET inactive_at = $1 WHERE id = $2`
	if active {
		query = `UPDATE tunnels SET active_at = $1, inactive_at = NULL WHERE id = $2`
	}
	_, err := tx.exec(ctx, query, tx.at, tunnel)
	return err
}

// activity adds what a filter says of time and state. Of the times when a tunnel had connectors only the last is known.
func (f *TunnelFilter) activity(w *where) {
	if !f.ExistedAt.IsZero() {
		w.add(`created_at <= ? AND (deleted_at IS NULL OR deleted_at > ?)`, Stamp(f.ExistedAt), Stamp(f.ExistedAt))
	}
	if !f.WasActiveAt.IsZero() {
		w.add(`active_at <= ? AND (inactive_at IS NULL OR inactive_at > ?)`, Stamp(f.WasActiveAt), Stamp(f.WasActiveAt))
	}
	if !f.WasInactiveAt.IsZero() {
		w.add(`(active_at IS NULL OR active_at > ? OR inactive_at <= ?)`, Stamp(f.WasInactiveAt), Stamp(f.WasInactiveAt))
	}
	switch f.Status {
	case "":
	case "healthy":
		w.addIn(`id`, f.Live)
	case "down", "inactive":
		if len(f.Live) > 0 {
			w.addIn(`id NOT`, f.Live)
		}
		w.add(map[string]string{"down": `active_at IS NOT NULL`, "inactive": `active_at IS NULL`}[f.Status])
	default:
		w.add(`1 = 0`)
	}
}
