package agent

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft/api"
	"weft/targets"
	"weft/vnet"
)

// view is what the agent knows from control, made ready for use: immutable, built
// whole and swapped.
type view struct {
	revision uint64
	state    *api.AgentState
	// live means that control said so in this process; otherwise it is from the disk.
	live     bool
	networks []vnet.Network // by name
	entries  []targets.Entry
	rows     wireRows           // the entries as the local API has them
	gateways []api.AgentGateway // those that drain last; by name, then ID
	// addrs are the tunnel addresses of each network; control those of the probe.
	addrs   map[vnet.ID]localAddrs
	control localAddrs
	// problem says why the device has no addresses; empty when it has.
	problem string
}

// localAddrs are the two tunnel addresses of one slot.
type localAddrs struct{ v4, v6 netip.Addr }

// of returns the address that can talk to remote.
func (l localAddrs) of(remote netip.Addr) netip.Addr {
	if remote.Is4() {
		return l.v4
	}
	return l.v6
}

func newView(revision uint64, s *api.AgentState, live bool) *view {
	v := &view{revision: revision, state: s, live: live, addrs: make(map[vnet.ID]localAddrs, len(s.Networks))}
	for _, g := range s.Gateways {
		v.gateways = append(v.gateways, g)
	}
	slices.SortFunc(v.gateways, func(a, b api.AgentGateway) int {
		return cmp.Or(drains(a)-drains(b), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	v.setNetworks()
	v.setEntries()
	return v
}

// setNetworks derives the addresses. A network whose slot gives none is listed and
// cannot be dialled: fail closed.
func (v *view) setNetworks() {
	block := vnet.Block{V4: v.state.Self.BlockV4, V6: v.state.Self.BlockV6}
	var err error
	if v.control, err = slotAddrs(block, vnet.ControlSlot); err != nil {
		v.problem = "control gave this device no tunnel addresses: " + err.Error()
	}
	for _, n := range v.state.Networks {
		v.networks = append(v.networks, vnet.Network{ID: n.ID, Name: n.Name, Comment: n.Comment, Default: n.Default})
		if n.Slot == vnet.ControlSlot {
			continue
		}
		if a, err := slotAddrs(block, n.Slot); err == nil {
			v.addrs[n.ID] = a
		}
	}
	slices.SortFunc(v.networks, func(a, b vnet.Network) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.ID, b.ID))
	})
}

func slotAddrs(b vnet.Block, s vnet.Slot) (localAddrs, error) {
	v4, v6, err := b.Addrs(s, vnet.ModeNetstack)
	return localAddrs{v4, v6}, err
}

func (v *view) setEntries() {
	v.entries = make([]targets.Entry, 0, len(v.state.Entries))
	for _, e := range v.state.Entries {
		v.entries = append(v.entries, targets.Entry{
			Target: targets.Target{
				ID: e.TargetID, Hostname: e.Hostname, Tags: e.Tags,
				IPv4: address(e.IPv4), IPv6: address(e.IPv6),
			},
			Protocol: e.Protocol, Port: e.Port, Usernames: e.Usernames,
		})
	}
	slices.SortFunc(v.entries, func(a, b targets.Entry) int {
		return cmp.Or(cmp.Compare(a.Target.ID, b.Target.ID), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
}

func address(a *api.AgentAddress) *targets.Address {
	if a == nil {
		return nil
	}
	return &targets.Address{Addr: a.Addr, VNET: a.VNET}
}

// network finds a network by ID.
func (v *view) network(id vnet.ID) (vnet.Network, bool) {
	for _, n := range v.networks {
		if n.ID == id {
			return n, true
		}
	}
	return vnet.Network{}, false
}

// pick returns the network that is selected: the one the user chose while it
// exists, else the default one, else the only one.
func (v *view) pick(chosen vnet.ID) (vnet.Network, bool) {
	if n, ok := v.network(chosen); ok {
		return n, true
	}
	for _, n := range v.networks {
		if n.Default {
			return n, true
		}
	}
	if len(v.networks) == 1 {
		return v.networks[0], true
	}
	return vnet.Network{}, false
}

// cachedState is a view on disk.
type cachedState struct {
	Revision  uint64          `json:"revision"`
	ContactAt time.Time       `json:"contact_at"` // when control last said that it is current
	State     *api.AgentState `json:"state"`
}
