package control

import (
	"context"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

var networkNoise = []string{"id", "created_at", "deleted_at"}

// networkWrite reads a body; the default has two spellings, which must not contradict each other.
func networkWrite(q *call) (in api.VirtualNetworkWrite, isDefault *bool, err error) {
	if err := q.body(&in, networkNoise...); err != nil {
		return in, nil, err
	}
	isDefault = in.IsDefaultNetwork
	if in.IsDefault != nil {
		if isDefault != nil && *isDefault != *in.IsDefault {
			return in, nil, kind.Field("/is_default", "is_default and is_default_network contradict each other")
		}
		isDefault = in.IsDefault
	}
	return in, isDefault, nil
}

func (c *Control) createNetwork(ctx context.Context, q *call) (answer, error) {
	in, isDefault, err := networkWrite(q)
	if err != nil {
		return answer{}, err
	}
	f := store.NetworkFields{Name: deref(in.Name), Comment: deref(in.Comment), Default: deref(isDefault)}
	var n api.VirtualNetwork
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		n, err = tx.CreateNetwork(ctx, f)
		return err
	})
	return answer{result: n}, err
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (c *Control) listNetworks(ctx context.Context, q *call) (answer, error) {
	var f store.NetworkFilter
	for name, to := range map[string]**string{"id": &f.ID, "name": &f.Name} {
		if v := q.query.Get(name); v != "" {
			*to = &v
		}
	}
	for name, to := range map[string]**bool{"is_default": &f.IsDefault, "is_default_network": &f.IsDefault, "is_deleted": &f.IsDeleted} {
		b, err := q.queryBool(name)
		if err != nil {
			return answer{}, err
		}
		if b != nil {
			*to = b
		}
	}
	var list []api.VirtualNetwork
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.ListNetworks(ctx, f)
		return err
	})
	if err != nil || q.query.Get("page") == "" && q.query.Get("per_page") == "" {
		return answer{result: list}, err
	}
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	return answer{result: slicePage(list, p).result}, nil
}

func (c *Control) getNetwork(ctx context.Context, q *call) (answer, error) {
	var n api.VirtualNetwork
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		n, err = r.Network(ctx, q.params["id"])
		return err
	})
	return answer{result: n}, err
}

func (c *Control) updateNetwork(ctx context.Context, q *call) (answer, error) {
	in, isDefault, err := networkWrite(q)
	if err != nil {
		return answer{}, err
	}
	var n api.VirtualNetwork
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		n, err = tx.UpdateNetwork(ctx, q.params["id"], in.Name, in.Comment, isDefault)
		return err
	})
	return answer{result: n}, err
}

func (c *Control) deleteNetwork(ctx context.Context, q *call) (answer, error) {
	var n api.VirtualNetwork
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		n, err = tx.DeleteNetwork(ctx, q.params["id"])
		return err
	})
	return answer{result: n}, err
}
