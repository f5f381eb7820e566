package enforce

import (
	"net/netip"

	"weft/api"
	"weft/vnet"
)

// ByID finds a device.
func (v *View) ByID(id string) (*Device, bool) {
	if v == nil {
		return nil, false
	}
	for _, d := range v.byIndex {
		if d.ID == id {
			return d, true
		}
	}
	return nil, false
}

// Source is the tunnel address from which a device's own stack reaches remote in a VNET; false when it has no slot there.
func (v *View) Source(d *Device, n vnet.ID, remote netip.Addr) (netip.Addr, bool) {
	for slot, id := range d.slots {
		if id != n || n == "" {
			continue
		}
		v4, v6, err := d.Block.Addrs(vnet.Slot(slot), vnet.ModeNetstack)
		if err != nil {
			return netip.Addr{}, false
		}
		if remote.Is4() {
			return v4, v4.IsValid()
		}
		return v6, v6.IsValid()
	}
	return netip.Addr{}, false
}

// Tunnel is the connector tunnel with an ID.
func (v *View) Tunnel(id vnet.TunnelID) (api.GatewayTunnel, bool) {
	t, ok := v.tunnels[string(id)]
	return t, ok
}
