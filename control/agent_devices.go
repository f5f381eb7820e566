package control

import (
	"context"
	"time"

	"weft/api"
	"weft/control/store"
)

// maxAgentDevices bounds what a device hears of the others of its user: the active ones, and the latest revoked.
const maxAgentDevices = 500

// agentDevices lists the devices of the user whose device asks: a user may know where the account is in use.
func (c *Control) agentDevices(ctx context.Context, q *call) (answer, error) {
	out := []api.AgentDevice{}
	var bad error
	err := c.eachDevice(ctx, store.DeviceFilter{UserIDs: []string{q.device.UserID}}, maxAgentDevices, func(d store.PlacedDevice) {
		created, err := time.Parse(time.RFC3339, d.CreatedAt)
		if err != nil {
			bad = err
		}
		seen, err := time.Parse(time.RFC3339, d.LastSeenAt)
		if err != nil {
			bad = err
		}
		out = append(out, api.AgentDevice{
			ID: d.ID, Name: d.Name, OS: d.OS, Version: d.Version, CreatedAt: created, LastSeenAt: seen, Revoked: d.RevokedAt != nil,
		})
	})
	if err == nil {
		err = bad
	}
	return answer{result: out}, err
}
