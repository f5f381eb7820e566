package vnet

import (
	"maps"

	"weft/internal/kind"
)

// AssignSlots keeps the slots in old and gives each VNET of want without one
// the lowest free slot from 1; VNETs no longer wanted lose theirs only when a
// slot is needed (the lowest first), because a flow that is still open is known
// by its slot. The answer holds every wanted VNET and whatever else of old is
// left; neither argument is changed. It fails with kind.Limit when more than
// MaxSlots are wanted, and with kind.Invalid when old is not a slot table.
func AssignSlots(old map[ID]Slot, want []ID) (map[ID]Slot, error) {
	holder, err := holders(old)
	if err != nil {
		return nil, err
	}
	wanted := make(map[ID]bool, len(want))
	for _, v := range want {
		if v == "" {
			return nil, kind.New(kind.Invalid, "a virtual network without an ID cannot have a slot")
		}
		wanted[v] = true
	}
	if len(wanted) > MaxSlots {
		return nil, kind.New(kind.Limit, "%d virtual networks are wanted; a device can use %d at a time", len(wanted), MaxSlots)
	}
	slots := make(map[ID]Slot, len(old)+len(wanted))
	maps.Copy(slots, old)
	for _, v := range want {
		if _, has := slots[v]; has {
			continue
		}
		s := lowestSlot(&holder, func(v ID) bool { return v == "" })
		if s == ControlSlot {
			s = lowestSlot(&holder, func(v ID) bool { return !wanted[v] })
			delete(slots, holder[s])
		}
		holder[s], slots[v] = v, s
	}
	return slots, nil
}

// holders inverts a slot table, checking it.
func holders(slots map[ID]Slot) (holder [slotCount]ID, err error) {
	for v, s := range slots {
		if v == "" || s == ControlSlot || s >= slotCount {
			return holder, kind.New(kind.Invalid, "slot %d cannot belong to virtual network %q", s, v)
		}
		if holder[s] != "" {
			return holder, kind.New(kind.Invalid, "slot %d belongs to two virtual networks", s)
		}
		holder[s] = v
	}
	return holder, nil
}

// lowestSlot returns the lowest slot from 1 whose holder satisfies ok, or
// ControlSlot, which is never anyone's.
func lowestSlot(holder *[slotCount]ID, ok func(ID) bool) Slot {
	for s := 1; s < slotCount; s++ {
		if ok(holder[s]) {
			return Slot(s)
		}
	}
	return ControlSlot
}
