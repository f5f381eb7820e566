package store

import (
	"context"
	"database/sql"
	"net/netip"
	"slices"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// RouteFields are what a route consists of; an empty VNET is the default one.
type RouteFields struct{ Network, TunnelID, VNET, Comment string }

// RouteFilter selects routes; nil and zero fields select all, but deleted ones are listed only when asked for.
type RouteFilter struct {
	ID, TunnelID, VNET, Comment string
	Subset, Superset            netip.Prefix
	IsDeleted                   *bool
	ExistedAt                   time.Time
	TunnelTypes                 []string // nil: all
}

const routeColumns = `r.id, r.network, r.tunnel_id, r.vnet_id, r.comment, r.created_at, r.deleted_at, t.name, v.name`

const routeTables = `routes r JOIN tunnels t ON t.id = r.tunnel_id JOIN virtual_networks v ON v.id = r.vnet_id`

func scanRoute(rs *sql.Rows) (api.Route, error) {
	r := api.Route{TunnelType: TunnelType}
	return r, rs.Scan(&r.ID, &r.Network, &r.TunnelID, &r.VNET, &r.Comment, &r.CreatedAt, &r.DeletedAt, &r.TunnelName, &r.VNETName)
}

// ListRoutes lists by prefix; total counts all pages.
func (r *Reader) ListRoutes(ctx context.Context, f RouteFilter, p Page) (list []api.Route, total int, err error) {
	var w where
	for column, v := range map[string]string{"r.id": f.ID, "r.tunnel_id": f.TunnelID, "r.vnet_id": f.VNET, "r.comment": f.Comment} {
		if v != "" {
			w.add(column+` = ?`, v)
		}
	}
	if f.Subset.IsValid() {
		w.add(`r.family = ? AND r.first_key >= ? AND r.last_key <= ?`,
			family(f.Subset.Addr()), addrKey(f.Subset.Addr()), addrKey(lastAddr(f.Subset)))
	}
	if f.Superset.IsValid() {
		w.add(`r.family = ? AND r.first_key <= ? AND r.last_key >= ?`,
			family(f.Superset.Addr()), addrKey(f.Superset.Addr()), addrKey(lastAddr(f.Superset)))
	}
	if !f.ExistedAt.IsZero() {
		w.add(`r.created_at <= ? AND (r.deleted_at IS NULL OR r.deleted_at > ?)`, Stamp(f.ExistedAt), Stamp(f.ExistedAt))
	}
	if f.ExistedAt.IsZero() || f.IsDeleted != nil {
		w.deletedAs("r.deleted_at", f.IsDeleted)
	}
	if f.TunnelTypes != nil && !slices.Contains(f.TunnelTypes, TunnelType) {
		w.add(`1 = 0`)
	}
	if total, err = r.count(ctx, routeTables, &w); err != nil {
		return nil, 0, err
	}
	list, err = collect(ctx, r.q, scanRoute, `SELECT `+routeColumns+` FROM `+routeTables+w.String()+
		` ORDER BY v.name_key, r.first_key, r.bits, r.id LIMIT `+w.next(p.Size)+` OFFSET `+w.next(p.offset()), w.args...)
	return list, total, err
}

// Route finds one that is not deleted.
func (r *Reader) Route(ctx context.Context, id string) (api.Route, error) {
	x, ok, err := one(ctx, r.q, scanRoute, `SELECT `+routeColumns+` FROM `+routeTables+` WHERE r.id = $1 AND r.deleted_at IS NULL`, id)
	if err == nil && !ok {
		return x, kind.New(kind.NotFound, "there is no route %q", id)
	}
	return x, err
}

// RouteByNetwork finds the route of exactly a prefix in a VNET ("": the default).
func (r *Reader) RouteByNetwork(ctx context.Context, p netip.Prefix, vnetID string) (api.Route, error) {
	n, err := r.networkOrDefault(ctx, "/virtual_network_id", vnetID)
	if err != nil {
		return api.Route{}, err
	}
	x, ok, err := r.routeAt(ctx, p, n.ID)
	if err == nil && !ok {
		return x, kind.New(kind.NotFound, "there is no route %s in virtual network %q", p, n.Name)
	}
	return x, err
}

func (r *Reader) routeAt(ctx context.Context, p netip.Prefix, vnetID string) (api.Route, bool, error) {
	return one(ctx, r.q, scanRoute, `SELECT `+routeColumns+` FROM `+routeTables+
		` WHERE r.vnet_id = $1 AND r.family = $2 AND r.bits = $3 AND r.first_key = $4 AND r.deleted_at IS NULL`,
		vnetID, family(p.Addr()), p.Bits(), addrKey(p.Addr()))
}

// RouteByAddr finds the longest prefix that holds an address in a VNET ("": the default).
func (r *Reader) RouteByAddr(ctx context.Context, a netip.Addr, vnetID string) (api.Route, error) {
	n, err := r.networkOrDefault(ctx, "/virtual_network_id", vnetID)
	if err != nil {
		return api.Route{}, err
	}
	a = a.Unmap()
	x, ok, err := one(ctx, r.q, scanRoute, `SELECT `+routeColumns+` FROM `+routeTables+
		` WHERE r.vnet_id = $1 AND r.family = $2 AND r.first_key <= $3 AND r.last_key >= $3 AND r.deleted_at IS NULL
		ORDER BY r.bits DESC LIMIT 1`, n.ID, family(a), addrKey(a))
	if err == nil && !ok {
		return x, kind.New(kind.NotFound, "no route of virtual network %q leads to %s", n.Name, a)
	}
	return x, err
}

// CreateRoute adds a route. A prefix belongs to one route of a VNET.
func (tx *Tx) CreateRoute(ctx context.Context, f RouteFields) (api.Route, error) {
	x := api.Route{ID: newID(), CreatedAt: tx.at}
	p, err := tx.fillRoute(ctx, &x, f)
	if err != nil {
		return x, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO routes (id, network, family, bits, first_key, last_key, vnet_id, tunnel_id, comment, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		x.ID, x.Network, family(p.Addr()), p.Bits(), addrKey(p.Addr()), addrKey(lastAddr(p)), x.VNET, x.TunnelID, x.Comment, x.CreatedAt); err != nil {
		return x, err
	}
	return x, tx.changed(ctx, Routes, "route.create", x.ID, x)
}

// UpdateRoute changes what is not nil.
func (tx *Tx) UpdateRoute(ctx context.Context, id string, ch api.RouteWrite) (api.Route, error) {
	x, err := tx.Route(ctx, id)
	if err != nil {
		return x, err
	}
	before := x
	f := RouteFields{Network: x.Network, TunnelID: x.TunnelID, VNET: x.VNET, Comment: x.Comment}
	for _, set := range []struct {
		to   *string
		from *string
	}{{&f.Network, ch.Network}, {&f.TunnelID, ch.TunnelID}, {&f.VNET, ch.VNET}, {&f.Comment, ch.Comment}} {
		if set.from != nil {
			*set.to = *set.from
		}
	}
	p, err := tx.fillRoute(ctx, &x, f)
	if err != nil {
		return x, err
	}
	if _, err := tx.exec(ctx, `UPDATE routes SET network = $1, family = $2, bits = $3, first_key = $4, last_key = $5, vnet_id = $6,
		tunnel_id = $7, comment = $8 WHERE id = $9`,
		x.Network, family(p.Addr()), p.Bits(), addrKey(p.Addr()), addrKey(lastAddr(p)), x.VNET, x.TunnelID, x.Comment, x.ID); err != nil {
		return x, err
	}
	return x, tx.changed(ctx, Routes, "route.update", x.ID, change{before, x})
}

// fillRoute checks f and writes it to x.
func (tx *Tx) fillRoute(ctx context.Context, x *api.Route, f RouteFields) (netip.Prefix, error) {
	p, err := ParseNetwork("/network", f.Network)
	if err != nil {
		return p, err
	}
	if err := checkComment("/comment", f.Comment); err != nil {
		return p, err
	}
	n, err := tx.networkOrDefault(ctx, "/virtual_network_id", f.VNET)
	if err != nil {
		return p, err
	}
	t, err := tx.tunnelRef(ctx, "/tunnel_id", f.TunnelID)
	if err != nil {
		return p, err
	}
	other, ok, err := tx.routeAt(ctx, p, n.ID)
	if err != nil {
		return p, err
	}
	if ok && other.ID != x.ID {
		return p, kind.New(kind.Conflict, "%s in virtual network %q is already routed to tunnel %q by route %s", p, n.Name, other.TunnelName, other.ID).At("/network")
	}
	x.Network, x.TunnelID, x.VNET, x.Comment = f.Network, t.ID, n.ID, f.Comment
	x.TunnelName, x.TunnelType, x.VNETName = t.Name, TunnelType, n.Name
	return p, nil
}

// DeleteRoute returns the deleted route.
func (tx *Tx) DeleteRoute(ctx context.Context, id string) (api.Route, error) {
	x, err := tx.Route(ctx, id)
	if err != nil {
		return x, err
	}
	x.DeletedAt = &tx.at
	if _, err := tx.exec(ctx, `UPDATE routes SET deleted_at = $1 WHERE id = $2`, tx.at, id); err != nil {
		return x, err
	}
	return x, tx.changed(ctx, Routes, "route.delete", id, x)
}
