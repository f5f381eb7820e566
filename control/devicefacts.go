package control

import (
	"net/netip"
	"slices"
	"strings"

	"weft/access"
	"weft/access/netexpr"
	"weft/access/posture"
	"weft/api"
	"weft/control/store"
	"weft/vnet"
)

// accessDevice is a device as the policy sees it. Every posture rule that it does not pass it fails, whether it reported or not.
func (v *view) accessDevice(d *store.Device) *access.Device {
	a := &access.Device{ID: d.ID, Revoked: d.RevokedAt != nil || d.DeletedAt != nil, Networks: v.limits[d.ID].networks}
	if addr, err := netip.ParseAddr(d.SourceIP); err == nil {
		a.SourceIP = addr
	}
	if len(v.in.postureRules) == 0 {
		return a
	}
	a.PassedChecks, a.FailedChecks = []string{}, []string{}
	for _, id := range v.ruleIDs() {
		if _, ok := slices.BinarySearch(v.in.passed[d.ID], id); ok {
			a.PassedChecks = append(a.PassedChecks, id)
		} else {
			a.FailedChecks = append(a.FailedChecks, id)
		}
	}
	return a
}

// ruleIDs are those of all posture rules, sorted.
func (v *view) ruleIDs() []string {
	ids := make([]string, len(v.in.postureRules))
	for i := range v.in.postureRules {
		ids[i] = v.in.postureRules[i].ID
	}
	return ids
}

// passedChecks are the posture rules that a device passes.
func (v *view) passedChecks(device string) []string {
	return slices.DeleteFunc(v.ruleIDs(), func(id string) bool {
		_, ok := slices.BinarySearch(v.in.passed[device], id)
		return !ok
	})
}

// checksOf are what a device is asked to look at, by rule ID.
func (v *view) checksOf(d *store.Device) []api.PostureCheck {
	var out []api.PostureCheck
	for i := range v.in.postureRules {
		if c, ok := v.in.postureRules[i].Check(d.OS); ok {
			out = append(out, c)
		}
	}
	return out
}

// limit is what a device's profile says of its virtual networks.
type limit struct {
	profile  string
	networks []vnet.ID // nil: all
	standard vnet.ID   // "": the account's default
}

// limitDevices finds the profile of each device: the first by precedence whose expression matches, else the default one. A
// profile of which nobody can tell whether it matches limits the device too, so that not knowing never gives it more.
func (v *view) limitDevices(old *view) {
	if v.same(old, store.DeviceProfiles, store.Devices, store.Users) {
		v.limits = old.limits
		return
	}
	v.limits = make(map[string]limit, len(v.in.devices))
	for i := range v.in.devices {
		d := &v.in.devices[i]
		v.limits[d.ID] = v.limitOf(d)
	}
}

func (v *view) limitOf(d *store.Device) limit {
	f := netexpr.Flow{OSName: posture.Platform(d.OS), OSVersion: d.Facts.OSVersion}
	if id := v.identity[d.UserID]; id != nil && id.UserID != "" {
		f.IdentityKnown, f.Email, f.Name, f.Groups, f.SAML = true, id.Email, id.Name, id.Groups, id.SAML
	}
	var out limit
	narrow := func(to []vnet.ID) {
		switch {
		case to == nil:
		case out.networks == nil:
			out.networks = slices.Clone(to)
		default:
			out.networks = slices.DeleteFunc(out.networks, func(n vnet.ID) bool { return !slices.Contains(to, n) })
		}
	}
	for i := range v.in.profiles {
		p := &v.in.profiles[i]
		matches := netexpr.True
		if p.Match != nil {
			matches = p.Match.Eval(&f)
		}
		if matches != netexpr.False {
			narrow(p.Networks)
		}
		if matches == netexpr.True {
			out.profile, out.standard = p.ID, p.Default
			return out
		}
	}
	out.networks = []vnet.ID{} // there is always a default profile
	return out
}

// slotsOf are the slots of the virtual networks that a device may use.
func (v *view) slotsOf(d *store.Device) map[vnet.ID]vnet.Slot {
	allowed := v.limits[d.ID].networks
	if allowed == nil {
		return d.Slots
	}
	m := make(map[vnet.ID]vnet.Slot, len(allowed))
	for _, n := range allowed {
		if s, ok := d.Slots[n]; ok {
			m[n] = s
		}
	}
	return m
}

// usable keeps the networks that a device may use.
func (v *view) usable(d *store.Device, networks []vnet.ID) []vnet.ID {
	allowed := v.limits[d.ID].networks
	if allowed == nil {
		return networks
	}
	return slices.DeleteFunc(slices.Clone(networks), func(n vnet.ID) bool { return !slices.Contains(allowed, n) })
}

// isDefault reports whether a network is the one that a device's new connections use unless its user chose another.
func (v *view) isDefault(d *store.Device, n *vnet.Network) bool {
	if own := v.limits[d.ID].standard; own != "" {
		return strings.EqualFold(string(own), string(n.ID))
	}
	return n.Default
}
