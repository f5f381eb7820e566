package control

import (
	"context"

	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
)

func (c *Control) createGatewayCA(ctx context.Context, q *call) (answer, error) {
	public, private, err := sshca.Generate()
	if err != nil {
		return answer{}, err
	}
	var ca api.GatewayCA
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		ca, err = tx.CreateGatewayCA(ctx, public, private)
		return err
	})
	return answer{result: ca}, err
}

func (c *Control) listGatewayCAs(ctx context.Context, _ *call) (answer, error) {
	var list []api.GatewayCA
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.GatewayCAs(ctx)
		return err
	})
	return answer{result: list}, err
}

func (c *Control) deleteGatewayCA(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		_, err := tx.DeleteGatewayCA(ctx, id)
		return err
	})
	return answer{result: map[string]string{"id": id}}, err
}
