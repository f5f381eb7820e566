package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"weft/api"
	"weft/internal/kind"
)

// NetworkFields are what a virtual network consists of.
type NetworkFields struct {
	Name, Comment string
	Default       bool
}

// NetworkFilter selects networks; nil fields select all, but deleted ones are listed only when asked for.
type NetworkFilter struct {
	ID, Name  *string
	IsDefault *bool
	IsDeleted *bool
}

const networkColumns = `id, name, comment, is_default, created_at, deleted_at`

func scanNetwork(rs *sql.Rows) (api.VirtualNetwork, error) {
	var n api.VirtualNetwork
	return n, rs.Scan(&n.ID, &n.Name, &n.Comment, &n.Default, &n.CreatedAt, &n.DeletedAt)
}

// ListNetworks lists by name.
func (r *Reader) ListNetworks(ctx context.Context, f NetworkFilter) ([]api.VirtualNetwork, error) {
	var w where
	if f.ID != nil {
		w.add(`id = ?`, *f.ID)
	}
	if f.Name != nil {
		w.add(`name_key = ?`, nameKey(*f.Name))
	}
	if f.IsDefault != nil {
		w.add(`is_default = ?`, flag(*f.IsDefault))
	}
	w.deleted(f.IsDeleted)
	return collect(ctx, r.q, scanNetwork, `SELECT `+networkColumns+` FROM virtual_networks`+w.String()+` ORDER BY name_key, id`, w.args...)
}

// Network finds one that is not deleted.
func (r *Reader) Network(ctx context.Context, id string) (api.VirtualNetwork, error) {
	n, ok, err := one(ctx, r.q, scanNetwork, `SELECT `+networkColumns+` FROM virtual_networks WHERE id = $1 AND deleted_at IS NULL`, id)
	if err == nil && !ok {
		return n, kind.New(kind.NotFound, "there is no virtual network %q", id)
	}
	return n, err
}

// DefaultNetwork is the account's default.
func (r *Reader) DefaultNetwork(ctx context.Context) (api.VirtualNetwork, error) {
	n, ok, err := one(ctx, r.q, scanNetwork, `SELECT `+networkColumns+` FROM virtual_networks WHERE is_default = 1 AND deleted_at IS NULL`)
	if err == nil && !ok {
		return n, kind.New(kind.Internal, "the account has no default virtual network")
	}
	return n, err
}

// networkOrDefault resolves a reference in another object: "" is the default, an unknown one is the caller's mistake.
func (r *Reader) networkOrDefault(ctx context.Context, pointer, id string) (api.VirtualNetwork, error) {
	if id == "" {
		return r.DefaultNetwork(ctx)
	}
	n, err := r.Network(ctx, id)
	if kind.Is(err, kind.NotFound) {
		return n, kind.Field(pointer, "there is no virtual network %q", id)
	}
	return n, err
}

// CreateNetwork adds a network; when it is to be the default, the old one stops being it.
func (tx *Tx) CreateNetwork(ctx context.Context, f NetworkFields) (api.VirtualNetwork, error) {
	n := api.VirtualNetwork{ID: newID(), Name: f.Name, Comment: f.Comment, Default: f.Default, CreatedAt: tx.at}
	if err := tx.checkNetwork(ctx, n); err != nil {
		return n, err
	}
	if n.Default {
		if err := tx.clearDefaultNetwork(ctx); err != nil {
			return n, err
		}
	}
	if _, err := tx.exec(ctx, `INSERT INTO virtual_networks (id, name, name_key, comment, is_default, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		n.ID, n.Name, nameKey(n.Name), n.Comment, flag(n.Default), n.CreatedAt); err != nil {
		return n, err
	}
	return n, tx.changed(ctx, Networks, "virtual_network.create", n.ID, n)
}

// UpdateNetwork changes what is not nil.
func (tx *Tx) UpdateNetwork(ctx context.Context, id string, name, comment *string, isDefault *bool) (api.VirtualNetwork, error) {
	n, err := tx.Network(ctx, id)
	if err != nil {
		return n, err
	}
	before := n
	if name != nil {
		n.Name = *name
	}
	if comment != nil {
		n.Comment = *comment
	}
	if isDefault != nil {
		if n.Default && !*isDefault {
			return n, kind.Field("/is_default_network", "the account needs a default virtual network").
				WithHint("make another one the default instead")
		}
		n.Default = *isDefault
	}
	if err := tx.checkNetwork(ctx, n); err != nil {
		return n, err
	}
	if n.Default && !before.Default {
		if err := tx.clearDefaultNetwork(ctx); err != nil {
			return n, err
		}
	}
	if _, err := tx.exec(ctx, `UPDATE virtual_networks SET name = $1, name_key = $2, comment = $3, is_default = $4 WHERE id = $5`,
		n.Name, nameKey(n.Name), n.Comment, flag(n.Default), n.ID); err != nil {
		return n, err
	}
	return n, tx.changed(ctx, Networks, "virtual_network.update", n.ID, change{before, n})
}

// DeleteNetwork refuses while routes or targets use the network, and names them.
func (tx *Tx) DeleteNetwork(ctx context.Context, id string) (api.VirtualNetwork, error) {
	n, err := tx.Network(ctx, id)
	if err != nil {
		return n, err
	}
	if n.Default {
		return n, kind.New(kind.Conflict, "virtual network %q is the default one", n.Name).WithHint("make another one the default first")
	}
	users, err := tx.networkUsers(ctx, id)
	if err != nil {
		return n, err
	}
	if len(users) > 0 {
		return n, kind.New(kind.Conflict, "virtual network %q is in use by %s", n.Name, strings.Join(users, ", ")).
			WithHint("delete or move them first")
	}
	n.DeletedAt = &tx.at
	if _, err := tx.exec(ctx, `UPDATE virtual_networks SET deleted_at = $1 WHERE id = $2`, tx.at, id); err != nil {
		return n, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM device_slots WHERE vnet_id = $1`, id); err != nil {
		return n, err
	}
	if err := tx.touch(ctx, Devices); err != nil {
		return n, err
	}
	return n, tx.changed(ctx, Networks, "virtual_network.delete", n.ID, n)
}

// networkUsers names up to ten routes and targets in a network.
func (tx *Tx) networkUsers(ctx context.Context, id string) ([]string, error) {
	return collect(ctx, tx.q, func(rs *sql.Rows) (string, error) {
		var what, name, id string
		err := rs.Scan(&what, &name, &id)
		return fmt.Sprintf("%s %s (%s)", what, name, id), err
	}, `SELECT 'route', network, id FROM routes WHERE vnet_id = $1 AND deleted_at IS NULL
		UNION SELECT 'target', t.hostname, t.id FROM targets t JOIN target_addresses a ON a.target_id = t.id WHERE a.vnet_id = $1
		UNION SELECT 'device profile', p.name, p.id FROM device_profiles p WHERE p.default_vnet_id = $1
			OR p.id IN (SELECT profile_id FROM device_profile_networks WHERE vnet_id = $1)
		ORDER BY 1, 2, 3 LIMIT 10`, id)
}

func (tx *Tx) clearDefaultNetwork(ctx context.Context) error {
	_, err := tx.exec(ctx, `UPDATE virtual_networks SET is_default = 0 WHERE is_default = 1`)
	return err
}

func (tx *Tx) checkNetwork(ctx context.Context, n api.VirtualNetwork) error {
	if err := checkName(n.Name); err != nil {
		return err
	}
	if err := checkComment("/comment", n.Comment); err != nil {
		return err
	}
	other, ok, err := one(ctx, tx.q, scanNetwork, `SELECT `+networkColumns+` FROM virtual_networks
		WHERE name_key = $1 AND id <> $2 AND deleted_at IS NULL`, nameKey(n.Name), n.ID)
	if err == nil && ok {
		return kind.New(kind.Conflict, "the name %q already belongs to virtual network %q (%s)", n.Name, other.Name, other.ID).At("/name")
	}
	return err
}

// change is the audit detail of an update.
type change struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
