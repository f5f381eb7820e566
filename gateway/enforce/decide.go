package enforce

import (
	"net/netip"

	"weft/access"
	"weft/targets"
	"weft/vnet"
)

// Reasons of the gateway itself, beside those of package access.
const (
	SourceUnknown        access.Reason = "source_unknown"        // no device has that tunnel address
	VNETNotPermitted                   = access.VNETNotPermitted // the slot is none of the device's, or its VNET is gone
	DestinationForbidden access.Reason = "destination_forbidden" // see Forbidden
	NoRoute              access.Reason = "no_route"              // allowed, but no route of the VNET covers it
)

// Flow is what a client asks for.
type Flow struct {
	Source      netip.Addr // tunnel address
	Destination netip.AddrPort
	Transport   targets.Transport
	Login       string // "" asks about the flow itself
}

// Verdict is the answer, with everything that the audit log tells of it.
type Verdict struct {
	Allow    bool
	Reason   access.Reason
	Decision access.Decision // zero when it did not get that far
	Device   *Device         // nil when unknown
	VNET     vnet.ID
	Route    vnet.Route // when allowed
}

// Message says in a sentence why, for the user.
func (d Verdict) Message() string {
	switch d.Reason {
	case SourceUnknown:
		return "the gateway does not know this device"
	case VNETNotPermitted:
		return "this device may not use the virtual network"
	case DestinationForbidden:
		return "addresses of this kind are never reachable through the gateway"
	case NoRoute:
		return "no route of the virtual network covers the address"
	default:
		return d.Decision.Message()
	}
}

// Locate finds the device, slot and mode that a tunnel address belongs to.
func (v *View) Locate(a netip.Addr) (*Device, vnet.Slot, vnet.Mode, bool) {
	index, ok := v.pool.Index(a)
	if !ok {
		return nil, 0, 0, false
	}
	d, ok := v.byIndex[index]
	if !ok {
		return nil, 0, 0, false
	}
	slot, mode, ok := d.Block.Locate(a)
	return d, slot, mode, ok
}

// Decide answers for one flow. A nil View denies everything.
func (v *View) Decide(f Flow) Verdict {
	if v == nil {
		return Verdict{Reason: access.NoSnapshot}
	}
	d, slot, _, ok := v.Locate(f.Source)
	if !ok {
		return Verdict{Reason: SourceUnknown}
	}
	out := Verdict{Device: d}
	if slot == vnet.ControlSlot || int(slot) >= slots || d.slots[slot] == "" {
		out.Reason = VNETNotPermitted
		return out
	}
	out.VNET = d.slots[slot]
	if _, ok := v.networks[string(out.VNET)]; !ok {
		out.Reason = VNETNotPermitted
		return out
	}
	if Forbidden(v.pool, f.Destination.Addr()) {
		out.Reason = DestinationForbidden
		return out
	}
	out.Decision = access.Evaluate(v.policy, access.Query{
		Identity: d.Identity, Device: &d.facts, VNET: out.VNET,
		Destination: f.Destination, Transport: f.Transport, Login: f.Login,
	})
	out.Reason = out.Decision.Reason
	if !out.Decision.Allow {
		return out
	}
	if out.Route, ok = v.routes.Lookup(out.VNET, f.Destination.Addr()); !ok {
		out.Reason = NoRoute
		return out
	}
	out.Allow = true
	return out
}

// Probe reports whether the flow is a liveness probe: UDP from a device's control slot to a
// gateway address of the pool at the probe port.
func (v *View) Probe(source netip.Addr, dst netip.AddrPort) (*Device, bool) {
	if v == nil || v.self.ProbePort == 0 || dst.Port() != v.self.ProbePort {
		return nil, false
	}
	v4, v6 := v.pool.GatewayAddrs()
	if dst.Addr() != v4 && dst.Addr() != v6 {
		return nil, false
	}
	d, slot, _, ok := v.Locate(source)
	if !ok || slot != vnet.ControlSlot {
		return nil, false
	}
	return d, true
}

// Prefixes with an IPv4 address inside, which a translator on the way may reach: NAT64 (RFC 6052) and 6to4 (RFC 3056).
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	// compatible are the deprecated IPv4-compatible addresses (RFC 4291 section 2.5.5.1), with :: and ::1.
	compatible = netip.MustParsePrefix("::/96")
	thisHost   = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 section 3.2.1.3
	broadcast  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	// metadata are instance metadata services that are not link-local.
	metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200")}
)

// Forbidden reports whether a is never reachable, whatever a route says: it means this host, its
// link, the tunnel itself, nobody or everybody. An address of another kind is never forbidden.
func Forbidden(pool vnet.Pool, a netip.Addr) bool {
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() ||
		a.IsLinkLocalUnicast() || a == broadcast || thisHost.Contains(a) || compatible.Contains(a) {
		return true
	}
	for _, m := range metadata {
		if a == m {
			return true
		}
	}
	if (pool.V4.IsValid() && pool.V4.Contains(a)) || (pool.V6.IsValid() && pool.V6.Contains(a)) {
		return true
	}
	if !a.Is6() {
		return false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return Forbidden(pool, netip.AddrFrom4([4]byte(b[12:16])))
	case sixToFour.Contains(a):
		return Forbidden(pool, netip.AddrFrom4([4]byte(b[2:6])))
	default:
		return false
	}
}
