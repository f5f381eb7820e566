package control

import (
	"maps"
	"slices"

	"weft/control/store"
	"weft/vnet"
)

// assignSlots gives every device a slot in each virtual network that it may come to use, and returns the devices
// whose slots changed. Slots are persistent, because an address of a flow that is open names its network by the slot.
//
// While the networks that lead anywhere fit a device's slots, every device has them all: a slot is only a number,
// and the policy decides. Beyond that a device has those of its own targets first.
func (v *view) assignSlots(old *view) (changed map[string]map[vnet.ID]vnet.Slot, errs []error) {
	if v.same(old, store.Networks, store.Routes, store.Targets, store.Applications, store.Users, store.Devices, store.DeviceProfiles) {
		return nil, nil
	}
	common := v.commonNetworks()
	devices := slices.Clone(v.in.devices)
	changed = map[string]map[vnet.ID]vnet.Slot{}
	for i := range devices {
		d := &devices[i]
		want := v.usable(d, common)
		if len(want) > vnet.MaxSlots {
			want = v.ownNetworks(d, want)
		}
		if hasAll(d.Slots, want) {
			continue
		}
		slots, err := vnet.AssignSlots(d.Slots, want)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.Slots = slots
		changed[d.ID] = slots
	}
	v.in.devices = devices
	return changed, errs
}

func hasAll(slots map[vnet.ID]vnet.Slot, want []vnet.ID) bool {
	for _, id := range want {
		if _, ok := slots[id]; !ok {
			return false
		}
	}
	return true
}

// commonNetworks are the default, those with a route and those with a target, in this order.
func (v *view) commonNetworks() []vnet.ID {
	rank := map[vnet.ID]int{}
	note := func(id vnet.ID, r int) {
		if was, ok := rank[id]; !ok || r < was {
			rank[id] = r
		}
	}
	for _, n := range v.in.networks {
		if n.Default {
			note(n.ID, 0)
		}
	}
	for _, r := range v.in.routes {
		note(r.VNET, 1)
	}
	for i := range v.in.targets {
		if a := v.in.targets[i].IPv4; a != nil {
			note(a.VNET, 2)
		}
		if a := v.in.targets[i].IPv6; a != nil {
			note(a.VNET, 2)
		}
	}
	return ranked(rank)
}

// ownNetworks are as many as fit: the default, those of the device's targets, then the others.
func (v *view) ownNetworks(d *store.Device, common []vnet.ID) []vnet.ID {
	own := entryNetworks(v.entries(d))
	rank := map[vnet.ID]int{}
	for i, id := range common {
		switch {
		case i == 0:
			rank[id] = 0 // the default
		case own[id]:
			rank[id] = 1
		default:
			rank[id] = 2
		}
	}
	all := ranked(rank)
	return all[:min(len(all), vnet.MaxSlots)]
}

// ranked sorts by rank, then ID, so that equal states give equal slots.
func ranked(rank map[vnet.ID]int) []vnet.ID {
	ids := slices.Sorted(maps.Keys(rank))
	slices.SortStableFunc(ids, func(a, b vnet.ID) int { return rank[a] - rank[b] })
	return ids
}
