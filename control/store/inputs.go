package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"

	"weft/access"
	"weft/api"
	"weft/targets"
	"weft/vnet"
)

// DomainNetworks are the networks as the domain sees them.
func (r *Reader) DomainNetworks(ctx context.Context) ([]vnet.Network, error) {
	all, err := r.ListNetworks(ctx, NetworkFilter{})
	out := make([]vnet.Network, len(all))
	for i, n := range all {
		out[i] = vnet.Network{ID: vnet.ID(n.ID), Name: n.Name, Comment: n.Comment, Default: n.Default}
	}
	return out, err
}

// DomainRoutes are the routes as the domain sees them.
func (r *Reader) DomainRoutes(ctx context.Context) ([]vnet.Route, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (vnet.Route, error) {
		var x vnet.Route
		var network string
		if err := rs.Scan(&x.ID, &network, &x.VNET, &x.Tunnel, &x.Comment); err != nil {
			return x, err
		}
		p, err := ParseNetwork("", network)
		x.Prefix = p
		return x, err
	}, `SELECT id, network, vnet_id, tunnel_id, comment FROM routes WHERE deleted_at IS NULL ORDER BY id`)
}

// DomainTargets are the targets as the domain sees them.
func (r *Reader) DomainTargets(ctx context.Context) ([]targets.Target, error) {
	all, err := collect(ctx, r.q, scanTarget, `SELECT `+targetColumns+` FROM `+targetTables+` ORDER BY t.id`)
	if err != nil {
		return nil, err
	}
	return domainTargets(all)
}

func domainTargets(all []api.Target) ([]targets.Target, error) {
	out := make([]targets.Target, len(all))
	var err error
	for i, t := range all {
		if out[i], err = DomainTarget(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// DomainApplications are the applications as the domain sees them.
func (r *Reader) DomainApplications(ctx context.Context) ([]access.Application, error) {
	all, err := r.Applications(ctx, ApplicationFilter{})
	if err != nil {
		return nil, err
	}
	return domainApplications(all)
}

func domainApplications(all []api.Application) ([]access.Application, error) {
	out := make([]access.Application, len(all))
	var err error
	for i := range all {
		if out[i], err = DomainApplication(&all[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TunnelKey is a tunnel with what its connectors' keys are derived from.
type TunnelKey struct {
	ID         vnet.TunnelID
	Name       string
	SecretHash []byte
}

// TunnelKeys lists all tunnels.
func (r *Reader) TunnelKeys(ctx context.Context) ([]TunnelKey, error) {
	return collect(ctx, r.q, func(rs *sql.Rows) (TunnelKey, error) {
		var t TunnelKey
		var hash string
		if err := rs.Scan(&t.ID, &t.Name, &hash); err != nil {
			return t, err
		}
		raw, err := hex.DecodeString(hash)
		if err != nil {
			return t, fmt.Errorf("secret of tunnel %s: %w", t.ID, err)
		}
		t.SecretHash = raw
		return t, nil
	}, `SELECT id, name, secret_hash FROM tunnels WHERE deleted_at IS NULL ORDER BY id`)
}
