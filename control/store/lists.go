package store

import (
	"context"
	"database/sql"
	"net/netip"
	"slices"
	"strings"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// The limits of lists.
const (
	maxLists     = 100
	maxListItems = 5000
	maxListValue = 512 // bytes
)

// listTypes are the kinds of values that a list may hold; the word is what clients send.
var listTypes = []string{"IP", "EMAIL", "DOMAIN", "SERIAL", "URL"}

// ListTypes are the types of lists.
func ListTypes() []string { return slices.Clone(listTypes) }

const listColumns = `id, name, type, description, created_at, updated_at, (SELECT COUNT(*) FROM list_items i WHERE i.list_id = lists.id)`

func scanList(rs *sql.Rows) (api.List, error) {
	var l api.List
	return l, rs.Scan(&l.ID, &l.Name, &l.Type, &l.Description, &l.CreatedAt, &l.UpdatedAt, &l.Count)
}

// Lists lists by name, without items.
func (r *Reader) Lists(ctx context.Context) ([]api.List, error) {
	return collect(ctx, r.q, scanList, `SELECT `+listColumns+` FROM lists ORDER BY name_key`)
}

// List finds one, with its items in the order of their values.
func (r *Reader) List(ctx context.Context, id string) (api.List, error) {
	l, ok, err := one(ctx, r.q, scanList, `SELECT `+listColumns+` FROM lists WHERE id = $1`, id)
	if err == nil && !ok {
		err = kind.New(kind.NotFound, "there is no list %q", id)
	}
	if err != nil {
		return l, err
	}
	l.Items, err = collect(ctx, r.q, func(rs *sql.Rows) (api.ListItem, error) {
		var x api.ListItem
		return x, rs.Scan(&x.Value, &x.Description, &x.CreatedAt)
	}, `SELECT value, description, created_at FROM list_items WHERE list_id = $1 ORDER BY value`, id)
	return l, err
}

// DomainLists are the lists as the policy sees them.
func (r *Reader) DomainLists(ctx context.Context) ([]access.List, error) {
	all, err := r.Lists(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]access.List, len(all))
	for i, l := range all {
		full, err := r.List(ctx, l.ID)
		if err != nil {
			return nil, err
		}
		out[i] = domainList(&full)
	}
	return out, nil
}

func domainList(l *api.List) access.List {
	d := access.List{ID: l.ID, Name: l.Name, Type: l.Type, Items: make([]string, len(l.Items))}
	for i, x := range l.Items {
		d.Items[i] = x.Value
	}
	return d
}

// CreateList adds a list.
func (tx *Tx) CreateList(ctx context.Context, in api.ListWrite) (api.List, error) {
	l := api.List{ID: newID(), Name: deref(in.Name), Type: deref(in.Type), Description: deref(in.Description), CreatedAt: tx.at, UpdatedAt: tx.at}
	have, err := tx.Lists(ctx)
	if err != nil {
		return l, err
	}
	if len(have) >= maxLists {
		return l, kind.New(kind.Limit, "the account has %d lists, which is the most", len(have))
	}
	if err := setItems(&l, in.Items, tx.at); err != nil {
		return l, err
	}
	if err := tx.checkList(ctx, &l); err != nil {
		return l, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO lists (id, name, name_key, type, description, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		l.ID, l.Name, nameKey(l.Name), l.Type, l.Description, l.CreatedAt, l.UpdatedAt); err != nil {
		return l, err
	}
	if err := tx.writeItems(ctx, &l); err != nil {
		return l, err
	}
	return l, tx.changed(ctx, Lists, "list.create", l.ID, l)
}

// ReplaceList changes what is not nil; items, when given, replace all.
func (tx *Tx) ReplaceList(ctx context.Context, id string, in api.ListWrite) (api.List, error) {
	return tx.updateList(ctx, id, func(l *api.List) error {
		if in.Type != nil && *in.Type != l.Type {
			return kind.Field("/type", "the type of a list cannot be changed from %s", l.Type)
		}
		if in.Name != nil {
			l.Name = *in.Name
		}
		if in.Description != nil {
			l.Description = *in.Description
		}
		if in.Items == nil {
			return nil
		}
		return setItems(l, in.Items, tx.at)
	})
}

// PatchList removes and then adds values. A value that is not there cannot be removed, and one that is cannot be added.
func (tx *Tx) PatchList(ctx context.Context, id string, in api.ListPatch) (api.List, error) {
	return tx.updateList(ctx, id, func(l *api.List) error {
		for _, v := range in.Remove {
			i := slices.IndexFunc(l.Items, func(x api.ListItem) bool { return x.Value == v })
			if i < 0 {
				return kind.Field("/remove", "the list has no value %q", v)
			}
			l.Items = slices.Delete(l.Items, i, i+1)
		}
		kept := l.Items
		if err := setItems(l, in.Append, tx.at); err != nil {
			return err
		}
		l.Items = append(kept, l.Items...)
		return nil
	})
}

func (tx *Tx) updateList(ctx context.Context, id string, edit func(*api.List) error) (api.List, error) {
	l, err := tx.List(ctx, id)
	if err != nil {
		return l, err
	}
	before := l
	before.Items = slices.Clone(l.Items)
	if err := edit(&l); err != nil {
		return l, err
	}
	l.UpdatedAt = tx.at
	if err := tx.checkList(ctx, &l); err != nil {
		return l, err
	}
	if err := tx.checkListUsers(ctx, &l); err != nil {
		return l, err
	}
	if _, err := tx.exec(ctx, `UPDATE lists SET name = $2, name_key = $3, description = $4, updated_at = $5 WHERE id = $1`,
		l.ID, l.Name, nameKey(l.Name), l.Description, l.UpdatedAt); err != nil {
		return l, err
	}
	if err := tx.writeItems(ctx, &l); err != nil {
		return l, err
	}
	if err := tx.relistPosture(ctx, l.ID); err != nil {
		return l, err
	}
	return l, tx.changed(ctx, Lists, "list.update", l.ID, change{before, l})
}

// DeleteList refuses while network rules, policies or rule groups name the list.
func (tx *Tx) DeleteList(ctx context.Context, id string) error {
	l, err := tx.List(ctx, id)
	if err != nil {
		return err
	}
	if err := tx.listInUse(ctx, &l); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM lists WHERE id = $1`, id); err != nil {
		return err
	}
	if err := tx.relistPosture(ctx, id); err != nil {
		return err
	}
	return tx.changed(ctx, Lists, "list.delete", id, l)
}

// listUsers are the network rules, enabled or not, that name a list.
func (tx *Tx) listUsers(ctx context.Context, id string) ([]access.NetworkRule, error) {
	all, err := tx.NetworkRules(ctx)
	if err != nil {
		return nil, err
	}
	var users []access.NetworkRule
	for i := range all {
		if d := domainNetworkRule(&all[i]); d.Names(id) {
			users = append(users, d)
		}
	}
	return users, nil
}

// checkListUsers refuses values with which a rule that names the list could no longer be evaluated.
func (tx *Tx) checkListUsers(ctx context.Context, l *api.List) error {
	users, err := tx.listUsers(ctx, l.ID)
	if err != nil || len(users) == 0 {
		return err
	}
	lists, err := tx.DomainLists(ctx)
	if err != nil {
		return err
	}
	for i := range lists {
		if lists[i].ID == l.ID {
			lists[i] = domainList(l)
		}
	}
	if bad, err := access.ValidateNetworkRules(users, lists); err != nil {
		return kind.Field("/items", "network rule %q names the list, and: %s", bad.Name, err)
	}
	return nil
}

func (tx *Tx) writeItems(ctx context.Context, l *api.List) error {
	if _, err := tx.exec(ctx, `DELETE FROM list_items WHERE list_id = $1`, l.ID); err != nil {
		return err
	}
	for _, x := range l.Items {
		if _, err := tx.exec(ctx, `INSERT INTO list_items (list_id, value, description, created_at) VALUES ($1, $2, $3, $4)`,
			l.ID, x.Value, x.Description, x.CreatedAt); err != nil {
			return err
		}
	}
	slices.SortFunc(l.Items, func(a, b api.ListItem) int { return strings.Compare(a.Value, b.Value) })
	l.Count = len(l.Items)
	return nil
}

// setItems makes the items of l those of in; a value that was there before keeps the time since when.
func setItems(l *api.List, in []api.ListItemWrite, at string) error {
	since := make(map[string]string, len(l.Items))
	for _, x := range l.Items {
		since[x.Value] = x.CreatedAt
	}
	l.Items = make([]api.ListItem, len(in))
	for i, x := range in {
		if err := checkComment("/items", x.Description); err != nil {
			return err
		}
		l.Items[i] = api.ListItem{Value: x.Value, Description: x.Description, CreatedAt: at}
		if was, ok := since[x.Value]; ok {
			l.Items[i].CreatedAt = was
		}
	}
	return nil
}

func (tx *Tx) checkList(ctx context.Context, l *api.List) error {
	if err := checkName(l.Name); err != nil {
		return err
	}
	if err := checkComment("/description", l.Description); err != nil {
		return err
	}
	if !slices.Contains(listTypes, l.Type) {
		return kind.Field("/type", "the type must be one of %s", strings.Join(listTypes, ", "))
	}
	if len(l.Items) > maxListItems {
		return kind.Field("/items", "a list has at most %d values", maxListItems)
	}
	seen := make(map[string]bool, len(l.Items))
	for _, x := range l.Items {
		if err := checkListValue(l.Type, x.Value); err != nil {
			return err
		}
		if seen[x.Value] {
			return kind.Field("/items", "the value %q stands twice", x.Value)
		}
		seen[x.Value] = true
	}
	other, ok, err := one(ctx, tx.q, scanList, `SELECT `+listColumns+` FROM lists WHERE name_key = $1 AND id <> $2`, nameKey(l.Name), l.ID)
	if err == nil && ok {
		return kind.New(kind.Conflict, "the name %q already belongs to list %q (%s)", l.Name, other.Name, other.ID).At("/name")
	}
	return err
}

func checkListValue(typ, v string) error {
	switch {
	case v == "" || len(v) > maxListValue || strings.TrimSpace(v) != v:
		return kind.Field("/items", "the value %q is empty, longer than %d bytes, or has spaces around it", clip(v), maxListValue)
	case typ == "IP" && !isAddrOrPrefix(v):
		return kind.Field("/items", "the value %q is not an IP address or a prefix without bits behind its length", clip(v))
	case typ == "EMAIL":
		return checkEmail("/items", v)
	}
	return checkText("/items", v)
}

func isAddrOrPrefix(s string) bool {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return err == nil && p == p.Masked()
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
