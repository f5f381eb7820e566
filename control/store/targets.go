package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	"weft/api"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

// maxTargets bounds an account; the product that we follow documents 5,000, and BenchmarkScale measures 100,000.
const maxTargets = 200_000

// TargetFilter selects targets: AND across its fields, OR within one; zero fields select all.
type TargetFilter struct {
	Hostname, HostnameContains string
	IPv4, IPv6                 netip.Addr
	IPs                        []netip.Addr
	IPLike                     string // with * as a wildcard
	IPv4Start, IPv4End         netip.Addr
	IPv6Start, IPv6End         netip.Addr
	IDs                        []string // nil: all
	VNET                       string
	Tags                       [][2]string
	CreatedAfter               time.Time // all four inclusive
	CreatedBefore              time.Time
	ModifiedAfter              time.Time
	ModifiedBefore             time.Time
	OrderByHostname            bool   // else by creation
	OrderByTag                 string // a key; targets without it come last
	Descending                 bool
}

const targetColumns = `t.id, t.hostname, t.tags, t.created_at, t.modified_at, a4.addr, a4.vnet_id, a6.addr, a6.vnet_id`

const targetTables = `targets t ` + targetAddressTables

const targetAddressTables = `
	LEFT JOIN target_addresses a4 ON a4.target_id = t.id AND a4.family = 4
	LEFT JOIN target_addresses a6 ON a6.target_id = t.id AND a6.family = 6`

func scanTarget(rs *sql.Rows) (api.Target, error) {
	var t api.Target
	var tags string
	var v4, n4, v6, n6 sql.NullString
	if err := rs.Scan(&t.ID, &t.Hostname, &tags, &t.CreatedAt, &t.ModifiedAt, &v4, &n4, &v6, &n6); err != nil {
		return t, err
	}
	if v4.Valid {
		t.IP.IPv4 = &api.TargetAddress{Addr: v4.String, VNET: n4.String}
	}
	if v6.Valid {
		t.IP.IPv6 = &api.TargetAddress{Addr: v6.String, VNET: n6.String}
	}
	if tags == "{}" {
		return t, nil
	}
	return t, json.Unmarshal([]byte(tags), &t.Tags)
}

// ListTargets lists a page; total counts all pages.
func (r *Reader) ListTargets(ctx context.Context, f TargetFilter, p Page) (list []api.Target, total int, err error) {
	w := f.where()
	if len(w.clauses) == 0 && !f.OrderByHostname && f.OrderByTag == "" {
		return r.targetPage(ctx, f.Descending, p)
	}
	if total, err = r.count(ctx, targetTables, w); err != nil {
		return nil, 0, err
	}
	from := targetTables
	if f.OrderByTag != "" {
		from += ` LEFT JOIN target_tags o ON o.target_id = t.id AND o.tag_key = ` + w.next(f.OrderByTag)
	}
	list, err = collect(ctx, r.q, scanTarget, `SELECT `+targetColumns+` FROM `+from+w.String()+f.order()+
		` LIMIT `+w.next(p.Size)+` OFFSET `+w.next(p.offset()), w.args...)
	return list, total, err
}

func (f *TargetFilter) order() string {
	direction := " ASC"
	if f.Descending {
		direction = " DESC"
	}
	if f.OrderByTag != "" {
		return ` ORDER BY CASE WHEN o.tag_value IS NULL THEN 1 ELSE 0 END, o.tag_value` + direction + `, t.id` + direction
	}
	if f.OrderByHostname {
		return ` ORDER BY t.hostname_key` + direction + `, t.id` + direction
	}
	return ` ORDER BY t.place` + direction
}

func (f *TargetFilter) where() *where {
	w := &where{}
	if f.Hostname != "" {
		w.add(`t.hostname_key = ?`, nameKey(f.Hostname))
	}
	if f.HostnameContains != "" {
		w.add(`t.hostname_key LIKE ? ESCAPE '\'`, "%"+escapeLike(nameKey(f.HostnameContains))+"%")
	}
	if f.IPv4.IsValid() {
		w.add(`a4.addr_key = ?`, addrKey(f.IPv4))
	}
	if f.IPv6.IsValid() {
		w.add(`a6.addr_key = ?`, addrKey(f.IPv6))
	}
	if len(f.IPs) > 0 {
		keys := make([]string, len(f.IPs))
		for i, a := range f.IPs {
			keys[i] = addrKey(a)
		}
		w.addIn(`t.id IN (SELECT target_id FROM target_addresses WHERE addr_key`, keys)
		w.clauses[len(w.clauses)-1] += ")"
	}
	if f.IPLike != "" {
		pattern := strings.ReplaceAll(escapeLike(strings.ToLower(f.IPLike)), "*", "%")
		w.add(`t.id IN (SELECT target_id FROM target_addresses WHERE LOWER(addr) LIKE ? ESCAPE '\')`, pattern)
	}
	if f.IPv4Start.IsValid() {
		w.add(`a4.addr_key BETWEEN ? AND ?`, addrKey(f.IPv4Start), addrKey(f.IPv4End))
	}
	if f.IPv6Start.IsValid() {
		w.add(`a6.addr_key BETWEEN ? AND ?`, addrKey(f.IPv6Start), addrKey(f.IPv6End))
	}
	if f.IDs != nil {
		w.addIn(`t.id`, f.IDs)
	}
	if f.VNET != "" {
		w.add(`(a4.vnet_id = ? OR a6.vnet_id = ?)`, f.VNET, f.VNET)
	}
	for _, tag := range f.Tags {
		w.add(`t.id IN (SELECT target_id FROM target_tags WHERE tag_key = ? AND tag_value = ?)`, tag[0], tag[1])
	}
	for clause, at := range map[string]time.Time{
		`t.created_at >= ?`: f.CreatedAfter, `t.created_at <= ?`: f.CreatedBefore,
		`t.modified_at >= ?`: f.ModifiedAfter, `t.modified_at <= ?`: f.ModifiedBefore,
	} {
		if !at.IsZero() {
			w.add(clause, Stamp(at))
		}
	}
	return w
}

// Target finds one.
func (r *Reader) Target(ctx context.Context, id string) (api.Target, error) {
	t, ok, err := one(ctx, r.q, scanTarget, `SELECT `+targetColumns+` FROM `+targetTables+` WHERE t.id = $1`, id)
	if err == nil && !ok {
		return t, kind.New(kind.NotFound, "there is no target %q", id)
	}
	return t, err
}

// CreateTarget adds a target. Pointer prefixes the JSON pointers of errors (an element of a batch).
func (tx *Tx) CreateTarget(ctx context.Context, pointer string, in api.TargetWrite) (api.Target, error) {
	id, err := newTimeID()
	if err != nil {
		return api.Target{}, err
	}
	n, err := tx.targetCount(ctx)
	if err != nil {
		return api.Target{}, err
	}
	if n >= maxTargets {
		return api.Target{}, kind.New(kind.Limit, "the account has reached its limit of %d targets", maxTargets)
	}
	t := api.Target{ID: id, CreatedAt: tx.at, ModifiedAt: tx.at}
	keys, err := tx.fillTarget(ctx, pointer, &t, in)
	if err != nil {
		return t, err
	}
	place, err := tx.takePlace(ctx)
	if err != nil {
		return t, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO targets (id, hostname, hostname_key, tags, created_at, modified_at, place) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		t.ID, t.Hostname, nameKey(t.Hostname), tagText(t.Tags), t.CreatedAt, t.ModifiedAt, place); err != nil {
		return t, err
	}
	if err := tx.putAddresses(ctx, t, keys); err != nil {
		return t, err
	}
	if err := tx.putTags(ctx, t); err != nil {
		return t, err
	}
	return t, tx.changed(ctx, Targets, "target.create", t.ID, t)
}

// ReplaceTarget replaces all but ID and creation time.
func (tx *Tx) ReplaceTarget(ctx context.Context, id string, in api.TargetWrite) (api.Target, error) {
	before, err := tx.Target(ctx, id)
	if err != nil {
		return before, err
	}
	t := api.Target{ID: id, CreatedAt: before.CreatedAt, ModifiedAt: tx.at}
	keys, err := tx.fillTarget(ctx, "", &t, in)
	if err != nil {
		return t, err
	}
	if _, err := tx.exec(ctx, `UPDATE targets SET hostname = $1, hostname_key = $2, tags = $3, modified_at = $4 WHERE id = $5`,
		t.Hostname, nameKey(t.Hostname), tagText(t.Tags), t.ModifiedAt, t.ID); err != nil {
		return t, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM target_addresses WHERE target_id = $1`, id); err != nil {
		return t, err
	}
	if err := tx.putAddresses(ctx, t, keys); err != nil {
		return t, err
	}
	if !maps.Equal(t.Tags, before.Tags) {
		if _, err := tx.exec(ctx, `DELETE FROM target_tags WHERE target_id = $1`, id); err != nil {
			return t, err
		}
		if err := tx.putTags(ctx, t); err != nil {
			return t, err
		}
	}
	return t, tx.changed(ctx, Targets, "target.update", t.ID, change{before, t})
}

// DeleteTarget removes a target for good.
func (tx *Tx) DeleteTarget(ctx context.Context, id string) error {
	t, err := tx.Target(ctx, id)
	if err != nil {
		return err
	}
	if err := tx.leavePlace(ctx, id); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM targets WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, Targets, "target.delete", id, t)
}

func tagText(tags map[string]string) string {
	if len(tags) == 0 {
		return "{}"
	}
	raw, _ := json.Marshal(tags) // strings always marshal
	return string(raw)
}

// putTags makes the tags selectable.
func (tx *Tx) putTags(ctx context.Context, t api.Target) error {
	for k, v := range t.Tags {
		if _, err := tx.exec(ctx, `INSERT INTO target_tags (target_id, tag_key, tag_value) VALUES ($1, $2, $3)
			ON CONFLICT (target_id, tag_key) DO UPDATE SET tag_value = $3`, t.ID, k, v); err != nil {
			return err
		}
	}
	return nil
}

// addMissingTags makes the tags of before target_tags selectable.
func (tx *Tx) addMissingTags(ctx context.Context) error {
	old, err := collect(ctx, tx.q, scanTarget, `SELECT `+targetColumns+` FROM `+targetTables+`
		WHERE t.tags <> '{}' AND NOT EXISTS (SELECT 1 FROM target_tags x WHERE x.target_id = t.id) ORDER BY t.id`)
	if err != nil {
		return err
	}
	for _, t := range old {
		if err := tx.putTags(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) putAddresses(ctx context.Context, t api.Target, keys [2]string) error {
	for i, a := range []*api.TargetAddress{t.IP.IPv4, t.IP.IPv6} {
		if a == nil {
			continue
		}
		if _, err := tx.exec(ctx, `INSERT INTO target_addresses (target_id, family, addr, addr_key, vnet_id) VALUES ($1, $2, $3, $4, $5)`,
			t.ID, 4+2*i, a.Addr, keys[i], a.VNET); err != nil {
			return err
		}
	}
	return nil
}

// fillTarget checks in against the rules and the other targets, writes it to t and returns the addresses' keys.
func (tx *Tx) fillTarget(ctx context.Context, pointer string, t *api.Target, in api.TargetWrite) (keys [2]string, err error) {
	t.Hostname, t.Tags = in.Hostname, in.Tags
	for i, f := range []struct {
		name string
		in   *api.TargetAddress
		out  **api.TargetAddress
	}{{"ipv4", in.IP.IPv4, &t.IP.IPv4}, {"ipv6", in.IP.IPv6, &t.IP.IPv6}} {
		if f.in == nil {
			continue
		}
		at := pointer + "/ip/" + f.name
		a, err := ParseAddr(at+"/ip_addr", f.in.Addr)
		if err != nil {
			return keys, err
		}
		n, err := tx.networkOrDefault(ctx, at+"/virtual_network_id", f.in.VNET)
		if err != nil {
			return keys, err
		}
		keys[i] = addrKey(a)
		*f.out = &api.TargetAddress{Addr: f.in.Addr, VNET: n.ID}
		if err := tx.checkAddressFree(ctx, at+"/ip_addr", t.ID, f.in.Addr, keys[i], n); err != nil {
			return keys, err
		}
	}
	domain, err := DomainTarget(*t)
	if err != nil {
		return keys, err
	}
	if err := domain.Validate(); err != nil {
		return keys, prefixPointer(pointer, err)
	}
	return keys, nil
}

func (tx *Tx) checkAddressFree(ctx context.Context, pointer, id, addr, key string, n api.VirtualNetwork) error {
	other, ok, err := one(ctx, tx.q, func(rs *sql.Rows) (x [2]string, err error) {
		return x, rs.Scan(&x[0], &x[1])
	}, `SELECT t.hostname, t.id FROM target_addresses a JOIN targets t ON t.id = a.target_id
		WHERE a.addr_key = $1 AND a.vnet_id = $2 AND a.target_id <> $3`, key, n.ID, id)
	if err == nil && ok {
		return kind.New(kind.Conflict, "address %s in virtual network %q already belongs to target %q (%s)", addr, n.Name, other[0], other[1]).At(pointer)
	}
	return err
}

// prefixPointer puts the place of an element before the pointer of a domain error.
func prefixPointer(pointer string, err error) error {
	if k, ok := asKind(err); ok && pointer != "" {
		c := *k
		c.Pointer = pointer + c.Pointer
		return &c
	}
	return err
}

// DomainTarget turns the wire form into the domain's.
func DomainTarget(t api.Target) (targets.Target, error) {
	d := targets.Target{ID: targets.ID(t.ID), Hostname: t.Hostname, Tags: t.Tags}
	for _, f := range []struct {
		in  *api.TargetAddress
		out **targets.Address
	}{{t.IP.IPv4, &d.IPv4}, {t.IP.IPv6, &d.IPv6}} {
		if f.in == nil {
			continue
		}
		a, err := netip.ParseAddr(f.in.Addr)
		if err != nil {
			return d, fmt.Errorf("address of target %s: %w", t.ID, err)
		}
		*f.out = &targets.Address{Addr: a, VNET: vnet.ID(f.in.VNET)}
	}
	var err error
	if d.CreatedAt, err = time.Parse(time.RFC3339, t.CreatedAt); err != nil {
		return d, fmt.Errorf("time of target %s: %w", t.ID, err)
	}
	if d.ModifiedAt, err = time.Parse(time.RFC3339, t.ModifiedAt); err != nil {
		return d, fmt.Errorf("time of target %s: %w", t.ID, err)
	}
	return d, nil
}
