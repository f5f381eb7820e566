package control

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/targets"
)

// The collections that are patched have the same name in the store and on the wire.

// changes finds out which objects of a collection differ from old's.
func (v *view) changes(ctx context.Context, r *store.Reader, old *view, collection string) (ids []string, ok bool, err error) {
	if old == nil {
		return nil, false, nil
	}
	ids, ok, err = r.ChangedObjects(ctx, collection, old.revisions[collection])
	if ok {
		v.changed[collection] = ids
	}
	return ids, ok, err
}

func (v *view) loadTargets(ctx context.Context, r *store.Reader, old *view) error {
	ids, ok, err := v.changes(ctx, r, old, store.Targets)
	if err != nil {
		return err
	}
	id := func(t *targets.Target) string { return string(t.ID) }
	if !ok {
		v.in.targets, err = r.DomainTargets(ctx)
		sortByID(v.in.targets, id)
		return err
	}
	now, err := r.DomainTargetsByID(ctx, ids)
	v.in.targets = patched(v.in.targets, ids, now, id)
	return err
}

func (v *view) loadApplications(ctx context.Context, r *store.Reader, old *view) error {
	ids, ok, err := v.changes(ctx, r, old, store.Applications)
	if err != nil {
		return err
	}
	id := func(a *access.Application) string { return a.ID }
	if !ok {
		v.in.applications, err = r.DomainApplications(ctx)
		sortByID(v.in.applications, id)
		return err
	}
	now, err := r.DomainApplicationsByID(ctx, ids)
	v.in.applications = patched(v.in.applications, ids, now, id)
	return err
}

// sortByID sorts as Go compares, whatever the database does.
func sortByID[T any](list []T, id func(*T) string) {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(id(&a), id(&b)) })
}

// patched returns a copy of old, which is sorted by ID, with now in place of all that ids name.
func patched[T any](old []T, ids []string, now []T, id func(*T) string) []T {
	sortByID(now, id)
	gone := make(map[string]bool, len(ids))
	for _, x := range ids {
		gone[x] = true
	}
	out := make([]T, 0, len(old)+len(now))
	for i := range old {
		at := id(&old[i])
		for len(now) > 0 && id(&now[0]) <= at {
			out, now = append(out, now[0]), now[1:]
		}
		if !gone[at] {
			out = append(out, old[i])
		}
	}
	return append(out, now...)
}

// wirePatched renders a collection anew, or what changed of it.
func wirePatched[T, W any](v, old *view, collection string, all []T, id func(*T) string, wire func(*T) W) (api.Collection, error) {
	ids, known := v.changed[collection]
	render := all
	var base api.Collection
	if known {
		base = maps.Clone(old.shared[collection])
		render = nil
		for _, x := range ids {
			delete(base, x)
			if i, ok := slices.BinarySearchFunc(all, x, func(t T, x string) int { return cmp.Compare(id(&t), x) }); ok {
				render = append(render, all[i])
			}
		}
	}
	m := make(map[string]W, len(render))
	for i := range render {
		m[id(&render[i])] = wire(&render[i])
	}
	c, err := api.NewCollection(m)
	if err != nil || base == nil {
		return c, err
	}
	maps.Copy(base, c)
	return base, nil
}

func (v *view) wireTargets(old *view) (api.Collection, error) {
	return wirePatched(v, old, store.Targets, v.in.targets, func(t *targets.Target) string { return string(t.ID) }, func(t *targets.Target) api.WireTarget {
		return api.WireTarget{ID: t.ID, Hostname: t.Hostname, IPv4: wireAddress(t.IPv4), IPv6: wireAddress(t.IPv6), Tags: t.Tags}
	})
}

func (v *view) wireApplications(old *view) (api.Collection, error) {
	return wirePatched(v, old, store.Applications, v.in.applications, func(a *access.Application) string { return a.ID },
		func(a *access.Application) access.Application { return *a })
}
