package control

import (
	"context"
	"slices"

	"weft/api"
	"weft/control/store"
)

var listNoise = []string{"id", "count", "created_at", "updated_at"}

func (c *Control) listLists(ctx context.Context, q *call) (answer, error) {
	only, err := oneOf(q, "type", store.ListTypes()...)
	if err != nil {
		return answer{}, err
	}
	list := []api.List{}
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.Lists(ctx)
		return err
	})
	if q.query.Get("type") != "" {
		list = slices.DeleteFunc(list, func(l api.List) bool { return l.Type != only })
	}
	return answer{result: list}, err
}

func (c *Control) getList(ctx context.Context, q *call) (answer, error) {
	l, err := c.list(ctx, q)
	return answer{result: l}, err
}

func (c *Control) list(ctx context.Context, q *call) (l api.List, err error) {
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		l, err = r.List(ctx, q.params["id"])
		return err
	})
	return l, err
}

func (c *Control) listItems(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	l, err := c.list(ctx, q)
	return slicePage(l.Items, p), err
}

func (c *Control) createList(ctx context.Context, q *call) (answer, error) {
	var in api.ListWrite
	if err := q.body(&in, listNoise...); err != nil {
		return answer{}, err
	}
	return c.writeList(ctx, q, func(tx *store.Tx) (api.List, error) { return tx.CreateList(ctx, in) })
}

func (c *Control) replaceList(ctx context.Context, q *call) (answer, error) {
	var in api.ListWrite
	if err := q.body(&in, listNoise...); err != nil {
		return answer{}, err
	}
	return c.writeList(ctx, q, func(tx *store.Tx) (api.List, error) { return tx.ReplaceList(ctx, q.params["id"], in) })
}

func (c *Control) patchList(ctx context.Context, q *call) (answer, error) {
	var in api.ListPatch
	if err := q.body(&in, listNoise...); err != nil {
		return answer{}, err
	}
	return c.writeList(ctx, q, func(tx *store.Tx) (api.List, error) { return tx.PatchList(ctx, q.params["id"], in) })
}

func (c *Control) writeList(ctx context.Context, q *call, write func(*store.Tx) (api.List, error)) (answer, error) {
	var l api.List
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		l, err = write(tx)
		return err
	})
	return answer{result: l}, err
}

func (c *Control) deleteList(ctx context.Context, q *call) (answer, error) {
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteList(ctx, q.params["id"]) })
	return answer{result: struct{}{}}, err
}
