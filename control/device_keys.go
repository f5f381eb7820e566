package control

import (
	"context"
	"time"

	"weft/api"
	"weft/control/store"
)

// agentKey changes the WireGuard key of the device that asks; see api.AgentKey.
func (c *Control) agentKey(ctx context.Context, q *call) (answer, error) {
	var in api.AgentKey
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	key, err := parsePublicKey("/public_key", in.PublicKey)
	if err != nil {
		return answer{}, err
	}
	if !c.moves.allow("key "+q.device.ID, time.Now()) { // each is a revision of which every gateway hears
		return answer{}, tooMany("the device changes its key too often")
	}
	var d store.Device
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if in.Confirm {
			d, err = tx.ConfirmDeviceKey(ctx, q.device.ID, key)
		} else {
			d, err = tx.OfferDeviceKey(ctx, q.device.ID, key)
		}
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return selfAnswer(c, &d)
}
