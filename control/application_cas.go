package control

import (
	"context"

	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
)

func (c *Control) listApplicationCAs(ctx context.Context, q *call) (answer, error) {
	return listOf(ctx, c, q, &resource[api.ApplicationCA, struct{}]{
		list: func(ctx context.Context, r *store.Reader, _ *call) ([]api.ApplicationCA, error) {
			return r.ApplicationCAs(ctx)
		},
	})
}

func (c *Control) getApplicationCA(ctx context.Context, q *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) (api.ApplicationCA, error) { return r.ApplicationCA(ctx, q.params["id"]) })
}

// createApplicationCA makes the authority of the account too when there is none, which is all that older clients know to do.
func (c *Control) createApplicationCA(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	var signs []api.GatewayCA
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		if _, err = r.Application(ctx, id); err != nil {
			return err
		}
		signs, err = r.GatewayCAs(ctx)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if len(signs) > 0 {
		return change(ctx, c, q, func(tx *store.Tx) (api.ApplicationCA, error) { return tx.CreateApplicationCA(ctx, id, false) })
	}
	var a answer
	err = c.makeKey(ctx, sshca.ECDSAP256, sshca.Comment, func(public string, reference []byte) (err error) {
		a, err = change(ctx, c, q, func(tx *store.Tx) (api.ApplicationCA, error) {
			if _, err := tx.CreateUserCA(ctx, public, reference, false); err != nil {
				return api.ApplicationCA{}, err
			}
			return tx.CreateApplicationCA(ctx, id, true)
		})
		return err
	})
	return a, err
}

func (c *Control) deleteApplicationCA(ctx context.Context, q *call) (answer, error) {
	return change(ctx, c, q, func(tx *store.Tx) (deletedID, error) {
		gone, err := tx.DeleteApplicationCA(ctx, q.params["id"])
		return deletedID{ID: gone.ID}, err
	})
}
