package control

import (
	"context"

	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
)

// createGatewayCA makes the first authority; the public API knows one, and of no algorithms.
func (c *Control) createGatewayCA(ctx context.Context, q *call) (answer, error) {
	ca, err := c.makeUserCA(ctx, q.actor, sshca.ECDSAP256, false)
	return answer{result: api.GatewayCA{ID: ca.ID, PublicKey: ca.PublicKey}}, err
}

func (c *Control) listGatewayCAs(ctx context.Context, _ *call) (answer, error) {
	var list []api.GatewayCA
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.GatewayCAs(ctx)
		return err
	})
	return answer{result: list}, err
}

// deleteGatewayCA takes away even the one that signs, as the public API does.
func (c *Control) deleteGatewayCA(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	return answer{result: map[string]string{"id": id}}, c.removeUserCA(ctx, q.actor, id, true)
}
