package gateway

import (
	"weft/access"
	"weft/api"
	"weft/vnet"
)

// narrowed is the old state without what the next one does not have any more. It is what is left to do with a next state
// that contradicts itself: whatever is wrong with it, who was revoked in it must lose access now and not when somebody
// has mended it. Nothing that the old state does not allow is allowed by it. Routes stay as they are: they grant
// nothing, and without one its addresses could fall to a wider one that leads elsewhere.
func narrowed(old, next *api.GatewayState) *api.GatewayState {
	n := *old
	n.Devices = kept(old.Devices, next.Devices, func(was, is api.GatewayDevice) bool {
		return was.UserID == is.UserID && was.PublicKey == is.PublicKey && was.BlockIndex == is.BlockIndex && includes(is.Slots, was.Slots)
	})
	n.Identities = kept(old.Identities, next.Identities, func(_, is access.Identity) bool { return !is.Revoked })
	n.Targets = kept(old.Targets, next.Targets, nil)
	n.Applications = kept(old.Applications, next.Applications, nil)
	n.Networks = kept(old.Networks, next.Networks, nil)
	n.Tunnels = kept(old.Tunnels, next.Tunnels, func(was, is api.GatewayTunnel) bool { return was == is })
	return &n
}

// includes reports whether every slot of was is the same network's still.
func includes(is, was map[vnet.ID]vnet.Slot) bool {
	for id, slot := range was {
		if s, ok := is[id]; !ok || s != slot {
			return false
		}
	}
	return true
}

// kept are the entries of old that next has too, and that same lets pass.
func kept[V any](old, next map[string]V, same func(was, is V) bool) map[string]V {
	out := make(map[string]V, len(old))
	for k, was := range old {
		if is, ok := next[k]; ok && (same == nil || same(was, is)) {
			out[k] = was
		}
	}
	return out
}
