package control

import (
	"context"

	"weft/control/store"
)

// resource is a plain collection of the management API: objects with an ID (path parameter "id") that are listed, read,
// created, replaced and deleted as a whole. T is the object on the wire, W what a body was read into. The store's methods fit
// as they are, as method expressions such as (*store.Tx).CreateRuleGroup. What is nil is not served.
type resource[T, W any] struct {
	// read reads and checks the form of a body.
	read func(q *call) (W, error)
	// list returns all that the query selects, in order; crud cuts the pages.
	list func(ctx context.Context, r *store.Reader, q *call) ([]T, error)
	// unpaged answers the whole list, for collections whose clients never ask for a second page.
	unpaged bool
	get     func(r *store.Reader, ctx context.Context, id string) (T, error)
	create  func(tx *store.Tx, ctx context.Context, in W) (T, error)
	replace func(tx *store.Tx, ctx context.Context, id string, in W) (T, error)
	remove  func(tx *store.Tx, ctx context.Context, id string) error
	// showDeleted answers a deletion with the object instead of {"id":"..."}; it takes get.
	showDeleted bool
	// show, when set, is the object as who asks may see it.
	show func(q *call, v T) T
}

// crud adds the endpoints of a resource at a path to the table.
func crud[T, W any](c *Control, to map[string]serveFunc, path string, r resource[T, W]) {
	if r.list != nil {
		to["GET "+path] = func(ctx context.Context, q *call) (answer, error) { return listOf(ctx, c, q, &r) }
	}
	if r.create != nil {
		to["POST "+path] = func(ctx context.Context, q *call) (answer, error) {
			return write(ctx, c, q, r.read, func(tx *store.Tx, in W) (T, error) { return r.shown(q)(r.create(tx, ctx, in)) })
		}
	}
	path += "/{id}"
	if r.get != nil {
		to["GET "+path] = func(ctx context.Context, q *call) (answer, error) {
			return look(ctx, c, func(s *store.Reader) (T, error) { return r.shown(q)(r.get(s, ctx, q.params["id"])) })
		}
	}
	if r.replace != nil {
		to["PUT "+path] = func(ctx context.Context, q *call) (answer, error) {
			return write(ctx, c, q, r.read, func(tx *store.Tx, in W) (T, error) { return r.shown(q)(r.replace(tx, ctx, q.params["id"], in)) })
		}
	}
	if r.remove != nil {
		to["DELETE "+path] = func(ctx context.Context, q *call) (answer, error) { return removeOf(ctx, c, q, &r) }
	}
}

func (r *resource[T, W]) shown(q *call) func(T, error) (T, error) {
	return func(v T, err error) (T, error) {
		if err == nil && r.show != nil {
			v = r.show(q, v)
		}
		return v, err
	}
}

func listOf[T, W any](ctx context.Context, c *Control, q *call, r *resource[T, W]) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	var all []T
	err = c.store.View(ctx, func(s *store.Reader) (err error) {
		all, err = r.list(ctx, s, q)
		return err
	})
	if all == nil {
		all = []T{}
	}
	if r.unpaged {
		return answer{result: all}, err
	}
	return slicePage(all, p), err
}

func removeOf[T, W any](ctx context.Context, c *Control, q *call, r *resource[T, W]) (answer, error) {
	id := q.params["id"]
	a := answer{result: map[string]string{"id": id}}
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		if r.showDeleted {
			gone, err := r.get(&tx.Reader, ctx, id)
			if err != nil {
				return err
			}
			a.result = gone
		}
		return r.remove(tx, ctx, id)
	})
	return a, err
}

// look answers with what read finds in one state of the store.
func look[T any](ctx context.Context, c *Control, read func(*store.Reader) (T, error)) (answer, error) {
	var v T
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		v, err = read(r)
		return err
	})
	return answer{result: v}, err
}

// write reads the body, writes it in one transaction and answers with what that returns.
func write[T, W any](ctx context.Context, c *Control, q *call, read func(*call) (W, error), do func(*store.Tx, W) (T, error)) (answer, error) {
	in, err := read(q)
	if err != nil {
		return answer{}, err
	}
	return change(ctx, c, q, func(tx *store.Tx) (T, error) { return do(tx, in) })
}

// change is write without a body.
func change[T any](ctx context.Context, c *Control, q *call, do func(*store.Tx) (T, error)) (answer, error) {
	var v T
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		v, err = do(tx)
		return err
	})
	return answer{result: v}, err
}
