// Package enforce turns what control says (api.GatewayState) into an immutable View, and answers the one
// question of the data path: may this flow, from this tunnel address, go there? The order is:
//
//  1. The source address names a device and a slot; the slot names a VNET of that device. Anything
//     else is refused.
//  2. Destinations that no route may open are refused: see Forbidden.
//  3. access.Evaluate decides.
//  4. A route of the VNET must cover the destination.
//
// A View holds no connection, file or goroutine; it is safe for concurrent use.
package enforce

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"weft/access"
	"weft/api"
	"weft/targets"
	"weft/tunnel"
	"weft/vnet"
)

// slots is how many a device has.
const slots = 32

// Device is a peer, ready for lookups.
type Device struct {
	ID, Name  string
	UserID    string
	PublicKey tunnel.PublicKey
	// NextKey may shake hands and carries nothing yet; zero: none.
	NextKey tunnel.PublicKey
	Block   vnet.Block
	// Identity is nil when control sent none: everything is denied then.
	Identity *access.Identity

	facts access.Device
	slots [slots]vnet.ID // "": none
}

// Facts is the device as policies see it.
func (d *Device) Facts() *access.Device { return &d.facts }

// View is a compiled state.
type View struct {
	revision uint64
	self     api.GatewaySyncSelf
	pool     vnet.Pool
	policy   *access.Snapshot
	routes   *vnet.Table
	networks map[string]api.WireNetwork
	byIndex  map[uint16]*Device
	tunnels  map[string]api.GatewayTunnel
	problems []error
}

// Compile builds a View. It fails when the state contradicts itself; the caller keeps the old View. A device that makes no
// sense by itself is left out (so it is denied) and named in Problems: it must not keep a revocation from the others.
func Compile(revision uint64, st *api.GatewayState) (*View, error) {
	v := &View{
		revision: revision, self: st.Self, networks: st.Networks, tunnels: st.Tunnels,
		pool:    vnet.Pool{V4: st.Self.PoolV4, V6: st.Self.PoolV6},
		byIndex: make(map[uint16]*Device, len(st.Devices)),
	}
	var err error
	if v.policy, err = access.Compile(policyInput(revision, st)); err != nil {
		return nil, fmt.Errorf("compile policy: %w", err)
	}
	if v.routes, err = vnet.NewTable(routesOf(st)); err != nil {
		return nil, fmt.Errorf("build routes: %w", err)
	}
	keys := make(map[tunnel.PublicKey]string, len(st.Devices))
	for id := range st.Devices {
		d, err := v.device(st, st.Devices[id])
		if err != nil {
			v.problems = append(v.problems, fmt.Errorf("leave out device %s: %w", id, err))
			continue
		}
		if other, ok := keys[d.PublicKey]; ok {
			return nil, fmt.Errorf("device %s has the key of device %s", id, other)
		}
		keys[d.PublicKey] = id
		index := st.Devices[id].BlockIndex
		if other, ok := v.byIndex[index]; ok {
			return nil, fmt.Errorf("device %s has the block of device %s", id, other.ID)
		}
		v.byIndex[index] = d
	}
	v.checkNextKeys(keys)
	return v, nil
}

// checkNextKeys drops offered keys that are another device's: an offer must take nothing from anybody.
func (v *View) checkNextKeys(keys map[tunnel.PublicKey]string) {
	next := make(map[tunnel.PublicKey]*Device)
	for _, d := range v.byIndex {
		if d.NextKey.IsZero() {
			continue
		}
		_, used := keys[d.NextKey]
		other, twice := next[d.NextKey]
		if used || twice {
			v.problems = append(v.problems, fmt.Errorf("leave out the next key of device %s: it is in use", d.ID))
			d.NextKey = tunnel.PublicKey{}
			if twice {
				other.NextKey = tunnel.PublicKey{}
			}
			continue
		}
		next[d.NextKey] = d
	}
}

func policyInput(revision uint64, st *api.GatewayState) access.Input {
	in := access.Input{Revision: revision}
	for _, k := range slices.Sorted(maps.Keys(st.Networks)) {
		n := st.Networks[k]
		in.Networks = append(in.Networks, vnet.Network{ID: n.ID, Name: n.Name, Default: n.Default})
	}
	for _, k := range slices.Sorted(maps.Keys(st.Targets)) {
		in.Targets = append(in.Targets, target(st.Targets[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(st.Applications)) {
		in.Applications = append(in.Applications, st.Applications[k])
	}
	for _, k := range slices.Sorted(maps.Keys(st.Groups)) {
		in.Groups = append(in.Groups, st.Groups[k])
	}
	for _, k := range slices.Sorted(maps.Keys(st.NetworkRules)) {
		in.NetworkRules = append(in.NetworkRules, st.NetworkRules[k])
	}
	for _, k := range slices.Sorted(maps.Keys(st.Lists)) {
		in.Lists = append(in.Lists, st.Lists[k])
	}
	return in
}

func target(w api.WireTarget) targets.Target {
	t := targets.Target{ID: w.ID, Hostname: w.Hostname, Tags: w.Tags}
	if w.IPv4 != nil {
		t.IPv4 = &targets.Address{Addr: w.IPv4.Addr, VNET: w.IPv4.VNET}
	}
	if w.IPv6 != nil {
		t.IPv6 = &targets.Address{Addr: w.IPv6.Addr, VNET: w.IPv6.VNET}
	}
	return t
}

func routesOf(st *api.GatewayState) []vnet.Route {
	out := make([]vnet.Route, 0, len(st.Routes))
	for _, k := range slices.Sorted(maps.Keys(st.Routes)) {
		r := st.Routes[k]
		out = append(out, vnet.Route{ID: r.ID, Prefix: r.Prefix, VNET: r.VNET, Tunnel: r.Tunnel})
	}
	return out
}

func (v *View) device(st *api.GatewayState, w api.GatewayDevice) (*Device, error) {
	key, err := tunnel.ParsePublicKey(w.PublicKey)
	if err != nil {
		return nil, err
	}
	block, err := v.pool.Block(w.BlockIndex)
	if err != nil {
		return nil, err
	}
	d := &Device{
		ID: w.ID, Name: w.Name, UserID: w.UserID, PublicKey: key, Block: block,
		facts: access.Device{ID: w.ID, PassedChecks: w.PassedChecks, Country: w.Country},
	}
	d.setPosture(st.Self.PostureRules)
	if w.NextPublicKey != "" {
		if d.NextKey, err = tunnel.ParsePublicKey(w.NextPublicKey); err != nil {
			return nil, fmt.Errorf("next key: %w", err)
		}
	}
	if w.SourceIP != "" {
		if d.facts.SourceIP, err = netip.ParseAddr(w.SourceIP); err != nil {
			return nil, fmt.Errorf("source address: %w", err)
		}
	}
	if id, ok := st.Identities[w.UserID]; ok {
		d.Identity = &id
	}
	for network, slot := range w.Slots {
		if slot == vnet.ControlSlot || int(slot) >= slots {
			return nil, fmt.Errorf("VNET %s has slot %d", network, slot)
		}
		if d.slots[slot] != "" {
			return nil, fmt.Errorf("VNETs %s and %s share slot %d", network, d.slots[slot], slot)
		}
		d.slots[slot] = network
	}
	return d, nil
}

// setPosture fails every rule that the device does not pass.
func (d *Device) setPosture(rules []string) {
	if len(rules) == 0 {
		return
	}
	d.facts.FailedChecks = []string{}
	for _, id := range rules {
		if !slices.Contains(d.facts.PassedChecks, id) {
			d.facts.FailedChecks = append(d.facts.FailedChecks, id)
		}
	}
}

// Revision of the state.
func (v *View) Revision() uint64 { return v.revision }

// Problems are the devices that were left out.
func (v *View) Problems() []error { return v.problems }

// Self is the gateway's own part of the state.
func (v *View) Self() api.GatewaySyncSelf { return v.self }

// Policy is the compiled policy.
func (v *View) Policy() *access.Snapshot { return v.policy }

// Pool is the tunnel address space.
func (v *View) Pool() vnet.Pool { return v.pool }

// Tunnels are the connector tunnels.
func (v *View) Tunnels() map[string]api.GatewayTunnel { return v.tunnels }

// Devices calls yield for each device until it returns false.
func (v *View) Devices(yield func(*Device) bool) {
	for _, d := range v.byIndex {
		if !yield(d) {
			return
		}
	}
}

// NetworkName is the VNET's name, or its ID when it has none.
func (v *View) NetworkName(id vnet.ID) string {
	if n, ok := v.networks[string(id)]; ok && n.Name != "" {
		return n.Name
	}
	return string(id)
}
